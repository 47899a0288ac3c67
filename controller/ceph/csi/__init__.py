"""What the CSI drivers of a Ceph cluster have in common: users, parameters of classes, handles, ways to the mons."""
