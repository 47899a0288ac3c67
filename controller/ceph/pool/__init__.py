"""CephBlockPool."""
