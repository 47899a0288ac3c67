"""What the gateways of zones tell: who is master, and how far each zone has what others have."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from controller.apis.ceph.object_multisite_status import SyncStatus
from controller.ceph.multisite import sync
from controller.ceph.multisite.period import parse
from controller.ceph.multisite.sync import MASTER, UNKNOWN, Replication
from controller.ceph.rgw.admin import AdminError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from controller.apis.ceph import CephObjectStore, CephObjectZone
    from controller.ceph.multisite.period import Period, Zone
    from controller.ceph.rgw.admin import Admin
    from controller.ceph.rgw.stores import Stores, Way

log = structlog.get_logger(__name__)

INTERVAL = 60.0
"""Seconds for which what was found out of the replication holds: it takes a question for each part of each log."""


class Gateways:
    """Asks the gateways of zones.

    Args:
        stores: Ways to the stores of this Kubernetes cluster.
    """

    def __init__(self, stores: Stores) -> None:
        self._stores = stores
        self._known: dict[tuple[str, str], tuple[str, float, Replication]] = {}

    def forget(self, namespace: str, name: str) -> None:
        """Called for a zone that is gone."""
        self._known.pop((namespace, name), None)

    async def period(self, zone: CephObjectZone, realm: str, stores: Sequence[CephObjectStore]) -> Period | None:
        """What the zone's gateways go by; None: none of them answers.

        Args:
            zone: The zone.
            realm: Its realm.
            stores: The stores that are in it.
        """
        for way in self._ways(stores):
            if way.admin is None:
                continue
            try:
                return parse(await way.admin.get("realm/period", realm_name=realm))
            except AdminError as error:
                log.info("Gateways do not answer", zone=zone.metadata.name, endpoint=way.endpoint, error=str(error))
        return None

    async def metadata(self, zone: CephObjectZone, period: Period, stores: Sequence[CephObjectStore]) -> SyncStatus:
        """How far a zone has the users and buckets of the master, asked now."""
        way = next((way for way in self._ways(stores) if way.admin is not None), None)
        master = period.zone(period.master)
        if master is not None and master.name == zone.metadata.name:
            return SyncStatus(source=master.name, state=MASTER)
        other = self._at(way, master)
        if way is None or way.admin is None or master is None or other is None:
            return SyncStatus(source=period.master, state=UNKNOWN, message="nobody knows where its gateways are")
        return await sync.metadata(way.admin, other, master.name, period)

    async def replication(
        self, zone: CephObjectZone, period: Period, stores: Sequence[CephObjectStore], now: float
    ) -> Replication:
        """How far a zone has what others have: as it was found out a moment ago, or is now."""
        meta = zone.metadata
        key = (meta.namespace, meta.name)
        of, until, found = self._known.get(key, ("", 0.0, Replication()))
        if of != period.id or now >= until:
            found = await self._ask(zone, period, stores)
            self._known[key] = (period.id, now + INTERVAL, found)
        return found

    async def _ask(self, zone: CephObjectZone, period: Period, stores: Sequence[CephObjectStore]) -> Replication:
        way = next((way for way in self._ways(stores) if way.admin is not None), None)
        data: list[SyncStatus] = []
        newer = newer_at = ""
        for source in period.sources(zone.metadata.name):
            other = self._at(way, source)
            if way is None or way.admin is None or other is None:
                message = "nobody knows where its gateways are"
                data.append(SyncStatus(source=source.name, state=UNKNOWN, message=message))
                continue
            data.append(await sync.data(way.admin, other, source))
            if data[-1].state != UNKNOWN:
                theirs = await _period_of(other)
                if theirs is not None and theirs.epoch > period.epoch:
                    newer, newer_at = theirs.term, source.endpoints[0]
        metadata = await self.metadata(zone, period, stores)
        return Replication(metadata=metadata, data=tuple(data), newer=newer, newer_at=newer_at)

    def _ways(self, stores: Sequence[CephObjectStore]) -> list[Way]:
        return [self._stores.reach(store.metadata.namespace, store.metadata.name) for store in stores]

    def _at(self, way: Way | None, zone: Zone | None) -> Admin | None:
        """The gateways of another zone, which know the realm's keys, too."""
        if way is None or zone is None or not zone.endpoints:
            return None
        return self._stores.beside(way, zone.endpoints[0])


async def _period_of(other: Admin) -> Period | None:
    try:
        return parse(await other.get("realm/period"))
    except AdminError:
        return None
