"""RBD images on a node: mapped by the kernel, or by a process in userspace."""
