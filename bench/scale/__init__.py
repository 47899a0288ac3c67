"""What the operator costs by the size of a cluster: the real operator code over the test kit and a simulated Ceph."""
