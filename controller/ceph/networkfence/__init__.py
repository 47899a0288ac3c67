"""NetworkFences of csi-addons: ranges of addresses whose clients a Ceph cluster shuts out."""
