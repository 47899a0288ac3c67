"""Objects for tests of snapshots."""

from __future__ import annotations

from typing import Any

import msgspec

from controller.volumes.backend import volume_from
from controller.volumes.snapshots.kinds import CONTENT_FINALIZER, VolumeSnapshotContent
from tests.unit.volumes.objects import DRIVER, NOW, volume

SNAPSHOT_UID = "99999999-2222-3333-4444-555555555555"
CONTENT = f"snapcontent-{SNAPSHOT_UID}"
SNAPSHOT_HANDLE = f"snap-{SNAPSHOT_UID}"
GIB = 1 << 30
READY = {"snapshotHandle": SNAPSHOT_HANDLE, "readyToUse": True, "restoreSize": GIB, "creationTime": 1}

_csi = volume().spec.csi
assert _csi is not None
VOLUME = volume_from(_csi)


def content(
    *,
    name: str = CONTENT,
    content_uid: str = "content-uid",
    uid: str = SNAPSHOT_UID,
    handle: str = "",
    driver: str = DRIVER,
    policy: str = "Delete",
    deleting: bool = False,
    finalizers: tuple[str, ...] = (CONTENT_FINALIZER,),
    annotations: dict[str, str] | None = None,
    status: dict[str, Any] | None = None,
    class_name: str | None = "snapclass",
    **spec: Any,
) -> VolumeSnapshotContent:
    """A content as the snapshot-controller makes it; `handle`: of a snapshot that somebody else took."""
    built = {
        "metadata": {
            "name": name,
            "uid": content_uid,
            "finalizers": list(finalizers),
            "annotations": annotations or {},
            **({"deletionTimestamp": NOW} if deleting else {}),
        },
        "spec": {
            "volumeSnapshotRef": {"kind": "VolumeSnapshot", "namespace": "app", "name": "snap", "uid": uid},
            "deletionPolicy": policy,
            "driver": driver,
            "volumeSnapshotClassName": class_name,
            "source": {"snapshotHandle": handle} if handle else {"volumeHandle": "h"},
            **spec,
        },
        "status": status or {},
    }
    return msgspec.convert(built, VolumeSnapshotContent)
