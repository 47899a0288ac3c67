"""How the steps of a CephCluster's plan are carried out. Each handler may be repeated at any time without harm."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import anyio
import msgspec

from controller.apis.ceph import CEPH_BLOCK_POOL, CEPH_CLUSTER
from controller.ceph.access import users
from controller.ceph.access.identity import PROTECTION, generate_identity, identity_secret, keyring, keyring_secret
from controller.ceph.access.mons import ENDPOINTS, Endpoints, MonState, parse_endpoints
from controller.ceph.cluster import ciphers, deletion
from controller.ceph.cluster import settings as config
from controller.ceph.mgr import analyze as mgr
from controller.ceph.mon import analyze as mon
from controller.ceph.osd import analyze as osd
from controller.ceph.osd import disruption
from controller.ceph.pods import metadata
from controller.ceph.rbd import users as csi
from controller.framework import children, jobs
from controller.framework.aside import aside
from controller.framework.consent import NoConsentError, read_deleted
from controller.runtime import remove_finalizer, resource_of
from controller.runtime.kube import CONFIG_MAP, DEPLOYMENT, POD, PV, PVC, SECRET, PartialObject, PersistentVolume
from informers import ApiError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from controller.apis.ceph import CephCluster
    from controller.ceph.access.rados import Cluster, Connections
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


class MemberError(Exception):
    """A mon that was to leave the monmap is a member, or is needed for the quorum; or the members have changed."""


def handlers(
    cluster: CephCluster, seen: Observation, manager: Manager, caches: Caches, connections: Connections
) -> dict[type, Handler]:
    """What carries out each action that a CephCluster's plan may have now."""
    ways = {
        **children.handlers(manager.applier, manager.client, caches.children),
        **jobs.handlers(manager.client),
        **_cluster_handlers(cluster, manager),
        **_member_handlers(cluster, seen, manager),
    }
    ceph = connections.get(cluster.metadata.namespace)
    if ceph is not None:
        ways |= _ceph_handlers(cluster, manager, ceph)
        ways |= csi.handlers(cluster, ceph, manager.applier)
        ways |= disruption.handlers(ceph)
    if ceph is not None and seen.release is not None and seen.identity is not None:
        ways |= osd.handlers(
            cluster,
            seen.identity.fsid,
            seen.release,
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
        await _release(client, action.resource, namespace, action.name, action.uid)

    async def label_mgr(action: mgr.LabelMgr) -> None:
        body = {"metadata": {"labels": {mgr.ROLE_LABEL: action.role}}}
        await client.patch(POD, namespace, action.pod, body, content_type="application/merge-patch+json")

    return {
        CreateIdentity: create_identity,
        deletion.DestroyData: destroy_data,
        deletion.DestroyIdentity: destroy_identity,
        deletion.Stop: stop,
        mgr.LabelMgr: label_mgr,
    }


async def _create(client: Client, resource: Resource, obj: JsonObject) -> None:
    """Creates an object unless it exists: the caches may not have seen yet that an earlier try made it."""
    try:
        await client.create(resource, obj)
    except ApiError as error:
        if not error.is_already_exists:
            raise


async def _release(client: Client, resource: Resource, namespace: str, name: str, uid: str) -> None:
    """Deletes an object that is protected from deletion; one of the same name that came later stays."""
    found = await client.find(resource, namespace, name)
    if found is not None and found["metadata"]["uid"] == uid:
        await remove_finalizer(client, resource, msgspec.convert(found, PartialObject), PROTECTION)
        await client.delete(resource, namespace, name, uid=uid)


def _member_handlers(cluster: CephCluster, seen: Observation, manager: Manager) -> dict[type, Handler]:
    async def apply_all(objects: tuple[JsonObject, ...]) -> None:
        # The list is written as a whole: one that was changed meanwhile, which the cache does not show, would be lost.
        if await _members(manager.client, cluster) != seen.mons.endpoints:
            raise MemberError(f"the members in ConfigMap {ENDPOINTS} have changed meanwhile")
        for obj in objects:
            await manager.applier.apply(obj)

    async def start_mon(action: mon.StartMon) -> None:
        await apply_all(action.objects)

    async def retire_mon(action: mon.RetireMon) -> None:
        await apply_all(action.objects)

    async def drop_claim(action: mon.DropClaim) -> None:
        # Asked of the API server, not of a cache: the claim has a mon's data, and by now the mon may be a member.
        members = await _members(manager.client, cluster)
        if members is None or action.mon_id in members.ids:
            why = "does not exist" if members is None else f"has mon {action.mon_id} as a member"
            raise MemberError(f"{PVC.kind} {action.name} stays: ConfigMap {ENDPOINTS} {why}")
        await _release(manager.client, PVC, cluster.metadata.namespace, action.name, action.uid)

    return {mon.DropClaim: drop_claim, mon.StartMon: start_mon, mon.RetireMon: retire_mon}


async def _members(client: Client, cluster: CephCluster) -> Endpoints | None:
    """The members as the API server has them; None: they are not listed."""
    fresh = await client.find(CONFIG_MAP, cluster.metadata.namespace, ENDPOINTS)
    return None if fresh is None else parse_endpoints(fresh.get("data") or {})


def _ceph_handlers(cluster: CephCluster, manager: Manager, ceph: Cluster) -> dict[type, Handler]:
    async def remove_from_monmap(action: mon.RemoveFromMonmap) -> None:
        # Asked of the API server, not of a cache: an operator before this one may have made it a member a moment ago.
        members = await _members(manager.client, cluster)
        if members is None or action.mon_id in members.ids:
            why = "does not exist" if members is None else "has it as a member"
            raise MemberError(f"mon {action.mon_id} stays in the monmap: ConfigMap {ENDPOINTS} {why}")
        # The mons remove one without asking whether they keep their majority.
        if not MonState.parse(await ceph.mon("quorum_status")).keeps_quorum_without(action.mon_id):
            raise MemberError(f"mon {action.mon_id} stays in the monmap: without it there would be no quorum by now")
        await ceph.mon("mon rm", name=action.mon_id)

    async def create_keyring(action: mgr.CreateKeyring) -> None:
        text = keyring(action.entity, await users.key_of(ceph, action.entity, action.caps))
        meta = metadata(cluster, action.secret, action.labels, annotations=users.given(action.caps))
        await manager.applier.apply(keyring_secret(meta, text))

    async def remove_user(action: mgr.RemoveUser) -> None:
        await ceph.mon("auth rm", entity=action.entity)

    async def enable_module(action: mgr.EnableModule) -> None:
        await ceph.mon("mgr module enable", module=action.module)

    async def disable_module(action: mgr.DisableModule) -> None:
        await ceph.mon("mgr module disable", module=action.module)

    async def set_config(action: config.SetConfig) -> None:
        await config.set_config(ceph, action)

    async def unset_config(action: config.UnsetConfig) -> None:
        await config.unset_config(ceph, action)

    return {
        mon.RemoveFromMonmap: remove_from_monmap,
        mgr.CreateKeyring: create_keyring,
        mgr.RemoveUser: remove_user,
        mgr.EnableModule: enable_module,
        mgr.DisableModule: disable_module,
        config.SetConfig: set_config,
        config.UnsetConfig: unset_config,
        **ciphers.handlers(ceph),
    }
