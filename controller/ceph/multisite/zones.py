"""Where the gateways of stores in CephObjectZones belong: `controller.ceph.rgw.zones.Zones`, by the caches."""

from __future__ import annotations

from typing import TYPE_CHECKING

from controller.ceph.multisite.ground import not_ready
from controller.ceph.rgw.names import Place
from controller.ceph.rgw.zones import Located

if TYPE_CHECKING:
    from controller.apis.ceph import CephObjectZone, CephObjectZoneGroup
    from informers import Informer


class KnownZones:
    """The CephObjectZones that there are.

    Args:
        zones: The cache of them.
        groups: The cache of CephObjectZoneGroups.
    """

    def __init__(self, zones: Informer[CephObjectZone], groups: Informer[CephObjectZoneGroup]) -> None:
        self._zones, self._groups = zones, groups

    def locate(self, namespace: str, zone: str) -> Located:
        """See `controller.ceph.rgw.zones.Zones`."""
        waits_for = not_ready(self._zones, namespace, zone)
        found = self._zones.get(namespace, zone)
        group = self._groups.get(namespace, found.spec.zone_group) if found is not None else None
        if found is None or waits_for:
            return Located(waits_for=waits_for)
        if group is None:
            return Located(waits_for=f"CephObjectZoneGroup {found.spec.zone_group} in namespace {namespace}")
        return Located(place=Place(group.spec.realm, group.metadata.name, zone))
