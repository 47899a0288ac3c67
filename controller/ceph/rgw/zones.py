"""The seam between stores and CephObjectZones: a store in a zone has the names of the zone's realm and zone group."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from controller.ceph.rgw.names import Place


@dataclass(frozen=True, slots=True, kw_only=True)
class Located:
    """Where the gateways of a store in a zone belong.

    Attributes:
        place: The zone with its zone group and realm; None where it is not known, or not made yet.
        waits_for: What has to happen before gateways can serve it; empty: nothing.
    """

    place: Place | None = None
    waits_for: str = ""


class Zones(Protocol):
    """The CephObjectZones of the cluster."""

    def locate(self, namespace: str, zone: str) -> Located:
        """Where the gateways of a store in this CephObjectZone belong. Asks nobody: it is known by the caches."""
        ...


class NoZones:
    """Where nobody serves CephObjectZones. Implements `Zones`."""

    def locate(self, namespace: str, zone: str) -> Located:
        """See `Zones.locate`."""
        return Located(waits_for=f"CephObjectZone {zone} in namespace {namespace} to be served")
