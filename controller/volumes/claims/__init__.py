"""Claims: provisioning (also when the first pod is scheduled), and expansion."""
