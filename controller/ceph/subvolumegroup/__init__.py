"""CephFilesystemSubVolumeGroup."""
