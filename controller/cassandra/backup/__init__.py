"""Backups of Cassandra in any S3, and restores from them."""
