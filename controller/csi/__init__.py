"""A CSI controller service over the storage systems' volumes, for callers other than Kubernetes; off by default."""
