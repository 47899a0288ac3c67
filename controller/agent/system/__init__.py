"""The node's tools: commands, mounts, loop devices, file systems, files that last."""
