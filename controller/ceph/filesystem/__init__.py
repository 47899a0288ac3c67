"""CephFilesystem."""
