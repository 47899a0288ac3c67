"""CephFS volumes on a node: mounted by the kernel, or by a process in userspace."""
