"""Objects for tests of volumes: a class, claims, volumes, attachments and nodes, with what matters set."""

from __future__ import annotations

from typing import Any

from controller.apis.meta import Condition
from controller.apis.rook.node_report import NodeReport, VolumeClient
from controller.runtime.kube import (
    AttachmentError,
    AttachmentSource,
    AttachmentSpec,
    AttachmentStatus,
    ClaimSpec,
    ClaimStatus,
    CsiVolumeSource,
    Node,
    NodeAddress,
    NodeSpec,
    NodeStatus,
    ObjectMeta,
    ObjectReference,
    PersistentVolume,
    PersistentVolumeClaim,
    ResourceRequirements,
    StorageClass,
    Taint,
    VolumeAttachment,
    VolumeSpec,
    VolumeStatus,
)
from controller.volumes.attributes.kinds import VolumeAttributesClass
from controller.volumes.capabilities import (
    BLOCK,
    FILESYSTEM,
    MANY,
    ONCE,
    ONCE_POD,
    READERS,
    Capabilities,
    exclusive,
)
from controller.volumes.claims.objects import PROVISIONED_BY, STORAGE_PROVISIONERS, VOLUME_FINALIZER

DRIVER = "rook-ceph.rbd.csi.ceph.com"
UID = "11111111-2222-3333-4444-555555555555"
NOW = "2026-01-01T00:00:00Z"
ATTRIBUTES = {"clusterID": "rook-ceph", "pool": "replicapool", "imageName": f"csi-vol-{UID}"}


DISKS = Capabilities(
    access_modes={FILESYSTEM: (ONCE, ONCE_POD, READERS), BLOCK: (ONCE, ONCE_POD, READERS, MANY)},
    file_systems=("ext4", "xfs"),
    least_bytes={"xfs": 300 << 20},
)
"""A system whose volumes are block devices."""

SHARES = Capabilities(access_modes={FILESYSTEM: (ONCE, ONCE_POD, READERS, MANY)}, nodes_expand=False, attaches=False)
"""A system whose volumes are file systems that many nodes may write to."""


def storage_class(**changes: Any) -> StorageClass:
    parameters = {
        "clusterID": "rook-ceph",
        "pool": "replicapool",
        "imageFormat": "2",
        "imageFeatures": "layering",
        "csi.storage.k8s.io/provisioner-secret-name": "rook-csi-rbd-provisioner",
        "csi.storage.k8s.io/provisioner-secret-namespace": "rook-ceph",
        "csi.storage.k8s.io/controller-expand-secret-name": "rook-csi-rbd-provisioner",
        "csi.storage.k8s.io/controller-expand-secret-namespace": "rook-ceph",
        "csi.storage.k8s.io/node-stage-secret-name": "rook-csi-rbd-node",
        "csi.storage.k8s.io/node-stage-secret-namespace": "rook-ceph",
        "csi.storage.k8s.io/fstype": "ext4",
        **changes.pop("parameters", {}),
    }
    values: dict[str, Any] = {
        "metadata": ObjectMeta(name="rook-ceph-block"),
        "provisioner": DRIVER,
        "allow_volume_expansion": True,
        **changes,
    }
    return StorageClass(parameters=parameters, **values)


def claim(
    *,
    size: str = "1Gi",
    capacity: str = "",
    phase: str = "Pending",
    volume_name: str = "",
    finalizers: tuple[str, ...] = (),
    annotations: dict[str, str] | None = None,
    deleting: bool = False,
    asked: bool = True,
    statuses: dict[str, str] | None = None,
    **spec: Any,
) -> PersistentVolumeClaim:
    noted = {STORAGE_PROVISIONERS[0]: DRIVER} if asked else {}
    return PersistentVolumeClaim(
        metadata=ObjectMeta(
            name="data",
            namespace="app",
            uid=UID,
            resource_version="7",
            finalizers=finalizers,
            annotations=noted | (annotations or {}),
            deletion_timestamp=NOW if deleting else None,
        ),
        spec=ClaimSpec(
            volume_name=volume_name,
            **{
                "storage_class_name": "rook-ceph-block",
                "access_modes": ("ReadWriteOnce",),
                "resources": ResourceRequirements(requests={"storage": size}),
                **spec,
            },
        ),
        status=ClaimStatus(
            phase=phase,
            capacity={"storage": capacity} if capacity else {},
            allocated_resource_statuses=statuses or {},
        ),
    )


