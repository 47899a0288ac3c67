"""The caches that all controllers of volumes share, with their indexes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from controller.framework.reports import reports_of
from controller.runtime.kube import (
    NODE,
    PV,
    PVC,
    STORAGE_CLASS,
    VOLUME_ATTACHMENT,
    Node,
    PersistentVolume,
    PersistentVolumeClaim,
    StorageClass,
    VolumeAttachment,
)
from controller.volumes.attributes.kinds import VolumeAttributesClass
from controller.volumes.backend import volume_from
from controller.volumes.claims.objects import class_name
from controller.volumes.clients import BY_ADDRESS, BY_CLIENT, BY_MAPPED, addresses_of, clients_of, mapped_by
from controller.volumes.groups.kinds import VolumeGroupSnapshotClass, VolumeGroupSnapshotContent, snapshot_handles
from controller.volumes.groups.kinds import handles as group_handles
from controller.volumes.snapshots.kinds import (
    CONTENTS,
    SNAPSHOT_CLASSES,
    SNAPSHOTS,
    VolumeSnapshot,
    VolumeSnapshotClass,
    VolumeSnapshotContent,
    handles,
)

if TYPE_CHECKING:
    from controller.apis.rook.node_report import NodeReport
    from controller.volumes.drivers import Drivers
    from informers import Informer, InformerFactory, Resource

BY_CLASS = "class"
"""The index of claims by the name of their StorageClass."""

BY_ATTRIBUTES = "attributes"
"""The index of claims by the VolumeAttributesClasses that they name, in spec or status."""

BY_IDENTITY = "identity"
"""The index of PersistentVolumes by the volume that they are of: by `Drivers.identities`."""

BY_HANDLE = "handle"
"""The index of PersistentVolumes by CSI driver and handle: by `handle_key`."""

BY_DRIVER = "driver"
"""The index of PersistentVolumes by CSI driver: by `drivers_of`."""

BY_SHOWN = "shown"
"""The index of PersistentVolumes by the handle of the snapshot that they show: by `shown_by`."""

BY_SOURCE = "source"
"""The index of claims by the claim, "namespace/name", that they are to be a copy of: by `copied_by`."""

BY_SNAPSHOT = "snapshot"
"""The index of VolumeSnapshotContents by the handle of the snapshot."""

BY_GROUP = "group"
"""The index of VolumeGroupSnapshotContents by the handle of the group snapshot."""

BY_MEMBER = "member"
"""The index of VolumeGroupSnapshotContents by the handles of their snapshots."""

BY_VOLUME = "volume"
"""The index of VolumeAttachments by the PersistentVolume's name."""

BY_TRIM = "trim"
"""The index of NodeReports by the claims, "namespace/name", whose volumes the node is asked to trim."""

BY_NODE = "node"
"""The index of VolumeAttachments by the node's name."""


@dataclass(frozen=True, slots=True)
class SnapshotCaches:
    """What the API server has of snapshots.

    Attributes:
        snapshots: All VolumeSnapshots.
        contents: All VolumeSnapshotContents, with the index `BY_SNAPSHOT`.
        classes: All VolumeSnapshotClasses.
    """

    snapshots: Informer[VolumeSnapshot]
    contents: Informer[VolumeSnapshotContent]
    classes: Informer[VolumeSnapshotClass]


@dataclass(frozen=True, slots=True)
class GroupCaches:
    """What the API server has of group snapshots.

    Attributes:
        contents: All VolumeGroupSnapshotContents, with the indexes `BY_GROUP` and `BY_MEMBER`.
        classes: All VolumeGroupSnapshotClasses.
        resource: The contents, in the version that they are read and written in.
    """

    contents: Informer[VolumeGroupSnapshotContent]
    classes: Informer[VolumeGroupSnapshotClass]
    resource: Resource


@dataclass(slots=True)
class Caches:
    """What the API server has of volumes.

    Attributes:
        claims: All claims of the cluster, with the indexes `BY_CLASS`, `BY_SOURCE` and `BY_ATTRIBUTES`.
        volumes: All PersistentVolumes, with the indexes `BY_IDENTITY`, `BY_HANDLE`, `BY_DRIVER` and
            `BY_SHOWN`.
        classes: All StorageClasses.
        attachments: All VolumeAttachments, with the indexes `BY_VOLUME` and `BY_NODE`.
        nodes: All nodes, with the index `BY_ADDRESS`.
        reports: The reports of all nodes' agents, with the indexes `BY_CLIENT`, `BY_MAPPED` and `BY_TRIM`.
        snapshots: Those of snapshots; None as long as it is not known that the API server has such kinds.
        groups: Those of group snapshots; None likewise.
        attributes: All VolumeAttributesClasses; None as long as it is not known that the API server has such a kind.
    """

    claims: Informer[PersistentVolumeClaim]
    volumes: Informer[PersistentVolume]
    classes: Informer[StorageClass]
    attachments: Informer[VolumeAttachment]
    nodes: Informer[Node]
    reports: Informer[NodeReport]
    snapshots: SnapshotCaches | None = None
    groups: GroupCaches | None = None
    attributes: Informer[VolumeAttributesClass] | None = None


