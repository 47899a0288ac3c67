"""What can be done to a group of subvolumes, and how."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from controller.apis.ceph import CEPH_FILESYSTEM_SUBVOLUME_GROUP
from controller.ceph.subvolumegroup.spec import NO_QUOTA
from controller.framework.consent import read_deleted
from controller.runtime import resource_of

if TYPE_CHECKING:
    from controller.apis.ceph import CephFilesystemSubVolumeGroup
    from controller.ceph.access.rados import Cluster
    from controller.framework.plan import Handler
    from informers import Client, JsonObject

GROUPS = resource_of(CEPH_FILESYSTEM_SUBVOLUME_GROUP)


@dataclass(frozen=True, slots=True)
class CreateGroup:
    """Make a group, with a quota in bytes, and with its data in a pool of the file system's that is named."""

    filesystem: str
    group: str
    quota: str = NO_QUOTA
    data_pool: str = ""


@dataclass(frozen=True, slots=True)
class ResizeGroup:
    """Change the quota of a group."""

    filesystem: str
    group: str
    quota: str


@dataclass(frozen=True, slots=True)
class PinGroup:
    """Say which MDS daemons serve a group."""

    filesystem: str
    group: str
    kind: str
    value: str


@dataclass(frozen=True, slots=True)
class RemoveGroup:
    """Remove a group. Ceph itself refuses that for one that anything is in."""

    filesystem: str
    group: str


def handlers(group: CephFilesystemSubVolumeGroup, client: Client, ceph: Cluster) -> dict[type, Handler]:
    """How the actions of a group's plan are carried out.

    Args:
        group: The CephFilesystemSubVolumeGroup.
        client: Asks the API server whether it is still to go.
        ceph: The cluster.
    """

    async def create(action: CreateGroup) -> None:
        arguments: JsonObject = {"vol_name": action.filesystem, "group_name": action.group}
        if action.quota != NO_QUOTA:
            arguments["size"] = int(action.quota)
        if action.data_pool:
            arguments["pool_layout"] = action.data_pool
        await ceph.mgr("fs subvolumegroup create", **arguments)

    async def resize(action: ResizeGroup) -> None:
        await ceph.mgr(
            "fs subvolumegroup resize", vol_name=action.filesystem, group_name=action.group, new_size=action.quota
        )

    async def pin(action: PinGroup) -> None:
        await ceph.mgr(
            "fs subvolumegroup pin",
            vol_name=action.filesystem,
            group_name=action.group,
            pin_type=action.kind,
            pin_setting=action.value,
        )

    async def remove(action: RemoveGroup) -> None:
        await read_deleted(client, GROUPS, group)
        await ceph.mgr("fs subvolumegroup rm", vol_name=action.filesystem, group_name=action.group)

    return {CreateGroup: create, ResizeGroup: resize, PinGroup: pin, RemoveGroup: remove}
