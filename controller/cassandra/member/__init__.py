"""What runs in the pod of a member, and its configuration."""
