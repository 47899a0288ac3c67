"""CephObjectStoreAccount."""
