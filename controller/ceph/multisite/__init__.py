"""What realms, zone groups and zones stand on: how they are made in Ceph, who is master, and what is in sync."""
