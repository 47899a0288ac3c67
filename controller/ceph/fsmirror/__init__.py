"""CephFilesystemMirror."""
