"""What is done to snapshots of subvolumes and asked about them, by the mgr.

https://docs.ceph.com/en/latest/cephfs/fs-volumes/. A subvolume may be removed before its snapshots; with the last of
them, Ceph removes what is left of it.
"""

from __future__ import annotations

import errno
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from controller.ceph.access.rados import CephError
from controller.ceph.cephfs.subvolumes import arguments, is_retained
from controller.volumes.backend import BackendError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from controller.ceph.access.rados import Cluster
    from controller.ceph.cephfs.volumes import Subvolume

TAKEN, HELPER = "csi-snap-", "csi-clone-"
"""What the names of snapshots begin with: those of VolumeSnapshots, whose uid follows, and those that are there while a
volume is copied, with the end of the copy's name.
"""

_OURS = re.compile(rf"(?:{TAKEN}|{HELPER})[0-9a-fA-F-]{{36}}")

_MOST = "mds_max_snaps_per_dir"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class CopiedError(BackendError):
    """A snapshot is not removed, since it is being copied. The message names the copies."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A snapshot of a subvolume, by its name."""

    subvolume: Subvolume
    name: str

    def __str__(self) -> str:
        return f"{self.subvolume}@{self.name}"


@dataclass(frozen=True, slots=True)
class Taken:
    """A snapshot that is there.

    Attributes:
        created: When it was taken, in nanoseconds since 1970.
        copies: The subvolumes that are being copied from it, "group/name".
        is_copied: Whether there are any; old releases do not name them.
    """

    created: int
    copies: tuple[str, ...]
    is_copied: bool


def is_ours(name: str) -> bool:
    """Whether a snapshot's name is one that Ceph's CSI driver or this operator gives. Pure."""
    return _OURS.fullmatch(name) is not None


async def names(ceph: Cluster, subvolume: Subvolume) -> Sequence[str]:
    """The subvolume's snapshots; none of one that is not there.

    Raises:
        CephError: The mgr does not answer, or refuses it.
    """
    try:
        found = await ceph.mgr("fs subvolume snapshot ls", **arguments(subvolume))
    except CephError as error:
        if error.is_not_found:
            return ()
        raise
    return sorted(snapshot["name"] for snapshot in found or ())


async def find(ceph: Cluster, snapshot: Snapshot) -> Taken | None:
    """The snapshot; None: there is none.

    Raises:
        CephError: The mgr does not answer, or refuses it.
    """
    try:
        info = await ceph.mgr("fs subvolume snapshot info", **_named(snapshot))
    except CephError as error:
        if error.is_not_found:
            return None
        raise
    default = snapshot.subvolume.group
    copies = tuple(f"{c.get('target_group') or default}/{c['name']}" for c in info.get("pending_clones") or ())
    return Taken(_nanoseconds(info["created_at"]), copies, info.get("has_pending_clones") == "yes")


async def take(ceph: Cluster, snapshot: Snapshot) -> Taken:
    """Takes the snapshot; one that is there is kept as it is.

    Raises:
        BackendError: The subvolume has as many snapshots as it may.
        CephError: The mgr does not answer, or refuses it.
    """
    found = await find(ceph, snapshot)
    if found is not None:
        return found
    try:
        await ceph.mgr("fs subvolume snapshot create", **_named(snapshot))
    except CephError as error:
        if error.errno != errno.EMLINK:
            raise
        most = await ceph.mon("config get", who="mds", key=_MOST)
        count = len(await names(ceph, snapshot.subvolume))
        raise BackendError(
            f"subvolume {snapshot.subvolume} has {count} snapshots: expected less than {most} ({_MOST} of the MDS "
            "daemons), also those of the directories that it is in"
        ) from error
    found = await find(ceph, snapshot)
    if found is None:
        raise BackendError(f"snapshot {snapshot} was taken, and is not there")
    return found


async def remove(ceph: Cluster, snapshot: Snapshot) -> None:
    """Removes the snapshot, if it is there; and with the last one what is left of a subvolume that is removed.

    Raises:
        CopiedError: It is being copied.
        CephError: The mgr does not answer, or refuses it.
    """
    try:
        await ceph.mgr("fs subvolume snapshot rm", **_named(snapshot))
    except CephError as error:
        if error.errno == errno.EAGAIN:
            found = await find(ceph, snapshot)
            copies = f" to {', '.join(found.copies)}" if found is not None and found.copies else ""
            raise CopiedError(f"snapshot {snapshot} is being copied{copies}") from error
        if not error.is_not_found:
            raise
    subvolume = snapshot.subvolume
    # Ceph does this by itself, unless its mgr died in between.
    if await is_retained(ceph, subvolume) and not await names(ceph, subvolume):
        try:
            await ceph.mgr("fs subvolume rm", **arguments(subvolume))
        except CephError as error:
            if not error.is_not_found:
                raise


def _named(snapshot: Snapshot) -> dict[str, Any]:
    return {**arguments(snapshot.subvolume), "snap_name": snapshot.name}


def _nanoseconds(created: str) -> int:
    """The time of a mgr, whose clock is UTC in containers."""
    return (datetime.fromisoformat(created).replace(tzinfo=UTC) - _EPOCH) // timedelta(microseconds=1) * 1000
