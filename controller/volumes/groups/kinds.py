"""The kinds of groupsnapshot.storage.k8s.io, with the fields in use, and the names that its controllers agree on.

All versions are alike, but for how the status of a content lists its snapshots.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from controller.apis.meta import ApiStruct, ObjectMeta
from controller.runtime.kube import ObjectReference
from controller.volumes.snapshots.kinds import SnapshotError, VolumeSnapshotClass
from informers import Resource

if TYPE_CHECKING:
    from collections.abc import Sequence

    from controller.volumes.features import Member, Snapshot
    from informers import JsonObject

GROUP = "groupsnapshot.storage.k8s.io"
_PREFIX = "groupsnapshot.storage.kubernetes.io/"

OF_HANDLES = "v1beta1"
"""The version whose status has the handles of the snapshots and nothing else of them."""

VERSIONS = ("v1", "v1beta2", OF_HANDLES)
"""The versions that are served, the newest first."""

BEING_CREATED = f"{_PREFIX}volumegroupsnapshot-being-created"
"""The annotation of a content of whose snapshots there may be a part: from before they are taken until its status has
them.
"""

BEING_DELETED = f"{_PREFIX}volumegroupsnapshot-being-deleted"
"""The annotation by which the snapshot-controller says that the VolumeGroupSnapshot of a content is being deleted."""

CONTENT_FINALIZER = f"{_PREFIX}volumegroupsnapshotcontent-bound-protection"


CONTENT_KIND, CLASS_KIND = "VolumeGroupSnapshotContent", "VolumeGroupSnapshotClass"


def contents(version: str) -> Resource:
    """The VolumeGroupSnapshotContents of a version."""
    plural = "volumegroupsnapshotcontents"
    return Resource(group=GROUP, version=version, kind=CONTENT_KIND, plural=plural, namespaced=False)


def classes(version: str) -> Resource:
    """The VolumeGroupSnapshotClasses of a version."""
    plural = "volumegroupsnapshotclasses"
    return Resource(group=GROUP, version=version, kind=CLASS_KIND, plural=plural, namespaced=False)


class GivenHandles(ApiStruct, frozen=True, kw_only=True):
    """A group snapshot that exists already, by the CSI handles of itself and of its snapshots."""

    volume_group_snapshot_handle: str = ""
    volume_snapshot_handles: tuple[str, ...] = ()


class GroupSource(ApiStruct, frozen=True, kw_only=True):
    """Volumes of which snapshots are to be taken, by their CSI handles, or a group snapshot that exists already."""

    volume_handles: tuple[str, ...] = ()
    group_snapshot_handles: GivenHandles | None = None


class GroupSpec(ApiStruct, frozen=True, kw_only=True):
    """What the snapshot-controller or an administrator has written."""

    volume_group_snapshot_ref: ObjectReference = ObjectReference()
    deletion_policy: str = ""
    driver: str = ""
    volume_group_snapshot_class_name: str | None = None
    source: GroupSource = GroupSource()


class Listed(ApiStruct, frozen=True, kw_only=True):
    """A snapshot of a group, as the status of its content lists it."""

    volume_handle: str = ""
    snapshot_handle: str = ""


class GroupStatus(ApiStruct, frozen=True, kw_only=True):
    """What the driver's side has found."""

    volume_group_snapshot_handle: str | None = None
    ready_to_use: bool | None = None
    error: SnapshotError | None = None
    volume_snapshot_info_list: tuple[Listed, ...] = ()
    volume_snapshot_handle_pair_list: tuple[Listed, ...] = ()


class VolumeGroupSnapshotContent(ApiStruct, frozen=True, kw_only=True):
    """A group snapshot in a storage system."""

    metadata: ObjectMeta = ObjectMeta()
    spec: GroupSpec = GroupSpec()
    status: GroupStatus = GroupStatus()


class VolumeGroupSnapshotClass(VolumeSnapshotClass, frozen=True, kw_only=True):
    """How group snapshots are taken: as snapshots are."""


def given_handle(content: VolumeGroupSnapshotContent) -> str:
    """The handle of the group snapshot that somebody else took; empty: it is to be taken."""
    given = content.spec.source.group_snapshot_handles
    return given.volume_group_snapshot_handle if given is not None else ""


def handles(content: VolumeGroupSnapshotContent) -> tuple[str, ...]:
    """The handles that a content has its group snapshot by; none before it is taken."""
    return tuple(dict.fromkeys(filter(None, (content.status.volume_group_snapshot_handle, given_handle(content)))))


def listed(content: VolumeGroupSnapshotContent) -> tuple[Listed, ...]:
    """The snapshots that a content is known to have; none before they are taken."""
    found = content.status.volume_snapshot_info_list or content.status.volume_snapshot_handle_pair_list
    given = content.spec.source.group_snapshot_handles
    if found or given is None:
        return found
    return tuple(Listed(snapshot_handle=handle) for handle in given.volume_snapshot_handles)


def snapshot_handles(content: VolumeGroupSnapshotContent) -> tuple[str, ...]:
    """The handles of the snapshots that a content is known to have."""
    return tuple(found.snapshot_handle for found in listed(content))


def member_uid(group_uid: str, volume_handle: str) -> str:
    """The uid that a snapshot of a group has for its storage system: the same for ever."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, f"{group_uid} {volume_handle}"))


def list_of(version: str, members: Sequence[Member], taken: Sequence[Snapshot]) -> JsonObject:
    """What the status of a content of a version says of its snapshots."""
    known = [
        {"volumeHandle": member.volume.handle if member.volume is not None else "", "snapshotHandle": member.handle}
        for member in members
    ]
    if version == OF_HANDLES:
        return {"volumeSnapshotHandlePairList": known}
    more = [{"creationTime": s.created, "readyToUse": True, "restoreSize": s.size} for s in taken]
    return {"volumeSnapshotInfoList": [{**this, **found} for this, found in zip(known, more, strict=True)]}
