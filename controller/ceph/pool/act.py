"""What can be done to a CephBlockPool's pool: consent is asked anew where data is destroyed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from controller.apis.ceph import CEPH_BLOCK_POOL
from controller.ceph.pool.observe import contents_of
from controller.ceph.pool.spec import pool_name
from controller.ceph.pools import act as pools
from controller.ceph.pools.act import DeletePool
from controller.framework.consent import FORCE_ANNOTATION, NoConsentError, is_forced, read_deleted
from controller.framework.text import some
from controller.runtime import resource_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from controller.apis.ceph import CephBlockPool
    from controller.ceph.access.rados import RadosCluster
    from controller.framework.plan import Handler
    from informers import Client

POOLS = resource_of(CEPH_BLOCK_POOL)
MAX_NAMED = 10
"""Images that are named."""


def handlers(
    pool: CephBlockPool, client: Client, ceph: RadosCluster, users: Callable[[], Awaitable[tuple[str, ...]]]
) -> dict[type, Handler]:
    """How the actions of a pool's plan are carried out.

    Args:
        pool: The CephBlockPool.
        client: Asks the API server for consent.
        ceph: The cluster.
        users: Asks the API server for objects that use the pool.
    """
    delete = with_consent(client, pool, lambda: contents_of(ceph, pool_name(pool)), users, pools.deletion(ceph))
    return {**pools.handlers(ceph), DeletePool: delete}


def with_consent(
    client: Client,
    pool: CephBlockPool,
    contents: Callable[[], Awaitable[tuple[str, ...]]],
    users: Callable[[], Awaitable[tuple[str, ...]]],
    delete: Handler,
) -> Handler:
    """`delete` for a pool that is empty, or is to go with its images, at that moment.

    Args:
        client: Asks the API server whether it, too, has the CephBlockPool as one that is to go.
        pool: The CephBlockPool.
        contents: Asks the cluster what is in the pool.
        users: Asks the API server for objects that use the pool.
        delete: Deletes the pool.
    """

    async def delete_pool(action: DeletePool) -> None:
        meta = (await read_deleted(client, POOLS, pool))["metadata"]
        name = f"CephBlockPool {meta['namespace']}/{meta['name']}"
        if action.forced and not is_forced(meta.get("annotations", {})):
            raise NoConsentError(f'{name}: annotation {FORCE_ANNOTATION} is not "true" any more: the images stay')
        using = await users()
        if using:
            raise NoConsentError(f"{name}: {some(using, MAX_NAMED)} uses it by now: it stays")
        found = () if action.forced else await contents()
        if found:
            raise NoConsentError(f"{name}: the pool has {some(found, MAX_NAMED)} by now: it stays")
        await delete(action)

    return delete_pool
