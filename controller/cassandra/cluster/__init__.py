"""The kind Cluster: a whole Cassandra cluster."""
