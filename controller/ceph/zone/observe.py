"""What there is of a zone: what all of multisite is observed by, its pools, its stores, and what its gateways tell."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import structlog

from controller.apis.ceph import CEPH_OBJECT_ZONE
from controller.apis.ceph.object_multisite_status import SyncStatus
from controller.ceph.access.health import HEALTH_ERR, obstacles
from controller.ceph.access.rados import CephError
from controller.ceph.multisite.ground import Ground, not_ready
from controller.ceph.multisite.keys import Keys, keys_of
from controller.ceph.multisite.names import job_name
from controller.ceph.multisite.root import Named
from controller.ceph.multisite.sync import UNKNOWN, Replication
from controller.ceph.multisite.work import PROMOTE
from controller.ceph.pools.observe import PoolObservation
from controller.ceph.pools.observe import observe as observe_pool
from controller.ceph.rgw import budget
from controller.ceph.rgw.contents import contents_of
from controller.ceph.rgw.pools import metadata_location, shared_pool_names
from controller.ceph.zone.spec import pools_of
from controller.framework.jobs import Run

if TYPE_CHECKING:
    from collections.abc import Mapping

    from controller.apis.ceph import CephObjectStore, CephObjectZone, CephObjectZoneGroup
    from controller.ceph.access.rados import Connections, RadosCluster
    from controller.ceph.multisite.gateways import Gateways
    from controller.ceph.multisite.ground import Grounds
    from controller.ceph.multisite.period import Period
    from controller.ceph.rgw.budget import Budget
    from controller.framework.deletion import Dependents
    from informers import Informer

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ZoneObservation:
    """What `analyze` decides by.

    Attributes:
        ground: What all of multisite goes by.
        waits_for: What has to happen to its zone group first; empty: nothing.
        realm: The name of its realm; empty: not known.
        keys: The Secret with the keys of the realm's system user.
        stores: The stores that are in it.
        pools: What there is of each pool, by its name in Ceph.
        missing: Pools that the spec names as there already, and that are not.
        budget: What OSDs may have of placement groups.
        contents: What is in it, in words; asked only while it is being deleted.
        period: What its gateways go by; None: none of them answers.
        replication: How far it has what others have; None: not known.
        promoting: The Job that makes it master, as it is seen.
        users: The objects that use it, in words; asked only while it is being deleted.
    """

    ground: Ground = field(default_factory=Ground)
    waits_for: str = ""
    realm: str = ""
    keys: Keys = field(default_factory=Keys)
    stores: tuple[CephObjectStore, ...] = ()
    pools: Mapping[str, PoolObservation] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    budget: Budget | None = None
    contents: tuple[str, ...] = ()
    period: Period | None = None
    replication: Replication | None = None
    promoting: Run = field(default_factory=Run)
    users: tuple[str, ...] = ()


class Observer:
    """Observes zones.

    Args:
        grounds: Observes what all of multisite goes by.
        groups: The cache of CephObjectZoneGroups.
        stores: The cache of CephObjectStores.
        connections: Ways to the clusters.
        gateways: Asks the zones' gateways.
        dependents: What uses zones.
    """

    def __init__(
        self,
        grounds: Grounds,
        groups: Informer[CephObjectZoneGroup],
        stores: Informer[CephObjectStore],
        connections: Connections,
        gateways: Gateways,
        dependents: Dependents[CephObjectZone],
    ) -> None:
        self._grounds, self._groups, self._stores = grounds, groups, stores
        self._connections, self._gateways, self._dependents = connections, gateways, dependents

    async def observe(self, zone: CephObjectZone, now: float) -> ZoneObservation:
        """What there is of a zone, or why the cluster cannot be asked."""
        meta = zone.metadata
        group = self._groups.get(meta.namespace, zone.spec.zone_group)
        realm = group.spec.realm if group is not None else ""
        seen = ZoneObservation(
            ground=await self._grounds.of(CEPH_OBJECT_ZONE, zone, Named.ZONE, now),
            waits_for=not_ready(self._groups, meta.namespace, zone.spec.zone_group),
            realm=realm,
            keys=keys_of(self._grounds.caches.secrets, meta.namespace, realm) if realm else Keys(),
            stores=self._in(zone),
            users=self._dependents.known(zone),
        )
        if seen.ground.context is not None:
            promoting = self._grounds.run_of(seen.ground, job_name(CEPH_OBJECT_ZONE, meta.name, PROMOTE))
            seen = replace(seen, promoting=promoting)
        ceph = self._connections.get(meta.namespace)
        if seen.ground.context is None or ceph is None:
            return seen
        try:
            seen = await self._ask(ceph, zone, seen)
        except CephError as error:
            log.info("Cluster does not answer", zone=meta.name, namespace=meta.namespace, error=str(error))
            return replace(seen, ground=replace(seen.ground, context=None, waits_for="the cluster to answer"))
        if not realm or not seen.stores or meta.deletion_timestamp is not None:
            return seen
        period = await self._gateways.period(zone, realm, seen.stores)
        replication = await self._gateways.replication(zone, period, seen.stores, now) if period is not None else None
        return replace(seen, period=period, replication=replication)

    async def in_sync(self, zone: CephObjectZone, realm: str) -> SyncStatus:
        """Whether a zone has all users and buckets of the master, asked now."""
        stores = self._in(zone)
        period = await self._gateways.period(zone, realm, stores)
        if period is None:
            return SyncStatus(state=UNKNOWN, message="no gateway of the zone answers")
        return await self._gateways.metadata(zone, period, stores)

    def _in(self, zone: CephObjectZone) -> tuple[CephObjectStore, ...]:
        meta = zone.metadata
        found = (store for store in self._stores.list(meta.namespace) if store.spec.zone.name == meta.name)
        return tuple(sorted(found, key=lambda store: store.metadata.name))

    async def _ask(self, ceph: RadosCluster, zone: CephObjectZone, seen: ZoneObservation) -> ZoneObservation:
        """What the cluster says of the zone's pools.

        Raises:
            CephError: It does not answer.
        """
        (cluster,) = self._grounds.clusters.list(zone.metadata.namespace)[:1]
        codes = ", ".join(obstacles(cluster.status.ceph))
        hold = f"CephCluster {cluster.metadata.name} to leave {HEALTH_ERR} ({codes})" if codes else ""
        found = {pool.name: await observe_pool(ceph, pool.name, pool.spec) for pool in pools_of(zone)}
        missing: tuple[str, ...] = ()
        shared = shared_pool_names(zone.spec.shared_pools)
        if shared:
            present = {detail["pool_name"] for detail in await ceph.mon("osd pool ls", detail="detail")}
            missing = tuple(name for name in shared if name not in present)
        deleting = zone.metadata.deletion_timestamp is not None
        return replace(
            seen,
            pools={name: replace(pool, hold=hold) for name, pool in found.items()},
            missing=missing,
            budget=await budget.read(ceph) if any(pool.state is None for pool in found.values()) else None,
            contents=await contents(ceph, zone, seen.realm, found) if deleting else (),
        )


async def contents(
    ceph: RadosCluster, zone: CephObjectZone, realm: str, pools: Mapping[str, PoolObservation]
) -> tuple[str, ...]:
    """The buckets and users of a zone, in words, without those that its realm has for itself.

    Raises:
        CephError: The cluster does not answer.
    """
    pool, prefix = metadata_location(zone.metadata.name, zone.spec.shared_pools)
    found = pools.get(pool)
    if found is not None and found.state is None:
        return ()
    own = f"user {realm}-system-user"
    return tuple(each for each in await contents_of(ceph, pool, prefix) if each != own)
