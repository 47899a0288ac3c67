"""Ceph: clusters of mons, mgrs and OSDs, and what lives on them; one module per kind or daemon."""
