"""Pools of whatever use: what a spec asks for, what the cluster has, and the steps between the two."""
