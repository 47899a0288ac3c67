"""The `rook.io` kinds, which belong to no single storage system."""
