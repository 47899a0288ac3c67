"""What can be done for a zone, besides what its Job does, and how: consent is asked anew where data is at stake."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

from controller.apis.ceph import CEPH_OBJECT_ZONE, CephObjectZone
from controller.ceph.multisite.sync import CAUGHT_UP
from controller.ceph.pools import act as pools
from controller.ceph.pools.act import DeletePool
from controller.ceph.zone.spec import LOSS_ANNOTATION, PROMOTE_ANNOTATION, promotion_of
from controller.framework import jobs
from controller.framework.consent import NoConsentError, is_forced, read_deleted, read_same
from controller.framework.text import some
from controller.runtime import resource_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from controller.apis.ceph.object_multisite_status import SyncStatus
    from controller.ceph.access.rados import Cluster
    from controller.framework.jobs import Attempt
    from controller.framework.plan import Handler
    from informers import Client, JsonObject

ZONES = resource_of(CEPH_OBJECT_ZONE)
MAX_NAMED = 10
"""Stores, buckets and users that are named."""


@dataclass(frozen=True, slots=True)
class Promote:
    """Make a zone the realm's master in place of the one of term `over`, by a Job.

    `lossy`: also where it lacks what that one has. The handler asks for the consent once more, and without it, whether
    the zone still lacks nothing.
    """

    over: str
    lossy: bool
    job: JsonObject = field(repr=False)
    attempt: Attempt


@dataclass(frozen=True, slots=True)
class RemovePools:
    """Delete the pools of a zone that is out of its realm. `forced`: with what is in them."""

    pools: tuple[DeletePool, ...]
    forced: bool = False


def handlers(
    zone: CephObjectZone,
    client: Client,
    ceph: Cluster,
    in_sync: Callable[[], Awaitable[SyncStatus]],
    contents: Callable[[], Awaitable[tuple[str, ...]]],
) -> dict[type, Handler]:
    """How the actions of a zone's plan are carried out.

    Args:
        zone: The CephObjectZone.
        client: Asks the API server for consent, and makes Jobs.
        ceph: The cluster.
        in_sync: Asks the gateways whether the zone has all users and buckets of the master.
        contents: Asks the cluster what is in the zone, in words.
    """
    name = f"CephObjectZone {zone.metadata.namespace}/{zone.metadata.name}"
    delete_pool = pools.deletion(ceph)

    async def promote(action: Promote) -> None:
        fresh = msgspec.convert(await read_same(client, ZONES, zone), CephObjectZone)
        asked = promotion_of(fresh)
        if asked is None or asked.over != action.over:
            raise NoConsentError(
                f"{name}: annotation {PROMOTE_ANNOTATION} is not {action.over} by now: nothing is done"
            )
        if action.lossy and not asked.lossy:
            raise NoConsentError(f"{name}: annotation {LOSS_ANNOTATION} is not {action.over} by now: nothing is done")
        if not action.lossy:
            found = await in_sync()
            if found.state != CAUGHT_UP:
                raise NoConsentError(
                    f"{name}: it lacks changes of {found.source} by now ({found.state}): no other master"
                )
        await jobs.start(client, action.job, action.attempt)

    async def remove_pools(action: RemovePools) -> None:
        fresh = await read_deleted(client, ZONES, zone)
        meta = fresh["metadata"]
        if fresh.get("spec", {}).get("preservePoolsOnDelete", True):
            raise NoConsentError(f"{name}: spec.preservePoolsOnDelete is set by now: the pools stay")
        if action.forced and not is_forced(meta.get("annotations") or {}):
            raise NoConsentError(f"{name}: the consent to delete it with what is in it was withdrawn: the pools stay")
        found = () if action.forced else await contents()
        if found:
            raise NoConsentError(f"{name}: it has {some(found, MAX_NAMED)} by now: the pools stay")
        for pool in action.pools:
            await delete_pool(pool)

    return {**pools.handlers(ceph), Promote: promote, RemovePools: remove_pools}
