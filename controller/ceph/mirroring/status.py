"""What a status shows of the mirroring of a pool or RADOS namespace: upstream's fields. Pure.

Times are those of the last change: a status that changed with each look would be written with each look.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from controller.apis.ceph.filesystem_status import FilesystemMirroringStatus, FilesystemSnapshotScheduleStatus
from controller.apis.ceph.status import (
    MirroringInfo,
    MirroringPeer,
    MirroringStatus,
    MirroringSummary,
    SnapshotSchedule,
    SnapshotScheduleItem,
    SnapshotScheduleStatus,
)
from controller.ceph.mirroring.place import Mode

if TYPE_CHECKING:
    from controller.apis.ceph import CephBlockPoolRadosNamespaceStatus, CephBlockPoolStatus
    from controller.ceph.mirroring.images import MirrorState
    from controller.ceph.mirroring.observe import MirrorObservation
    from controller.ceph.mirroring.schedules import Scheduled
    from controller.ceph.mirroring.wanted import Wanted


def fields(
    present: CephBlockPoolStatus | CephBlockPoolRadosNamespaceStatus,
    wanted: Wanted,
    seen: MirrorObservation,
    now: str,
) -> dict[str, Any]:
    """The fields of a status that tell of mirroring; equal to the present ones where nothing changed.

    Args:
        present: The present status.
        wanted: What is asked for.
        seen: What there is.
        now: RFC 3339 time.
    """
    if wanted.mode is Mode.DISABLED or not wanted.watched:
        return {
            "mirroring_info": MirroringInfo(),
            "mirroring_status": MirroringStatus(),
            "snapshot_schedule_status": SnapshotScheduleStatus(),
        }
    if seen.state is None:
        return {}
    scheduled = present.snapshot_schedule_status.snapshot_schedules if seen.scheduled is None else _rows(seen.scheduled)
    status = MirroringStatus(summary=seen.summary or MirroringSummary(), details=seen.details)
    schedules = SnapshotScheduleStatus(snapshot_schedules=scheduled, details=seen.details)
    return {
        "mirroring_info": dated(present.mirroring_info, _info(seen.state), now),
        "mirroring_status": dated(present.mirroring_status, status, now),
        "snapshot_schedule_status": dated(present.snapshot_schedule_status, schedules, now),
    }


def dated[
    T: (
        MirroringInfo,
        MirroringStatus,
        SnapshotScheduleStatus,
        FilesystemMirroringStatus,
        FilesystemSnapshotScheduleStatus,
    )
](present: T, found: T, now: str) -> T:
    """`found` with the time at which it changed, or the present one where it did not. `now`: RFC 3339 time."""
    same = msgspec.structs.replace(found, last_changed=present.last_changed, last_checked=present.last_checked)
    return present if same == present else msgspec.structs.replace(found, last_changed=now, last_checked=now)


def _info(state: MirrorState) -> MirroringInfo:
    peers = tuple(
        MirroringPeer(
            uuid=peer.uuid,
            site_name=peer.site_name,
            client_name=peer.client_name,
            mirror_uuid=peer.mirror_uuid,
            direction=peer.direction,
        )
        for peer in state.peers
    )
    return MirroringInfo(mode=state.mode.word, site_name=state.site_name, peers=peers)


def _rows(scheduled: tuple[Scheduled, ...]) -> tuple[SnapshotSchedule, ...]:
    return tuple(_row(entry) for entry in scheduled)


def _row(entry: Scheduled) -> SnapshotSchedule:
    """A level is "pool/", "pool/namespace/", "pool/image" or "pool/namespace/image"."""
    pool, _, rest = entry.level.partition("/")
    namespace, _, image = rest.rpartition("/")
    items = tuple(SnapshotScheduleItem(interval=s.interval, start_time=s.start) for s in entry.schedules)
    return SnapshotSchedule(pool=pool, namespace=namespace, image=image, items=items)
