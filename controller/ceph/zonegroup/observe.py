"""What there is of a zone group: what all of multisite is observed by, and its realm."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from controller.apis.ceph import CEPH_OBJECT_ZONE_GROUP
from controller.ceph.multisite.ground import Ground, not_ready
from controller.ceph.multisite.root import Named

if TYPE_CHECKING:
    from controller.apis.ceph import CephObjectRealm, CephObjectZoneGroup
    from controller.ceph.multisite.ground import Grounds
    from controller.framework.deletion import Dependents
    from informers import Informer


@dataclass(frozen=True, slots=True, kw_only=True)
class ZoneGroupObservation:
    """What `analyze` decides by.

    Attributes:
        ground: What all of multisite goes by.
        waits_for: What has to happen to its realm first; empty: nothing.
        users: The objects that use the zone group, in words; asked only while it is being deleted.
    """

    ground: Ground = field(default_factory=Ground)
    waits_for: str = ""
    users: tuple[str, ...] = ()


class Observer:
    """Observes zone groups.

    Args:
        grounds: Observes what all of multisite goes by.
        realms: The cache of CephObjectRealms.
        dependents: What uses zone groups.
    """

    def __init__(
        self, grounds: Grounds, realms: Informer[CephObjectRealm], dependents: Dependents[CephObjectZoneGroup]
    ) -> None:
        self._grounds, self._realms, self._dependents = grounds, realms, dependents

    async def observe(self, group: CephObjectZoneGroup, now: float) -> ZoneGroupObservation:
        """What there is of a zone group, or why the cluster cannot be asked."""
        meta, realm = group.metadata, group.spec.realm
        return ZoneGroupObservation(
            ground=await self._grounds.of(CEPH_OBJECT_ZONE_GROUP, group, Named.ZONE_GROUP, now),
            waits_for=not_ready(self._realms, meta.namespace, realm),
            users=self._dependents.known(group),
        )