def volume(
    *,
    phase: str = "Bound",
    policy: str = "Delete",
    deleting: bool = False,
    capacity: str = "1Gi",
    finalizers: tuple[str, ...] = (VOLUME_FINALIZER,),
    modes: tuple[str, ...] = ("ReadWriteOnce",),
    mode: str = "Filesystem",
    static: bool = False,
) -> PersistentVolume:
    attributes = {**ATTRIBUTES, "staticVolume": "true"} if static else ATTRIBUTES
    return PersistentVolume(
        metadata=ObjectMeta(
            name=f"pvc-{UID}",
            uid="pv-uid",
            finalizers=finalizers,
            annotations={PROVISIONED_BY: DRIVER},
            deletion_timestamp=NOW if deleting else None,
        ),
        spec=VolumeSpec(
            capacity={"storage": capacity},
            access_modes=modes,
            volume_mode=mode,
            persistent_volume_reclaim_policy=policy,
            claim_ref=ObjectReference(namespace="app", name="data", uid=UID),
            csi=CsiVolumeSource(driver=DRIVER, volume_handle="h", volume_attributes=attributes),
        ),
        status=VolumeStatus(phase=phase),
    )


def attributes_class(name: str, *, driver: str = DRIVER, **parameters: str) -> VolumeAttributesClass:
    return VolumeAttributesClass(metadata=ObjectMeta(name=name), driver_name=driver, parameters=parameters)


def alone(volume: PersistentVolume) -> bool:
    """Whether only one node may have a volume that is a block device."""
    return exclusive(DISKS, volume.spec.access_modes, volume.spec.volume_mode)


def attachment(
    node: str,
    *,
    name: str = "",
    attached: bool = False,
    deleting: bool = False,
    created: str = NOW,
    finalizers: tuple[str, ...] = (),
    error: str = "",
    detach_error: str = "",
    metadata: dict[str, str] | None = None,
) -> VolumeAttachment:
    return VolumeAttachment(
        metadata=ObjectMeta(
            name=name or f"csi-{node}",
            finalizers=finalizers,
            creation_timestamp=created,
            deletion_timestamp=NOW if deleting else None,
        ),
        spec=AttachmentSpec(
            attacher=DRIVER, node_name=node, source=AttachmentSource(persistent_volume_name=f"pvc-{UID}")
        ),
        status=AttachmentStatus(
            attached=attached,
            attachment_metadata=metadata or {},
            attach_error=AttachmentError(message=error) if error else None,
            detach_error=AttachmentError(message=detach_error) if detach_error else None,
        ),
    )


def node(name: str, address: str, *, taints: tuple[str, ...] = (), ready: str = "True", in_use: bool = False) -> Node:
    """A node; `in_use`: its kubelet has the volume mounted."""
    return Node(
        metadata=ObjectMeta(name=name),
        spec=NodeSpec(taints=tuple(Taint(key=key, effect="NoExecute") for key in taints)),
        status=NodeStatus(
            addresses=(NodeAddress(type="InternalIP", address=address),) if address else (),
            conditions=(Condition(type="Ready", status=ready),),
            volumes_in_use=(f"kubernetes.io/csi/{DRIVER}^h",) if in_use else (),
        ),
    )


def report(name: str, *clients: str, handle: str = "h") -> NodeReport:
    """What the agent of a node says: it has the volume by these clients."""
    return NodeReport(
        metadata=ObjectMeta(name=name, namespace="rook-ceph"),
        clients=tuple(VolumeClient(driver=DRIVER, volume_handle=handle, address=client) for client in clients),
    )
