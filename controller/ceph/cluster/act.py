"""How the steps of a CephCluster's plan are carried out. Each handler may be repeated at any time without harm."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import anyio
import msgspec

from controller.apis.ceph import CEPH_BLOCK_POOL, CEPH_CLUSTER
from controller.ceph.access.identity import PROTECTION, generate_identity, identity_secret
from controller.ceph.cluster import ciphers, deletion
from controller.ceph.cluster import settings as config
from controller.ceph.mgr import act as mgr
from controller.ceph.mon import act as mon
from controller.ceph.osd import analyze as osd
from controller.ceph.osd import disruption
from controller.ceph.pods import context_of, owner_of
from controller.ceph.rbd import users as csi
from controller.framework import children, jobs
from controller.framework.aside import aside
from controller.framework.consent import NoConsentError, read_deleted
from controller.framework.deletion import delete_protected
from controller.runtime import resource_of
from controller.runtime.kube import DEPLOYMENT, PV, SECRET, PersistentVolume
from informers import ApiError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from controller.apis.ceph import CephCluster
    from controller.ceph.access.rados import Connections
    from controller.ceph.cluster.observe import Caches, Observation
    from controller.framework.plan import Handler
    from controller.runtime import Manager
    from informers import Client, JsonObject, Resource

CLUSTERS, POOLS = resource_of(CEPH_CLUSTER), resource_of(CEPH_BLOCK_POOL)

FRESH = 5.0
"""Seconds for which the answer holds to what uses a cluster that is to be destroyed, from when it is asked."""


@dataclass(frozen=True, slots=True)
class CreateIdentity:
    """Make up an fsid and keys, and keep them in the Secret with this metadata. Never replaces one that exists.

    `mon_key_type`: the type of the key that only mons use.
    """

    meta: dict[str, Any] = field(repr=False)
    mon_key_type: str


class _Dependents:
    """Asks the API server what uses a cluster, of which the caches may not know yet.

    Volumes may be very many, and so may nodes whose data is removed: an answer holds for `FRESH` seconds, so that those
    of one look share one.
    """

    def __init__(self, cluster: CephCluster, client: Client) -> None:
        self._cluster, self._client = cluster, client
        self._asking = anyio.Lock()
        self._until = -math.inf
        self._answer: tuple[str, ...] = ()

    async def __call__(self) -> tuple[str, ...]:
        async with self._asking:
            began = anyio.current_time()
            if began >= self._until:
                self._answer = await self._ask()
                self._until = began + FRESH
            return self._answer

    async def _ask(self) -> tuple[str, ...]:
        namespace = self._cluster.metadata.namespace
        pools = [pool["metadata"]["name"] for pool in await self._client.list(POOLS, namespace)]
        volumes = await aside(_of_cluster, namespace, await self._client.list(PV))
        return deletion.dependents(self._cluster, pools, volumes)


def _of_cluster(namespace: str, found: Iterable[JsonObject]) -> list[str]:
    """The names of the PersistentVolumes of the cluster in a namespace."""
    volumes = (msgspec.convert(volume, PersistentVolume) for volume in found)
    return [volume.metadata.name for volume in volumes if namespace in deletion.clusters_of(volume)]


def handlers(
    cluster: CephCluster, seen: Observation, manager: Manager, caches: Caches, connections: Connections
) -> dict[type, Handler]:
    """What carries out each action that a CephCluster's plan may have now."""
    namespace = cluster.metadata.namespace
    ways = {
        **children.handlers(manager.applier, manager.client, caches.children),
        **jobs.handlers(manager.client),
        **_cluster_handlers(cluster, manager),
        **mon.handlers(namespace, seen.mons.endpoints, manager.client, manager.applier),
    }
    ceph = connections.get(namespace)
    if ceph is not None:
        ways |= mon.monmap_handlers(namespace, manager.client, ceph)
        ways |= mgr.handlers(owner_of(cluster), manager.client, manager.applier, ceph)
        ways |= config.handlers(ceph)
        ways |= ciphers.handlers(ceph)
        ways |= csi.handlers(owner_of(cluster), ceph, manager.applier)
        ways |= disruption.handlers(ceph)
    if ceph is not None and seen.release is not None and seen.identity is not None:
        ways |= osd.handlers(
            cluster,
            context_of(cluster, seen.identity.fsid, seen.release),
            manager.client,
            manager.applier,
            ceph,
            script_image=seen.osds.script_image,
            reservations=caches.reservations,
        )
    return ways


def _cluster_handlers(cluster: CephCluster, manager: Manager) -> dict[type, Handler]:
    client, namespace = manager.client, cluster.metadata.namespace
    dependents = _Dependents(cluster, client)

    async def create_identity(action: CreateIdentity) -> None:
        await _create(client, SECRET, identity_secret(action.meta, generate_identity(action.mon_key_type)))

    async def confirm() -> None:
        fresh = await read_deleted(client, CLUSTERS, cluster)
        confirmation = fresh["spec"].get("cleanupPolicy", {}).get("confirmation", "")
        if confirmation != deletion.CONFIRMATION:
            raise NoConsentError(
                f"CephCluster {namespace}/{cluster.metadata.name}: spec.cleanupPolicy.confirmation is "
                f"{confirmation!r}, not {deletion.CONFIRMATION!r}: nothing is destroyed"
            )

    async def destroy_data(action: deletion.DestroyData) -> None:
        await confirm()
        if users := await dependents():
            raise NoConsentError(f"the data is used by {', '.join(users)}: it stays")
        await jobs.start(client, action.job, action.attempt)

    async def stop(action: deletion.Stop) -> None:
        await confirm()
        body = {"metadata": {"uid": action.uid}, "spec": {"replicas": 0}}
        await client.patch(DEPLOYMENT, namespace, action.name, body, content_type="application/merge-patch+json")

    async def destroy_identity(action: deletion.DestroyIdentity) -> None:
        await confirm()
        await delete_protected(client, action.resource, namespace, action.name, action.uid, finalizer=PROTECTION)

    return {
        CreateIdentity: create_identity,
        deletion.DestroyData: destroy_data,
        deletion.DestroyIdentity: destroy_identity,
        deletion.Stop: stop,
    }


async def _create(client: Client, resource: Resource, obj: JsonObject) -> None:
    """Creates an object unless it exists: the caches may not have seen yet that an earlier try made it."""
    try:
        await client.create(resource, obj)
    except ApiError as error:
        if not error.is_already_exists:
            raise
