"""The daemon: a controller runtime, the kinds it serves, and one package per storage system."""
