"""CephBlockPoolRadosNamespace."""
