"""What can be done to NFS servers and what they share, and how: who still has clients is asked anew at the act."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from controller.apis.ceph import CEPH_NFS, CephNFS
from controller.ceph.access import ganesha, modules
from controller.ceph.nfs.objects import daemon_of
from controller.ceph.nfs.spec import APPLICATION, disconnects, member_id, server_ids
from controller.framework.consent import NoConsentError, is_forced, read_same
from controller.framework.text import some
from controller.runtime import resource_of
from controller.runtime.kube import DEPLOYMENT, POD

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from controller.ceph.access.rados import RadosCluster
    from controller.framework.plan import Handler
    from informers import Client, JsonObject

SERVERS = resource_of(CEPH_NFS)
MAX_NAMED = 10
"""Clients, servers and volumes that are named."""


class RunningServerError(Exception):
    """A server that was to be taken out of the database of grace periods has a pod still."""


@dataclass(frozen=True, slots=True)
class CreatePool:
    """Make the pool that servers share, of as many copies as Ceph makes by itself."""


@dataclass(frozen=True, slots=True)
class EnableApplication:
    """Say what the pool is for."""


@dataclass(frozen=True, slots=True)
class CreateConfiguration:
    """Make the object that names the exports."""


@dataclass(frozen=True, slots=True)
class JoinGrace:
    """Take a server into the database of grace periods."""

    member: str


@dataclass(frozen=True, slots=True)
class LeaveGrace:
    """Take a server that is gone out of the database of grace periods."""

    server: str
    member: str


@dataclass(frozen=True, slots=True)
class StopServer:
    """Delete a server's Deployment. The handler asks once more whether it is wanted, and who would lose it."""

    server: str
    deployment: str
    uid: str


@dataclass(frozen=True, slots=True)
class RemoveUser:
    """Delete the cephx user of a server that is gone."""

    entity: str


def handlers(
    nfs: CephNFS, client: Client, ceph: RadosCluster, users: Callable[[], Awaitable[tuple[str, ...]]]
) -> dict[type, Handler]:
    """How the actions of a CephNFS's plan are carried out.

    Args:
        nfs: The CephNFS.
        client: Asks the API server for consent and for pods, and deletes Deployments.
        ceph: The cluster.
        users: Asks the API server for what uses the servers.
    """
    name, namespace = nfs.metadata.name, nfs.metadata.namespace

    async def join(action: JoinGrace) -> None:
        await ganesha.join(ceph, name, action.member)

    async def configure(_: CreateConfiguration) -> None:
        await ganesha.configure(ceph, name)

    async def stop(action: StopServer) -> None:
        fresh = await read_same(client, SERVERS, nfs)
        shared = await ganesha.read(ceph, name)
        server = shared.grace.servers.get(member_id(name, action.server)) if shared.grace is not None else None
        using = await users() if fresh["metadata"].get("deletionTimestamp") is not None else ()
        _may_stop(fresh, action.server, server.clients if server is not None else (), using)
        await client.delete(DEPLOYMENT, namespace, action.deployment, uid=action.uid)

    async def leave(action: LeaveGrace) -> None:
        daemon = daemon_of(name, action.server)
        selector = ",".join(f"{label}={value}" for label, value in daemon.selector(namespace).items())
        pods = await client.list(POD, namespace, label_selector=selector)
        if pods:
            pod = pods[0]["metadata"]["name"]
            raise RunningServerError(f"pod {pod} is there: {action.member} stays in the database of grace periods")
        await ganesha.leave(ceph, name, action.member)

    async def remove_user(action: RemoveUser) -> None:
        await ceph.mon("auth rm", entity=action.entity)

    return {
        **_preparing(ceph),
        JoinGrace: join,
        CreateConfiguration: configure,
        StopServer: stop,
        LeaveGrace: leave,
        RemoveUser: remove_user,
    }


def _preparing(ceph: RadosCluster) -> dict[type, Handler]:
    async def create_pool(_: CreatePool) -> None:
        # Ceph makes no pool whose name begins with a dot, and reports no error, unless it is told twice.
        await ceph.mon("osd pool create", pool=ganesha.POOL, pool_type="replicated", yes_i_really_mean_it=True)

    async def enable_application(_: EnableApplication) -> None:
        await ceph.mon("osd pool application enable", pool=ganesha.POOL, app=APPLICATION, yes_i_really_mean_it=True)

    return {CreatePool: create_pool, EnableApplication: enable_application, **modules.handlers(ceph)}


def _may_stop(fresh: JsonObject, server: str, clients: tuple[str, ...], using: tuple[str, ...]) -> None:
    """Whether a server may go at this moment.

    Raises:
        NoConsentError: It is wanted, or somebody would lose it.
    """
    nfs = msgspec.convert(fresh, CephNFS)
    what = f"CephNFS {nfs.metadata.namespace}/{nfs.metadata.name}"
    if nfs.metadata.deletion_timestamp is None:
        consent = disconnects(nfs.metadata.annotations)
        if server in server_ids(nfs):
            raise NoConsentError(f"{what}: server {server} is wanted by now: it stays")
    else:
        consent = is_forced(nfs.metadata.annotations)
    if using:
        raise NoConsentError(f"{what}: {some(using, MAX_NAMED)} uses it by now: it stays")
    if clients and not consent:
        raise NoConsentError(f"{what}: server {server} has clients by now, {some(clients, MAX_NAMED)}: it stays")
