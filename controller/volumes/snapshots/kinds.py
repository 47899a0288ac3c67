"""The kinds of snapshot.storage.k8s.io/v1, with the fields in use, and the names that its controllers agree on.

https://github.com/kubernetes-csi/external-snapshotter/blob/v8.6.0/pkg/utils/util.go
"""

from __future__ import annotations

import msgspec

from controller.apis.meta import ApiStruct, ObjectMeta
from controller.runtime.kube import ObjectReference
from informers import Resource

GROUP = "snapshot.storage.k8s.io"
_PREFIX = "snapshot.storage.kubernetes.io/"

BEING_CREATED = f"{_PREFIX}volumesnapshot-being-created"
"""The annotation of a content of whose snapshot there may be a part: from before it is taken until its status has it.
"""

BEING_DELETED = f"{_PREFIX}volumesnapshot-being-deleted"
"""The annotation by which the snapshot-controller says that the VolumeSnapshot of a content is being deleted."""

ALLOW_MODE_CHANGE = f"{_PREFIX}allow-volume-mode-change"
"""The annotation of a content that may be restored to a volume of another mode."""

CONTENT_FINALIZER = f"{_PREFIX}volumesnapshotcontent-bound-protection"

GROUP_HANDLE = "groupsnapshot.storage.kubernetes.io/volumeGroupSnapshotHandle"
"""The annotation of a content that is part of a group snapshot: these are taken and destroyed together."""

SNAPSHOTS = Resource(group=GROUP, version="v1", kind="VolumeSnapshot", plural="volumesnapshots")
CONTENTS = Resource(
    group=GROUP, version="v1", kind="VolumeSnapshotContent", plural="volumesnapshotcontents", namespaced=False
)
SNAPSHOT_CLASSES = Resource(
    group=GROUP, version="v1", kind="VolumeSnapshotClass", plural="volumesnapshotclasses", namespaced=False
)


class SnapshotError(ApiStruct, frozen=True, kw_only=True):
    """What went wrong last."""

    time: str = ""
    message: str = ""


class VolumeSnapshotStatus(ApiStruct, frozen=True, kw_only=True):
    """What the snapshot-controller has copied from the content."""

    bound_volume_snapshot_content_name: str = ""
    error: SnapshotError | None = None


class VolumeSnapshot(ApiStruct, frozen=True, kw_only=True):
    """A user's wish for a snapshot."""

    metadata: ObjectMeta = ObjectMeta()
    status: VolumeSnapshotStatus = VolumeSnapshotStatus()


class ContentSource(ApiStruct, frozen=True, kw_only=True):
    """A volume of which a snapshot is to be taken, or a snapshot that exists already, by their CSI handles."""

    volume_handle: str = ""
    snapshot_handle: str = ""


class ContentSpec(ApiStruct, frozen=True, kw_only=True):
    """What the snapshot-controller or an administrator has written."""

    volume_snapshot_ref: ObjectReference = ObjectReference()
    deletion_policy: str = ""
    driver: str = ""
    volume_snapshot_class_name: str | None = None
    source: ContentSource = ContentSource()
    source_volume_mode: str | None = None


class ContentStatus(ApiStruct, frozen=True, kw_only=True):
    """What the driver's side has found: size in bytes, time in nanoseconds since 1970."""

    snapshot_handle: str | None = None
    creation_time: int | None = None
    restore_size: int | None = None
    ready_to_use: bool | None = None
    error: SnapshotError | None = None
    volume_group_snapshot_handle: str | None = None


class VolumeSnapshotContent(ApiStruct, frozen=True, kw_only=True):
    """A snapshot in a storage system."""

    metadata: ObjectMeta = ObjectMeta()
    spec: ContentSpec = ContentSpec()
    status: ContentStatus = ContentStatus()


class VolumeSnapshotClass(ApiStruct, frozen=True, kw_only=True):
    """How snapshots are taken."""

    metadata: ObjectMeta = ObjectMeta()
    driver: str = ""
    deletion_policy: str = ""
    parameters: dict[str, str] = msgspec.field(default_factory=dict)


def handles(content: VolumeSnapshotContent) -> tuple[str, ...]:
    """The handles that a content has its snapshot by; none before it is taken."""
    found = (content.status.snapshot_handle, content.spec.source.snapshot_handle)
    return tuple(dict.fromkeys(filter(None, found)))


def group_handle(content: VolumeSnapshotContent) -> str:
    """The handle of the group snapshot that a content is part of; empty: of none."""
    return content.metadata.annotations.get(GROUP_HANDLE) or content.status.volume_group_snapshot_handle or ""


def is_in_group(content: VolumeSnapshotContent) -> bool:
    """Whether a content is part of a group snapshot."""
    return bool(group_handle(content))
