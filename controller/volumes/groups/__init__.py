"""Group snapshots, of several volumes at one moment: what the sidecar external-snapshotter does for other CSI drivers.

The cluster-wide snapshot-controller binds each VolumeGroupSnapshot to a VolumeGroupSnapshotContent. The snapshots of
these are taken and destroyed here, all of a group together; from the content's status, the snapshot-controller makes a
VolumeSnapshot and its VolumeSnapshotContent of each (since its release 8.2).
"""
