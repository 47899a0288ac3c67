"""CephObjectZoneGroup."""
