"""Talking to the members of a Cassandra cluster."""
