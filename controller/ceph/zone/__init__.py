"""CephObjectZone."""
