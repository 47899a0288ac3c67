"""A period: what the zones of a realm have agreed on. Pure.

Format of the answer: https://docs.ceph.com/en/latest/radosgw/multisite/#get-a-period
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class Zone:
    """A zone as all others know it.

    Attributes:
        id: Its id.
        name: Its name.
        group: The name of its zone group.
        endpoints: URLs by which the others reach it.
        sources: The names of the zones that its objects come from; None: all others of its zone group.
    """

    id: str
    name: str
    group: str = ""
    endpoints: tuple[str, ...] = ()
    sources: frozenset[str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """What the zones of a realm have agreed on.

    Attributes:
        id: It is another one whenever another zone becomes master.
        epoch: The realm's, which grows with that.
        master: The name of the zone that users and buckets are made in; empty: there is none yet.
        zones: The zones.
    """

    id: str
    epoch: int
    master: str = ""
    zones: tuple[Zone, ...] = ()

    @property
    def term(self) -> str:
        """Who is master, and since which epoch: what is consented to in one term means nothing in the next."""
        return term(self.master, self.epoch)

    def zone(self, name: str) -> Zone | None:
        """The zone of this name; None: none is agreed on."""
        return next((zone for zone in self.zones if zone.name == name), None)

    def sources(self, name: str) -> tuple[Zone, ...]:
        """The zones from which the objects of a zone come."""
        own = self.zone(name)
        if own is None:
            return ()
        others = (zone for zone in self.zones if zone.group == own.group and zone.name != name)
        return tuple(zone for zone in others if own.sources is None or zone.name in own.sources)


def term(master: str, epoch: int) -> str:
    """A master's term, as annotations and statuses have it."""
    return f"{master}@{epoch}" if master else ""


def epoch_of(text: str) -> int | None:
    """The epoch of what may be a term; None: it is none."""
    master, _, number = text.rpartition("@")
    return int(number) if master and number.isdecimal() else None


def parse(answer: Mapping[str, Any]) -> Period:
    """A period as gateways tell of it (`realm/period` of the admin API)."""
    zones = tuple(
        Zone(
            id=entry["id"],
            name=entry["name"],
            group=group["name"],
            endpoints=tuple(entry["endpoints"]),
            sources=None if entry.get("sync_from_all", True) else frozenset(entry.get("sync_from", ())),
        )
        for group in answer["period_map"]["zonegroups"]
        for entry in group["zones"]
    )
    master = next((zone.name for zone in zones if zone.id == answer["master_zone"]), "")
    return Period(id=answer["id"], epoch=int(answer["realm_epoch"]), master=master, zones=zones)
