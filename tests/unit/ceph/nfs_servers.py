"""CephNFSs and what there is of their servers, as tests describe it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgspec

from controller.apis.ceph import CephNFS
from controller.ceph.access.ganesha import Grace, Server, Shared
from controller.ceph.access.users import given
from controller.ceph.nfs.objects import (
    caps,
    config_map,
    context,
    daemon_of,
    keyring_name,
    labels,
    server_budget,
    server_deployment,
    service,
)
from controller.ceph.nfs.observe import NfsObservation, PoolState
from controller.ceph.nfs.spec import member_id
from tests.unit.ceph.cases import RELEASE, a_pod, deployment_view, live_object, live_objects
from tests.unit.ceph.filesystems import cluster

if TYPE_CHECKING:
    from collections.abc import Iterable

    from controller.ceph.pods import Context, Release
    from informers import JsonObject

NOW = "2027-01-15T08:00:00Z"
PLAIN: JsonObject = {"server": {"active": 2}}
SURE = {"rook.io/force-deletion": "true"}
READY: dict[str, Any] = {
    "pool": PoolState(applications=frozenset({"nfs"})),
    "shared": Shared(configured=True),
}
"""Attributes of an observation of a cluster that is prepared for servers, and has none."""
DISCONNECT = {"rook.io/disconnect-nfs-clients": "true"}


def a_nfs(
    spec: JsonObject | None = None,
    *,
    active: int = 2,
    deleting: bool = False,
    annotations: dict[str, str] | None = None,
    status: JsonObject | None = None,
) -> CephNFS:
    """A CephNFS `rook-ceph/my-nfs` with this spec, or a plain one with so many servers."""
    meta: JsonObject = {"name": "my-nfs", "namespace": "rook-ceph", "uid": "n1", "generation": 2}
    meta["annotations"] = annotations or {}
    if deleting:
        meta["deletionTimestamp"] = NOW
    obj = {"metadata": meta, "spec": spec or {"server": {"active": active}}, "status": status or {}}
    return msgspec.convert(obj, CephNFS)


def a_context(nfs: CephNFS, release: Release = RELEASE) -> Context:
    """What servers are given of their cluster."""
    return context(nfs, cluster(), release)


def a_grace(servers: str, *, recovering: int = 0, needs: str = "", **clients: Iterable[str]) -> Grace:
    """A database with the servers of these letters; those in `needs` have not their clients back."""
    found = {member_id("my-nfs", s): Server(needs_grace=s in needs, clients=tuple(clients.get(s, ()))) for s in servers}
    return Grace(current=recovering + 1, recovering=recovering, servers=found)


def keyring(nfs: CephNFS, server: str) -> JsonObject:
    """The Secret with a server's key."""
    meta = {
        "name": keyring_name(nfs.metadata.name, server),
        "namespace": "rook-ceph",
        "uid": f"uid-{server}",
        "annotations": given(caps(nfs.metadata.name)),
        "labels": labels(a_context(nfs), server),
    }
    return {"kind": "Secret", "metadata": meta}


def nothing(**fields: Any) -> NfsObservation:
    """A cluster that answers, where nothing has been made for servers yet."""
    return replace(NfsObservation(context=a_context(a_nfs())), **fields)


def running(
    nfs: CephNFS,
    servers: str = "ab",
    *,
    grace: Grace | None = None,
    down: str = "",
    release: Release = RELEASE,
    wanted: Release = RELEASE,
    **fields: Any,
) -> NfsObservation:
    """What there is of servers that run as this CephNFS has them.

    Args:
        nfs: The CephNFS that they were made for.
        servers: Their letters.
        grace: The database of grace periods; by default one with all of them, and no grace period.
        down: Those of them that do not run.
        release: What they run.
        wanted: What they should run.
        fields: Other attributes of the observation.
    """
    ctx, name = a_context(nfs, release), nfs.metadata.name
    made = {server: server_deployment(nfs, ctx, server) for server in servers}
    live = live_objects(
        *made.values(),
        *(service(nfs, ctx, server) for server in servers),
        *(config_map(nfs, ctx, server) for server in servers),
        *server_budget(ctx),
    )
    for server in servers:
        live["Secret", keyring_name(name, server)] = keyring(nfs, server)
    seen = NfsObservation(
        context=a_context(nfs, wanted),
        pool=PoolState(applications=frozenset({"nfs"})),
        shared=Shared(grace=grace or a_grace(servers), configured=True),
        deployments={
            server: deployment_view(live_object(obj), rolled_out=server not in down) for server, obj in made.items()
        },
        pods={server: (a_pod(daemon_of(name, server)),) for server in servers},
        live=live,
    )
    return replace(seen, **fields)
