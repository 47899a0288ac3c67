"""What the rooms of object stores stand on: names, the admin API of gateways, and Jobs that run `radosgw-admin`."""
