"""What is done to subvolumes and asked about them, by the mgr: https://docs.ceph.com/en/latest/cephfs/fs-volumes/"""

from __future__ import annotations

import errno
from dataclasses import dataclass
from typing import TYPE_CHECKING

from controller.ceph.access.rados import CephError
from controller.volumes.backend import BackendError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from controller.ceph.access.rados import Cluster
    from controller.ceph.cephfs.volumes import Subvolume

MODE = "777"
"""Of the directory, as by Ceph's CSI driver: whoever runs in the pod may write."""

_SOME = 5
"""Snapshots that a message names."""


@dataclass(frozen=True, slots=True)
class Found:
    """A subvolume that is there: the path of its directory, and its quota in bytes; None: it has none."""

    path: str
    quota: int | None


async def find(ceph: Cluster, subvolume: Subvolume) -> Found | None:
    """The subvolume; None: it is not there, or only its snapshots are.

    Raises:
        CephError: The mgr does not answer, or refuses it.
    """
    try:
        info = await ceph.mgr("fs subvolume info", **_named(subvolume))
    except CephError as error:
        if error.is_not_found:
            return None
        raise
    if not info.get("path"):
        return None
    quota = info["bytes_quota"]
    return Found(info["path"], quota if isinstance(quota, int) else None)


async def make(ceph: Cluster, subvolume: Subvolume, size: int, options: Mapping[str, str]) -> Found:
    """Makes the subvolume with a quota of `size` bytes; of one that is there, the quota grows where it is less.

    A subvolume that is there is not made again: Ceph would give it quota and mode of a new one.

    Raises:
        CephError: The mgr does not answer, or refuses it.
    """
    found = await find(ceph, subvolume)
    if found is not None:
        return await _grown(ceph, subvolume, found, size)
    layout = {"pool_layout": options["pool"]} if options.get("pool") else {}
    await ceph.mgr("fs subvolume create", **_named(subvolume), size=size, mode=MODE, **layout)
    return await _there(ceph, subvolume)


async def grow(ceph: Cluster, subvolume: Subvolume, size: int) -> Found:
    """Makes the quota at least `size` bytes large; never smaller.

    Raises:
        BackendError: It is not there, or has not grown.
        CephError: The mgr does not answer, or refuses it.
    """
    return await _grown(ceph, subvolume, await _there(ceph, subvolume), size)


async def remove(ceph: Cluster, subvolume: Subvolume) -> None:
    """Removes the subvolume, if it is there; Ceph purges its files later.

    Raises:
        BackendError: It has snapshots.
        CephError: The mgr does not answer, or refuses it.
    """
    try:
        await ceph.mgr("fs subvolume rm", **_named(subvolume))
    except CephError as error:
        if error.is_not_found:
            return
        if error.errno != errno.ENOTEMPTY:
            raise
        found = await ceph.mgr("fs subvolume snapshot ls", **_named(subvolume)) or ()
        names = sorted(snapshot["name"] for snapshot in found)
        more = ", …" if len(names) > _SOME else ""
        raise BackendError(f"subvolume {subvolume}: it has snapshots: {', '.join(names[:_SOME])}{more}") from error


async def _grown(ceph: Cluster, subvolume: Subvolume, found: Found, size: int) -> Found:
    if found.quota is None or found.quota >= size:
        return found
    await ceph.mgr("fs subvolume resize", **_named(subvolume), new_size=str(size), no_shrink=True)
    grown = await _there(ceph, subvolume)
    if grown.quota is not None and grown.quota < size:  # a call that nobody waits for any more was carried out last
        raise BackendError(f"subvolume {subvolume} has a quota of {grown.quota} bytes: expected {size}")
    return grown


async def _there(ceph: Cluster, subvolume: Subvolume) -> Found:
    found = await find(ceph, subvolume)
    if found is None:
        raise BackendError(f"subvolume {subvolume} does not exist")
    return found


def _named(subvolume: Subvolume) -> dict[str, str]:
    return {"vol_name": subvolume.filesystem, "sub_name": subvolume.name, "group_name": subvolume.group}
