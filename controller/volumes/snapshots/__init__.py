"""Snapshots of volumes: what the sidecar external-snapshotter does for other CSI drivers, under its names.

The cluster-wide snapshot-controller, which is not part of this operator, binds each VolumeSnapshot to a
VolumeSnapshotContent; the snapshots of these are taken and destroyed here
(https://kubernetes-csi.github.io/docs/external-snapshotter.html).
"""
