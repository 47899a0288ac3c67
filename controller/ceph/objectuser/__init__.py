"""CephObjectStoreUser."""
