"""Objects for tests of group snapshots."""

from __future__ import annotations

from typing import Any

import msgspec

from controller.volumes.backend import Volume
from controller.volumes.features import Member
from controller.volumes.groups.kinds import CONTENT_FINALIZER, VolumeGroupSnapshotContent, member_uid
from tests.unit.volumes.objects import ATTRIBUTES, DRIVER, NOW

GROUP_UID = "88888888-2222-3333-4444-555555555555"
CONTENT = f"groupsnapcontent-{GROUP_UID}"
HANDLES = ("h-0", "h-1")
GROUP_HANDLE = f"group-{GROUP_UID}"
MEMBER_HANDLES = tuple(f"snap-{member_uid(GROUP_UID, handle)}" for handle in HANDLES)
MEMBERS = tuple(
    Member(handle=of, volume=Volume(driver=DRIVER, attributes={**ATTRIBUTES, "imageName": handle}, handle=handle))
    for of, handle in zip(MEMBER_HANDLES, HANDLES, strict=True)
)
GIB = 1 << 30
LISTED = [
    {"volumeHandle": handle, "snapshotHandle": of, "creationTime": 10**9, "readyToUse": True, "restoreSize": GIB}
    for handle, of in zip(HANDLES, MEMBER_HANDLES, strict=True)
]
READY = {
    "volumeGroupSnapshotHandle": GROUP_HANDLE,
    "creationTime": "1970-01-01T00:00:01Z",
    "readyToUse": True,
    "volumeSnapshotInfoList": LISTED,
}


def content(
    *,
    name: str = CONTENT,
    content_uid: str = "content-uid",
    uid: str = GROUP_UID,
    given: tuple[str, ...] = (),
    given_handle: str = GROUP_HANDLE,
    driver: str = DRIVER,
    policy: str = "Delete",
    deleting: bool = False,
    finalizers: tuple[str, ...] = (CONTENT_FINALIZER,),
    annotations: dict[str, str] | None = None,
    status: dict[str, Any] | None = None,
    class_name: str | None = "groupclass",
    volumes: tuple[str, ...] = HANDLES,
) -> VolumeGroupSnapshotContent:
    """A content as the snapshot-controller makes it; `given`: of snapshots that somebody else took."""
    of_others = {"volumeGroupSnapshotHandle": given_handle, "volumeSnapshotHandles": list(given)}
    built = {
        "metadata": {
            "name": name,
            "uid": content_uid,
            "finalizers": list(finalizers),
            "annotations": annotations or {},
            **({"deletionTimestamp": NOW} if deleting else {}),
        },
        "spec": {
            "volumeGroupSnapshotRef": {"namespace": "app", "name": "group", "uid": uid},
            "deletionPolicy": policy,
            "driver": driver,
            "volumeGroupSnapshotClassName": class_name,
            "source": {"groupSnapshotHandles": of_others} if given else {"volumeHandles": list(volumes)},
        },
        "status": status or {},
    }
    return msgspec.convert(built, VolumeGroupSnapshotContent)
