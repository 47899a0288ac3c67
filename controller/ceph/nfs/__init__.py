"""CephNFS: servers that export file systems by NFS."""
