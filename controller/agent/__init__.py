"""What runs on each node: device discovery, the CSI node service, and the process behind userspace mappings."""
