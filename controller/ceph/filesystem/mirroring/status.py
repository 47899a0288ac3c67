"""What a status shows of the mirroring of a file system: upstream's fields. Pure.

Times are those of the last change: a status that changed with each look would be written with each look.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from controller.apis.ceph.filesystem_status import (
    FilesystemMirroringStatus,
    FilesystemSnapshotRetention,
    FilesystemSnapshotSchedule,
    FilesystemSnapshotScheduleStatus,
)
from controller.ceph.mirroring.objects import TOKEN_OF_FILESYSTEM
from controller.ceph.mirroring.status import dated

if TYPE_CHECKING:
    from controller.apis.ceph import CephFilesystem, CephFilesystemStatus
    from controller.ceph.filesystem.mirroring.observe import MirroringObservation
    from controller.ceph.filesystem.mirroring.schedules import Live
    from controller.ceph.filesystem.mirroring.wanted import Wanted

PEER_SECRET = "fsMirrorBootstrapPeerSecretName"  # noqa: S105  a name in `status.info`
"""What `status.info` calls the Secret with the token for other clusters."""
NO_DAEMON = "no cephfs-mirror daemon tells of this file system: a CephFilesystemMirror runs one"
IDLE = "no directory is mirrored: mirroring.directories, or `ceph fs snapshot mirror add`, says which are"
_FACTS = ("active", "created", "created_count", "first", "last", "last_pruned", "pruned_count", "start")


def info(filesystem: CephFilesystem, wanted: Wanted) -> dict[str, str]:
    """The facts of `status.info` that tell of mirroring, and those that others put there."""
    found = {name: value for name, value in (filesystem.status.info or {}).items() if name != PEER_SECRET}
    if wanted.enabled:
        found[PEER_SECRET] = f"{TOKEN_OF_FILESYSTEM}{filesystem.metadata.name}"
    return found


def fields(present: CephFilesystemStatus, wanted: Wanted, seen: MirroringObservation, now: str) -> dict[str, Any]:
    """The fields of a status that tell of mirroring; equal to the present ones where nothing changed.

    Args:
        present: The present status.
        wanted: What is asked for.
        seen: What there is.
        now: RFC 3339 time.
    """
    if not wanted.enabled or not wanted.watched:
        return {
            "mirroring_status": FilesystemMirroringStatus(),
            "snapshot_schedule_status": FilesystemSnapshotScheduleStatus(),
        }
    daemons = present.mirroring_status.daemons_status if seen.daemons is None else seen.daemons
    scheduled = present.snapshot_schedule_status.snapshot_schedules
    if seen.live is not None:
        scheduled = tuple(_row(found) for found in seen.live)
    mirroring = FilesystemMirroringStatus(daemons_status=daemons, details=_details(seen))
    snapshots = FilesystemSnapshotScheduleStatus(snapshot_schedules=scheduled, details=seen.details)
    return {
        "mirroring_status": dated(present.mirroring_status, mirroring, now),
        "snapshot_schedule_status": dated(present.snapshot_schedule_status, snapshots, now),
    }


def _details(seen: MirroringObservation) -> str:
    """What keeps files from being copied, as far as it shows."""
    if seen.details:
        return seen.details
    if seen.daemons == ():
        return NO_DAEMON
    return IDLE if seen.directories == () else ""


def _row(found: Live) -> FilesystemSnapshotSchedule:
    told = found.told
    facts = {name: told[name] for name in _FACTS if told.get(name) is not None}
    return FilesystemSnapshotSchedule(
        fs=told.get("fs") or "",
        subvol=told.get("subvol") or "",
        path=found.schedule.path,
        rel_path=told.get("rel_path") or "",
        schedule=found.schedule.interval,
        retention=msgspec.convert(facts, FilesystemSnapshotRetention),
    )
