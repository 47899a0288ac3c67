"""CephRBDMirror."""
