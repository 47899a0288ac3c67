"""The CSI node service, and how the kubelet learns of it."""
