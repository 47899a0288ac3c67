"""NFS volumes: subvolumes of CephFS that NFS servers export."""
