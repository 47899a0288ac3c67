"""What can be done to a store, and how: consent is asked anew where data is destroyed, or can be listed no more."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from controller.apis.ceph import CEPH_OBJECT_STORE
from controller.ceph.access import config
from controller.ceph.objectstore.objects import admin_keys
from controller.ceph.objectstore.observe import OWNED_PREFIX
from controller.ceph.pools import act as pools
from controller.ceph.rgw.contents import contents_of, purge
from controller.ceph.rgw.pools import metadata_location
from controller.framework import jobs
from controller.framework.consent import NoConsentError, is_forced, read_deleted
from controller.framework.plan import UnderWayError
from controller.framework.text import some
from controller.runtime import resource_of
from controller.runtime.kube import DEPLOYMENT, SECRET
from informers import ApiError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from controller.apis.ceph import CephObjectStore
    from controller.ceph.access.rados import Cluster, RadosCluster
    from controller.ceph.objectstore.observe import StoreObservation
    from controller.ceph.pools.act import DeletePool
    from controller.framework.plan import Handler
    from informers import Client, JsonObject

STORES = resource_of(CEPH_OBJECT_STORE)
MAX_NAMED = 10
"""Buckets, users and objects that are named."""
ACCESS_KEY_BYTES, SECRET_KEY_BYTES = 15, 30


@dataclass(frozen=True, slots=True)
class CreateAdminKeys:
    """Make the Secret with the keys of the operator's own user, which are new."""

    secret: str


@dataclass(frozen=True, slots=True)
class StopGateway:
    """Delete the Deployment of a gateway.

    Attributes:
        gateway: Its id.
        deployment: The Deployment.
        uid: Which one of that name.
    """

    gateway: str
    deployment: str
    uid: str


@dataclass(frozen=True, slots=True)
class RemoveUser:
    """Delete the cephx user of a gateway that is gone."""

    entity: str


@dataclass(frozen=True, slots=True)
class CloseStore:
    """Stop the gateways of a store that is deleted: nobody reads or writes it any more.

    Attributes:
        gateways: They.
        forced: Something is in it, or the deletion is an old one, and it goes by consent.
    """

    gateways: tuple[StopGateway, ...]
    forced: bool = False


@dataclass(frozen=True, slots=True)
class RemovePlace:
    """Make the Job that removes zone, zone group and realm of a store. The handler asks for consent once more."""

    job: JsonObject = field(repr=False)
    attempt: jobs.Attempt
    forced: bool = False


@dataclass(frozen=True, slots=True)
class RemovePool:
    """Delete a pool of a store with all that is in it. The handler asks for consent once more."""

    pool: DeletePool
    forced: bool = False


@dataclass(frozen=True, slots=True)
class PurgePool:
    """Delete what a store has in a pool that it shares: objects in namespaces that begin with `prefix`."""

    pool: str
    prefix: str
    forced: bool = False


