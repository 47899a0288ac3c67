"""The end of subvolumes, by the mgr: also of those that have snapshots, and of copies that are not whole.

Ceph removes a subvolume and retains its snapshots; it purges the files later.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from controller.ceph.access.rados import CephError
from controller.ceph.cephfs import clones, snaps
from controller.ceph.cephfs.subvolumes import arguments, features
from controller.volumes.backend import BackendError, UnderWayError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from controller.ceph.access.rados import Cluster
    from controller.ceph.cephfs.volumes import Subvolume

_RETENTION = "snapshot-retention"

_SOME = 5
"""Snapshots that a message names."""


async def remove(ceph: Cluster, subvolume: Subvolume) -> None:
    """Removes the subvolume, if it is there. Snapshots of VolumeSnapshots stay.

    Raises:
        UnderWayError: It is a copy that is not whole: its making is being stopped.
        BackendError: It is being copied, has snapshots of others, or can only be removed after its snapshots.
        CephError: The mgr does not answer, or refuses it.
    """
    error = await _removed(ceph, subvolume)
    if error is not None and error.errno == errno.EAGAIN:
        await clones.cancel(ceph, subvolume)
        found = await clones.status(ceph, subvolume)
        if found is None:
            return
        if found.state not in (*clones.ENDED, clones.COMPLETE):
            raise UnderWayError(f"subvolume {subvolume}, which is being copied ({found.state}), is being stopped")
        error = await _removed(ceph, subvolume, force=True)
    if error is not None and error.errno == errno.ENOTEMPTY:
        error = await _retaining(ceph, subvolume)
    if error is not None:
        raise error


async def _removed(ceph: Cluster, subvolume: Subvolume, **how: bool) -> CephError | None:
    """Removes a subvolume; returns why it was not."""
    try:
        await ceph.mgr("fs subvolume rm", **arguments(subvolume), **how)
    except CephError as error:
        return None if error.is_not_found else error
    return None


async def _retaining(ceph: Cluster, subvolume: Subvolume) -> CephError | None:
    """Removes a subvolume that has snapshots; returns why it was not."""
    found = await snaps.names(ceph, subvolume)
    if foreign := [name for name in found if not snaps.is_ours(name)]:
        raise BackendError(f"subvolume {subvolume}: it has snapshots: {_some(foreign)}")
    helpers = [name for name in found if name.startswith(snaps.HELPER)]
    for helper in helpers:  # one that is not copied any more is what an operator left over that died
        await snaps.remove(ceph, snaps.Snapshot(subvolume, helper))
    if len(helpers) == len(found):
        return await _removed(ceph, subvolume)
    if _RETENTION not in await features(ceph, subvolume):
        kept = _some([name for name in found if name not in helpers])
        raise BackendError(f"subvolume {subvolume}: it has snapshots, before which Ceph cannot remove it: {kept}")
    return await _removed(ceph, subvolume, retain_snapshots=True)


def _some(names: Sequence[str]) -> str:
    return f"{', '.join(names[:_SOME])}{', …' if len(names) > _SOME else ''}"
