"""CephObjectStore."""