def handlers(
    store: CephObjectStore,
    client: Client,
    ceph: RadosCluster,
    users: Callable[[], Awaitable[tuple[str, ...]]],
    seen: StoreObservation,
) -> dict[type, Handler]:
    """How the actions of a store's plan are carried out.

    Args:
        store: The CephObjectStore.
        client: Asks the API server for consent, makes and deletes objects.
        ceph: The cluster.
        users: Asks the API server for objects that use the store.
        seen: What there is.
    """

    async def contents() -> tuple[str, ...]:
        pool, namespace = metadata_location(store.metadata.name, store.spec.shared_pools)
        names = {detail["pool_name"] for detail in await ceph.mon("osd pool ls", detail="detail")}
        return await contents_of(ceph, pool, namespace) if pool in names else ()

    return {
        **pools.handlers(ceph),
        **config.handlers(ceph, OWNED_PREFIX),
        **jobs.handlers(client),
        **_making(client, seen),
        **_stopping(store, client, ceph),
        **removing(store, client, ceph, Asked(contents, users, lambda pool, prefix: purge(ceph, pool, prefix))),
    }


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked, and done, at the moment of an act that destroys data.

    Attributes:
        contents: Asks the cluster what is in the store.
        users: Asks the API server for objects that use it.
        purge: Deletes objects of a pool in namespaces that begin so; returns whether none is left.
    """

    contents: Callable[[], Awaitable[tuple[str, ...]]]
    users: Callable[[], Awaitable[tuple[str, ...]]]
    purge: Callable[[str, str], Awaitable[bool]]


def removing(store: CephObjectStore, client: Client, ceph: Cluster, asked: Asked) -> dict[type, Handler]:
    """How a store goes that is empty, or is to go with its buckets, at that moment.

    Args:
        store: The CephObjectStore.
        client: Asks the API server whether it, too, has it as one that is to go.
        ceph: The cluster.
        asked: What is asked anew.
    """
    name = f"CephObjectStore {store.metadata.namespace}/{store.metadata.name}"

    async def consent(forced: bool, *, pools_go: bool) -> None:
        fresh = await read_deleted(client, STORES, store)
        meta, spec = fresh["metadata"], fresh.get("spec", {})
        if pools_go and spec.get("preservePoolsOnDelete"):
            raise NoConsentError(f"{name}: spec.preservePoolsOnDelete is set by now: the pools stay")
        using = await asked.users()
        if using:
            raise NoConsentError(f"{name}: {some(using, MAX_NAMED)} uses it by now: it stays")
        if forced and not is_forced(meta.get("annotations") or {}):
            raise NoConsentError(f"{name}: the consent to delete it with what is in it was withdrawn: it stays")
        found = () if forced or spec.get("preservePoolsOnDelete") else await asked.contents()
        if found:
            raise NoConsentError(f"{name}: it has {some(found, MAX_NAMED)} by now: it stays")

    async def close_store(action: CloseStore) -> None:
        await consent(action.forced, pools_go=False)
        for gateway in action.gateways:
            await client.delete(DEPLOYMENT, store.metadata.namespace, gateway.deployment, uid=gateway.uid)

    async def remove_place(action: RemovePlace) -> None:
        await consent(action.forced, pools_go=False)
        await jobs.start(client, action.job, action.attempt)

    async def remove_pool(action: RemovePool) -> None:
        await consent(action.forced, pools_go=True)
        await pools.deletion(ceph)(action.pool)

    async def purge_pool(action: PurgePool) -> None:
        await consent(action.forced, pools_go=True)
        if not await asked.purge(action.pool, action.prefix):
            raise UnderWayError(f"the rest of the store's objects in pool {action.pool} to be deleted")

    return {CloseStore: close_store, RemovePlace: remove_place, RemovePool: remove_pool, PurgePool: purge_pool}


def _making(client: Client, seen: StoreObservation) -> dict[type, Handler]:
    async def create_admin_keys(_: CreateAdminKeys) -> None:
        if seen.context is None:
            raise ValueError("keys are made for a store whose cluster is known")
        access = secrets.token_hex(ACCESS_KEY_BYTES).upper()
        obj = admin_keys(seen.context, access, secrets.token_urlsafe(SECRET_KEY_BYTES))
        try:
            await client.create(SECRET, obj)
        except ApiError as error:
            # The caches may not have seen yet that an earlier look made it.
            if not error.is_already_exists:
                raise

    return {CreateAdminKeys: create_admin_keys}


def _stopping(store: CephObjectStore, client: Client, ceph: Cluster) -> dict[type, Handler]:
    async def stop_gateway(action: StopGateway) -> None:
        await client.delete(DEPLOYMENT, store.metadata.namespace, action.deployment, uid=action.uid)

    async def remove_user(action: RemoveUser) -> None:
        await ceph.mon("auth rm", entity=action.entity)

    return {StopGateway: stop_gateway, RemoveUser: remove_user}
