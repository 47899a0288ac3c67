"""RBD images as volumes."""
