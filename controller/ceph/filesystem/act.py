"""What can be done to a file system and its MDS daemons, and how: consent is asked anew where data is destroyed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from controller.apis.ceph import CEPH_FILESYSTEM
from controller.ceph.access.filesystems import STANDBY_REPLAY, parse
from controller.ceph.filesystem.contents import contents_of, first_object
from controller.ceph.pools import act as pools
from controller.framework.consent import NoConsentError, is_forced, read_deleted
from controller.framework.text import some
from controller.runtime import resource_of
from controller.runtime.kube import DEPLOYMENT

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from controller.apis.ceph import CephFilesystem
    from controller.ceph.access.filesystems import FilesystemState
    from controller.ceph.access.rados import Cluster, RadosCluster
    from controller.ceph.pools.act import DeletePool
    from controller.framework.plan import Handler
    from informers import Client

FILESYSTEMS = resource_of(CEPH_FILESYSTEM)
MAX_NAMED = 10
"""Subvolumes, groups and files that are named."""


class BusyMdsError(Exception):
    """An MDS daemon that was to be stopped holds a rank by now."""


@dataclass(frozen=True, slots=True)
class CreateFilesystem:
    """Make a file system of two pools that are empty. `coded`: the pool of data is erasure-coded, which Ceph wants to
    be told twice."""

    name: str
    metadata_pool: str
    data_pool: str
    coded: bool = False


@dataclass(frozen=True, slots=True)
class AddDataPool:
    """Let data of a file system go to one more pool."""

    filesystem: str
    pool: str


@dataclass(frozen=True, slots=True)
class SetMaxMds:
    """Change how many ranks a file system has. Ranks that are too many are stopped by Ceph one by one."""

    filesystem: str
    count: int


@dataclass(frozen=True, slots=True)
class SetStandbyReplay:
    """Let MDS daemons follow those that hold ranks, or stop those that do."""

    filesystem: str
    allowed: bool


@dataclass(frozen=True, slots=True)
class CreateGroup:
    """Make a group of subvolumes."""

    filesystem: str
    group: str


@dataclass(frozen=True, slots=True)
class StopMds:
    """Delete the Deployment of an MDS daemon that holds no rank. The handler asks once more whether it does."""

    filesystem: str
    mds: str
    deployment: str
    uid: str


@dataclass(frozen=True, slots=True)
class FailMds:
    """Have a daemon that stands by take the rank of another one."""

    mds: str


@dataclass(frozen=True, slots=True)
class RemoveUser:
    """Delete the cephx user of an MDS daemon that is gone."""

    entity: str


@dataclass(frozen=True, slots=True)
class RemoveFilesystem:
    """Remove a file system with all that is in it, and these pools.

    Attributes:
        name: The file system.
        present: Whether there is still one; else only its pools are left.
        pools: The pools that go with it.
        forced: Something is in it, or the deletion is an old one, and it goes by consent. The handler asks for that
            once more.
    """

    name: str
    present: bool
    pools: tuple[DeletePool, ...]
    forced: bool = False


def handlers(
    filesystem: CephFilesystem,
    client: Client,
    ceph: RadosCluster,
    users: Callable[[], Awaitable[tuple[str, ...]]],
) -> dict[type, Handler]:
    """How the actions of a file system's plan are carried out.

    Args:
        filesystem: The CephFilesystem.
        client: Asks the API server for consent, and deletes Deployments.
        ceph: The cluster.
        users: Asks the API server for objects that use the file system.
    """

    async def contents() -> tuple[str, ...]:
        name = filesystem.metadata.name
        state = parse(await ceph.mon("fs dump")).filesystems.get(name)
        return await contents_of(ceph, name, state) if state is not None else ()

    remove = with_consent(client, filesystem, contents, users, _removing(ceph))
    return {
        **pools.handlers(ceph),
        **_making(filesystem, ceph, lambda pool: first_object(ceph, pool)),
        **_serving(filesystem, client, ceph),
        RemoveFilesystem: remove,
    }


def with_consent(
    client: Client,
    filesystem: CephFilesystem,
    contents: Callable[[], Awaitable[tuple[str, ...]]],
    users: Callable[[], Awaitable[tuple[str, ...]]],
    remove: Handler,
) -> Handler:
    """`remove` for a file system that is empty, or is to go with its files, at that moment.

    Args:
        client: Asks the API server whether it, too, has the CephFilesystem as one that is to go.
        filesystem: The CephFilesystem.
        contents: Asks the cluster what is in the file system.
        users: Asks the API server for objects that use the file system.
        remove: Removes it.
    """

    async def remove_filesystem(action: RemoveFilesystem) -> None:
        fresh = await read_deleted(client, FILESYSTEMS, filesystem)
        meta, spec = fresh["metadata"], fresh.get("spec", {})
        name = f"CephFilesystem {meta['namespace']}/{meta['name']}"
        if spec.get("preserveFilesystemOnDelete"):
            raise NoConsentError(f"{name}: spec.preserveFilesystemOnDelete is set by now: it stays")
        if action.pools and spec.get("preservePoolsOnDelete"):
            raise NoConsentError(f"{name}: spec.preservePoolsOnDelete is set by now: the pools stay")
        using = await users()
        if using:
            raise NoConsentError(f"{name}: {some(using, MAX_NAMED)} uses it by now: it stays")
        if action.forced and not is_forced(meta.get("annotations") or {}):
            raise NoConsentError(f"{name}: the consent to delete it with what is in it was withdrawn: it stays")
        found = () if action.forced else await contents()
        if found:
            raise NoConsentError(f"{name}: the file system has {some(found, MAX_NAMED)} by now: it stays")
        await remove(action)

    return remove_filesystem


def _removing(ceph: Cluster) -> Handler:
    delete_pool = pools.deletion(ceph)

    async def remove(action: RemoveFilesystem) -> None:
        if action.present:
            await ceph.mon("fs fail", fs_name=action.name)
            await ceph.mon("fs rm", fs_name=action.name, yes_i_really_mean_it=True)
        for pool in action.pools:
            await delete_pool(pool)

    return remove


def _making(filesystem: CephFilesystem, ceph: Cluster, inside: Callable[[str], Awaitable[str]]) -> dict[type, Handler]:
    async def create_filesystem(action: CreateFilesystem) -> None:
        # Ceph itself looks into the metadata's pool alone, and into none where it is told "force".
        for pool in (action.metadata_pool, action.data_pool):
            found = await inside(pool)
            if found:
                name = f"CephFilesystem {filesystem.metadata.namespace}/{filesystem.metadata.name}"
                raise NoConsentError(f"{name}: pool {pool} has objects by now, such as {found}: nothing is made of it")
        sure = {"force": True} if action.coded else {}
        await ceph.mon("fs new", fs_name=action.name, metadata=action.metadata_pool, data=action.data_pool, **sure)

    async def add_data_pool(action: AddDataPool) -> None:
        await ceph.mon("fs add_data_pool", fs_name=action.filesystem, pool=action.pool)

    async def create_group(action: CreateGroup) -> None:
        await ceph.mgr("fs subvolumegroup create", vol_name=action.filesystem, group_name=action.group)

    return {CreateFilesystem: create_filesystem, AddDataPool: add_data_pool, CreateGroup: create_group}


def _serving(filesystem: CephFilesystem, client: Client, ceph: Cluster) -> dict[type, Handler]:
    async def state_of(name: str) -> FilesystemState | None:
        return parse(await ceph.mon("fs dump")).filesystems.get(name)

    async def set_max_mds(action: SetMaxMds) -> None:
        await ceph.mon("fs set", fs_name=action.filesystem, var="max_mds", val=str(action.count))

    async def set_standby_replay(action: SetStandbyReplay) -> None:
        allowed = "true" if action.allowed else "false"
        await ceph.mon("fs set", fs_name=action.filesystem, var="allow_standby_replay", val=allowed)
        state = await state_of(action.filesystem) if not action.allowed else None
        # Not every release ends those that follow already. They start again, and stand by.
        for mds in state.daemons if state is not None else ():
            if mds.state == STANDBY_REPLAY:
                await ceph.mon("mds fail", role_or_gid=mds.name)

    async def stop_mds(action: StopMds) -> None:
        state = await state_of(action.filesystem)
        found = state.named(action.mds) if state is not None else None
        if found is not None and found.holds:
            raise BusyMdsError(f"mds.{action.mds} holds rank {found.rank} by now: it is not stopped")
        await client.delete(DEPLOYMENT, filesystem.metadata.namespace, action.deployment, uid=action.uid)

    async def fail_mds(action: FailMds) -> None:
        await ceph.mon("mds fail", role_or_gid=action.mds)

    async def remove_user(action: RemoveUser) -> None:
        await ceph.mon("auth rm", entity=action.entity)

    return {
        SetMaxMds: set_max_mds,
        SetStandbyReplay: set_standby_replay,
        StopMds: stop_mds,
        FailMds: fail_mds,
        RemoveUser: remove_user,
    }
