"""What is in a file system, in words: subvolumes with their snapshots, groups, and files beside them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from controller.ceph.access.filesystems import DEFAULT_GROUP, groups_of, subvolumes_of
from controller.ceph.access.rados import CephError
from controller.ceph.access.threads import Lane

if TYPE_CHECKING:
    from controller.ceph.access.filesystems import FilesystemState
    from controller.ceph.access.rados import Cluster, RadosCluster

MOST_ASKED = 10
"""Subvolumes whose snapshots are counted."""
LISTING_TIMEOUT = 30.0
"""Seconds that it may take to see whether a pool has an object."""


async def contents_of(cluster: RadosCluster, name: str, state: FilesystemState) -> tuple[str, ...]:
    """What is in a file system, in words; empty: nothing that anybody made.

    Raises:
        CephError: The cluster does not answer in time.
    """
    try:
        found = await _subvolumes(cluster, name)
    except CephError as error:
        # Whoever cannot look does not know that there is nothing.
        return (f"subvolumes that cannot be listed ({error.message})",)
    if found:
        return found
    for pool in await _names(cluster, state.data_pools):
        inside = await first_object(cluster, pool)
        if inside:
            return (f"files that are in no subvolume, with data in pool {pool}",)
    return ()


async def first_object(cluster: RadosCluster, pool: str) -> str:
    """The name of an object in a pool, in whatever namespace; empty: there is none.

    Raises:
        CephError: The cluster does not answer in time.
    """
    return await cluster.use(lambda handle: _first(handle, pool), lane=Lane.IMAGES, seconds=LISTING_TIMEOUT)


async def _subvolumes(ceph: Cluster, name: str) -> tuple[str, ...]:
    found: list[str] = []
    asked = 0
    for group in ("", *await groups_of(ceph, name)):
        prefix = f"{group}/" if group else ""
        subvolumes = await subvolumes_of(ceph, name, group)
        for subvolume in subvolumes:
            more = ""
            if asked < MOST_ASKED:
                asked += 1
                more = await _snapshots(ceph, name, subvolume, group)
            found.append(f"subvolume {prefix}{subvolume}{more}")
        if group and group != DEFAULT_GROUP and not subvolumes:
            found.append(f"subvolume group {group}")
    return tuple(found)


async def _snapshots(ceph: Cluster, name: str, subvolume: str, group: str) -> str:
    of_group = {"group_name": group} if group else {}
    found = await ceph.mgr("fs subvolume snapshot ls", vol_name=name, sub_name=subvolume, **of_group)
    names = sorted(snapshot["name"] for snapshot in found or ())
    count = f"{len(names)} snapshots, such as" if len(names) > 1 else "snapshot"
    return f" with {count} {names[0]}" if names else ""


async def _names(ceph: Cluster, numbers: tuple[int, ...]) -> list[str]:
    details = await ceph.mon("osd pool ls", detail="detail")
    return [detail["pool_name"] for detail in details if detail["pool_id"] in numbers]


def _first(handle: Any, pool: str) -> str:
    import rados  # a system library of the operator's image, absent where only plans are computed

    with handle.open_ioctx(pool) as opened:
        opened.set_namespace(rados.LIBRADOS_ALL_NSPACES)
        return next((found.key for found in opened.list_objects()), "")
