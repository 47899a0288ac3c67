"""A class of RBD volumes, and what its volumes are known by."""

from __future__ import annotations

from controller.runtime.kube import ObjectMeta, StorageClass

DRIVER = "rook-ceph.rbd.csi.ceph.com"
UID = "11111111-2222-3333-4444-555555555555"
HANDLE = f"0001-0009-rook-ceph-0000000000000002-{UID}"


def storage_class(provisioner: str = DRIVER, **parameters: str) -> StorageClass:
    if provisioner == DRIVER:
        parameters = {"clusterID": "rook-ceph", "pool": "replicapool", **parameters}
    return StorageClass(metadata=ObjectMeta(name="rbd"), provisioner=provisioner, parameters=parameters)
