"""CephClient."""
