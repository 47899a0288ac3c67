"""Ceph clusters as the operator reaches them: where they are, who it is there, what they answer."""
