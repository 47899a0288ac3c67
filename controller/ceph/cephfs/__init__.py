"""CephFS volumes: subvolumes of file systems."""
