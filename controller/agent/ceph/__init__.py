"""What the kinds of Ceph volumes have in common on a node: the user and its key, and what the kernel can do."""
