"""CephObjectRealm."""
