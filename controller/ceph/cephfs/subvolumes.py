"""What is done to subvolumes and asked about them, by the mgr: https://docs.ceph.com/en/latest/cephfs/fs-volumes/"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from controller.ceph.access.rados import CephError
from controller.volumes.backend import BackendError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from controller.ceph.access.rados import Cluster
    from controller.ceph.cephfs.volumes import Subvolume

MODE = "777"
"""Of the directory, as by Ceph's CSI driver: whoever runs in the pod may write."""


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
    info = await _info(ceph, subvolume)
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
    await ceph.mgr("fs subvolume create", **arguments(subvolume), size=size, mode=MODE, **layout)
    return await _there(ceph, subvolume)


async def grow(ceph: Cluster, subvolume: Subvolume, size: int) -> Found:
    """Makes the quota at least `size` bytes large; never smaller.

    Raises:
        BackendError: It is not there, or has not grown.
        CephError: The mgr does not answer, or refuses it.
    """
    return await _grown(ceph, subvolume, await _there(ceph, subvolume), size)


async def settle(ceph: Cluster, subvolume: Subvolume, size: int) -> Found:
    """Gives a copy that is whole a quota of `size` bytes, where it has none or a smaller one.

    Raises:
        BackendError: It is not there, or has not grown.
        CephError: The mgr does not answer, or refuses it.
    """
    found = await _there(ceph, subvolume)
    if found.quota is None:
        found = Found(found.path, 0)
    return await _grown(ceph, subvolume, found, size)


async def features(ceph: Cluster, subvolume: Subvolume) -> Sequence[str]:
    """What Ceph can do with a subvolume; nothing with one that is not there.

    Raises:
        CephError: The mgr does not answer, or refuses it.
    """
    return tuple((await _info(ceph, subvolume)).get("features") or ())


async def is_retained(ceph: Cluster, subvolume: Subvolume) -> bool:
    """Whether a subvolume is removed, and only its snapshots are left.

    Raises:
        CephError: The mgr does not answer, or refuses it.
    """
    return (await _info(ceph, subvolume)).get("state") == "snapshot-retained"


def arguments(subvolume: Subvolume) -> dict[str, Any]:
    """The arguments of the mgr's commands that name a subvolume."""
    return {"vol_name": subvolume.filesystem, "sub_name": subvolume.name, "group_name": subvolume.group}


async def _info(ceph: Cluster, subvolume: Subvolume) -> Mapping[str, Any]:
    """What Ceph tells of a subvolume; empty: it is not there."""
    try:
        found: Mapping[str, Any] = await ceph.mgr("fs subvolume info", **arguments(subvolume))
    except CephError as error:
        if error.is_not_found:
            return {}
        raise
    return found


async def _grown(ceph: Cluster, subvolume: Subvolume, found: Found, size: int) -> Found:
    if found.quota is None or found.quota >= size:
        return found
    await ceph.mgr("fs subvolume resize", **arguments(subvolume), new_size=str(size), no_shrink=True)
    grown = await _there(ceph, subvolume)
    if grown.quota is not None and grown.quota < size:  # a call that nobody waits for any more was carried out last
        raise BackendError(f"subvolume {subvolume} has a quota of {grown.quota} bytes: expected {size}")
    return grown


async def _there(ceph: Cluster, subvolume: Subvolume) -> Found:
    found = await find(ceph, subvolume)
    if found is None:
        raise BackendError(f"subvolume {subvolume} does not exist")
    return found
