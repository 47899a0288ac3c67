"""CephNVMeOFGateway: gateways that show RBD images to NVMe/TCP hosts."""
