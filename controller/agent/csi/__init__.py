"""The CSI services that the kubelet calls, and the registration with it; `generate.py` makes the wire types."""
