"""Directories of a file system that are copied, snapshot by snapshot, to a file system in another cluster."""
