"""What a CephObjectZone's spec asks for, in Ceph's terms; and what of it is not served, or cannot be. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from controller.apis.ceph import CephObjectZoneSpec
from controller.apis.ceph.served import OBJECT_ZONE
from controller.ceph.multisite.period import epoch_of
from controller.ceph.rgw import pools
from controller.ceph.rgw.names import Place, endpoint
from controller.framework.honoured import unhonoured

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from controller.apis.ceph import CephObjectStore, CephObjectZone
    from controller.ceph.rgw.pools import StorePool

PROMOTE_ANNOTATION = "rook.io/promote-over"
"""On a zone that is to be the realm's master: the term of the one that it replaces (`status.master.term`). In any other
term it has no effect, so that it may stay."""
LOSS_ANNOTATION = "rook.io/accept-metadata-loss"
"""With the same term: the zone is made master also where it does not have all that the present one has, or nobody can
tell. What it does not have is lost."""


@dataclass(frozen=True, slots=True)
class Promotion:
    """That a zone is to replace a master.

    Attributes:
        over: The term of the master that it replaces.
        lossy: Whether it is to do so without all that that one has.
    """

    over: str
    lossy: bool


def place_of(zone: CephObjectZone, realm: str) -> Place:
    """What Ceph calls the zone, its zone group and its realm."""
    return Place(realm, zone.spec.zone_group, zone.metadata.name)


def pools_of(zone: CephObjectZone) -> tuple[StorePool, ...]:
    """The pools that the zone has."""
    spec = zone.spec
    return pools.pools_of(zone.metadata.name, spec.metadata_pool, spec.data_pool, spec.shared_pools)


def endpoints_of(zone: CephObjectZone, stores: Sequence[CephObjectStore]) -> tuple[str, ...]:
    """The URLs by which other zones reach the zone.

    Args:
        zone: The zone.
        stores: The stores that are in it. Those that take no part in the replication are no way to it.
    """
    if zone.spec.custom_endpoints:
        return zone.spec.custom_endpoints
    taking_part = [store for store in stores if not store.spec.gateway.disable_multisite_sync_traffic]
    return tuple(sorted({endpoint(store) for store in taking_part or stores}))


def wanted(zone: CephObjectZone, endpoints: Sequence[str], keys: str) -> dict[str, Any]:
    """What is wanted of a zone, for the program that brings it about.

    Args:
        zone: The zone.
        endpoints: Where it is reached.
        keys: Which version of the Secret with the realm's keys counts.
    """
    shared = pools.wanted_of(zone.metadata.name, zone.spec.shared_pools)
    return {**shared, "endpoints": list(endpoints), "keys": keys}


def promotion_of(zone: CephObjectZone) -> Promotion | None:
    """Whether the zone is asked to be master."""
    annotations = zone.metadata.annotations
    over = annotations.get(PROMOTE_ANNOTATION, "")
    return Promotion(over, annotations.get(LOSS_ANNOTATION) == over) if over else None


def problems(zone: CephObjectZone) -> tuple[str, ...]:
    """Why the spec cannot be carried out, whatever the cluster has."""
    return tuple(_problems(zone))


def _problems(zone: CephObjectZone) -> Iterator[str]:
    spec, over = zone.spec, zone.metadata.annotations.get(PROMOTE_ANNOTATION, "")
    if not spec.zone_group:
        yield "zoneGroup is empty: expected the name of a CephObjectZoneGroup"
    yield from pools.problems(spec.metadata_pool, spec.data_pool, spec.shared_pools)
    for index, url in enumerate(spec.custom_endpoints):
        if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).netloc or "," in url:
            yield f"customEndpoints[{index}] is {url!r}: expected a URL, such as http://rgw-a.example.com:80"
    if over and epoch_of(over) is None:
        yield f"annotation {PROMOTE_ANNOTATION} is {over!r}: expected status.master.term of the zone, such as zone-a@2"


def unserved(spec: Mapping[str, Any]) -> tuple[str, ...]:
    """The paths of the spec, as the user wrote it, that are set and not served."""
    return unhonoured(spec, OBJECT_ZONE, CephObjectZoneSpec)


def unserved_placement(zone: CephObjectZone) -> tuple[str, ...]:
    """The fields that are set, are not served, and say where data goes."""
    spec = zone.spec
    return pools.unserved_placement(spec.metadata_pool, spec.data_pool, spec.shared_pools)
