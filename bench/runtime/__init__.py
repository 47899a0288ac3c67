"""The controller runtime beside its peers: the same work, the same API server, the same machine. `make bench`."""
