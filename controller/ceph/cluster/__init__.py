"""CephCluster: the cluster as a whole, its settings, version, health, status and end."""