def caches_of(informers: InformerFactory, drivers: Drivers, namespace: str) -> Caches:
    """The caches, by informers that others may share.

    Args:
        informers: Where they are.
        drivers: The storage systems; more may be added later.
        namespace: The operator's, where the reports of the nodes' agents are.
    """
    caches = Caches(
        claims=informers.informer(PVC, PersistentVolumeClaim, cluster_wide=True),
        volumes=informers.informer(PV, PersistentVolume),
        classes=informers.informer(STORAGE_CLASS, StorageClass),
        attachments=informers.informer(VOLUME_ATTACHMENT, VolumeAttachment),
        nodes=informers.informer(NODE, Node),
        reports=reports_of(informers, namespace),
    )
    caches.claims.add_index(BY_CLASS, lambda claim: (class_name(claim),))
    caches.claims.add_index(BY_SOURCE, copied_by)
    caches.volumes.add_index(BY_DRIVER, drivers_of)
    caches.volumes.add_index(BY_SHOWN, shown_by)
    caches.claims.add_index(BY_ATTRIBUTES, attributes_classes)
    caches.volumes.add_index(BY_IDENTITY, drivers.identities)
    caches.volumes.add_index(BY_HANDLE, handles_of)
    caches.attachments.add_index(BY_VOLUME, lambda found: (found.spec.source.persistent_volume_name or "",))
    caches.attachments.add_index(BY_NODE, lambda found: (found.spec.node_name,))
    caches.nodes.add_index(BY_ADDRESS, addresses_of)
    caches.reports.add_index(BY_CLIENT, clients_of)
    caches.reports.add_index(BY_MAPPED, mapped_by)
    caches.reports.add_index(BY_TRIM, trims_of)
    return caches


def snapshot_caches_of(informers: InformerFactory) -> SnapshotCaches:
    """The caches of snapshots, for an API server that has their kinds. Should it lose them, nothing else waits."""
    found = SnapshotCaches(
        snapshots=informers.informer(SNAPSHOTS, VolumeSnapshot, cluster_wide=True, optional=True),
        contents=informers.informer(CONTENTS, VolumeSnapshotContent, optional=True),
        classes=informers.informer(SNAPSHOT_CLASSES, VolumeSnapshotClass, optional=True),
    )
    found.contents.add_index(BY_SNAPSHOT, handles)
    return found


def group_caches_of(informers: InformerFactory, contents: Resource, classes: Resource) -> GroupCaches:
    """The caches of group snapshots, for an API server that has their kinds, as `snapshot_caches_of`."""
    found = GroupCaches(
        contents=informers.informer(contents, VolumeGroupSnapshotContent, optional=True),
        classes=informers.informer(classes, VolumeGroupSnapshotClass, optional=True),
        resource=contents,
    )
    found.contents.add_index(BY_GROUP, group_handles)
    found.contents.add_index(BY_MEMBER, snapshot_handles)
    return found


def attributes_cache_of(informers: InformerFactory, resource: Resource) -> Informer[VolumeAttributesClass]:
    """The cache of VolumeAttributesClasses, for an API server that has them in the version of `resource`."""
    return informers.informer(resource, VolumeAttributesClass, optional=True)


def attributes_classes(claim: PersistentVolumeClaim) -> tuple[str, ...]:
    """What the index `BY_ATTRIBUTES` has a claim by."""
    noted = claim.status.modify_volume_status
    target = noted.target_volume_attributes_class_name if noted is not None else ""
    return tuple(dict.fromkeys(filter(None, (claim.spec.volume_attributes_class_name, target))))


def trims_of(report: NodeReport) -> tuple[str, ...]:
    """What the index `BY_TRIM` has."""
    return tuple(report.trims)


def handle_key(driver: str, handle: str) -> str:
    """What the index `BY_HANDLE` has a volume by."""
    return f"{driver} {handle}"


def handles_of(volume: PersistentVolume) -> tuple[str, ...]:
    """What the index `BY_HANDLE` has: nothing for a PersistentVolume that no CSI driver serves."""
    csi = volume.spec.csi
    return (handle_key(csi.driver, csi.volume_handle),) if csi is not None else ()


def drivers_of(volume: PersistentVolume) -> tuple[str, ...]:
    """What the index `BY_DRIVER` has: nothing for a PersistentVolume that no CSI driver serves."""
    return (volume.spec.csi.driver,) if volume.spec.csi is not None else ()


def shown_by(volume: PersistentVolume) -> tuple[str, ...]:
    """What the index `BY_SHOWN` has: nothing for a PersistentVolume with data of its own."""
    csi = volume.spec.csi
    return (shown,) if csi is not None and (shown := volume_from(csi).shows) else ()


def copied_by(claim: PersistentVolumeClaim) -> tuple[str, ...]:
    """What the index `BY_SOURCE` has: nothing for a claim that is no copy of another."""
    reference = claim.spec.data_source_ref or claim.spec.data_source
    if reference is None or reference.kind != "PersistentVolumeClaim":
        return ()
    return (f"{claim.metadata.namespace}/{reference.name}",)
