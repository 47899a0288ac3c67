"""Buckets of the Container Object Storage Interface: CephCOSIDriver, and the driver and its sidecar in one."""
