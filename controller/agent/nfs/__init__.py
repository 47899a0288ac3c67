"""NFS volumes on a node."""
