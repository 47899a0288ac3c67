"""Rings of three members that are well, for tables of what a change waits for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec

from controller.cassandra.access.answers import Bootstrap, Keyspace, Look, Mode, Phase, Report, Ring, State
from controller.cassandra.member.analyze import analyze
from controller.cassandra.member.ring import Scene, Seen
from controller.cassandra.member.roster import Roster, Seat
from controller.cassandra.member.steps import Wish
from controller.framework.plan import Step

NOW = 1_000_000.0
PREFIX = "store-dc1"
NAMES = tuple(f"{PREFIX}-a-{ordinal}" for ordinal in range(3))
FIRST, SECOND, LAST = NAMES
NEXT = f"{PREFIX}-a-3"
HOSTS = {f"ip-{name}": f"host-{name}" for name in NAMES}
"""Who is in the ring, by address."""
ALL = frozenset(HOSTS)
RING = Ring(HOSTS, live=ALL, schema={"one": ALL})


def keyspaces(*, system: int = 3, shop: int = 2) -> tuple[Keyspace, ...]:
    """Cassandra's own keyspaces and the user's, with so many copies."""
    own = (
        Keyspace(name, "NetworkTopologyStrategy", {"dc1": system})
        for name in ("system_auth", "system_distributed", "system_traces")
    )
    return (*own, Keyspace("shop", "NetworkTopologyStrategy", {"dc1": shop}))


def wish(count: int = 3, **changes: Any) -> Wish:
    """So many members are wanted, in the one rack."""
    return Wish(prefix=PREFIX, racks={"a": count}, **changes)


def roster(**seats: Seat | None) -> Roster:
    """Three members; `a2=` changes the seat of the member of that number, and None takes it away."""
    found = {name: Seat(rack="a", ordinal=ordinal, host_id=f"host-{name}") for ordinal, name in enumerate(NAMES)}
    changed = {f"{PREFIX}-a-{short.removeprefix('a')}": seat for short, seat in seats.items()}
    kept = {name: seat for name, seat in {**found, **changed}.items() if seat is not None}
    return Roster(cluster="store", datacenter="dc1", num_tokens=16, founded=True, version="5.0.3", seats=kept)


def seat(ordinal: int, **changes: Any) -> Seat:
    """A member's seat."""
    own = Seat(rack="a", ordinal=ordinal, host_id=f"host-{PREFIX}-a-{ordinal}")
    return msgspec.structs.replace(own, **changes)


def state(name: str, **changes: Any) -> State:
    """What a member that is well says."""
    told = State(
        mode=Mode.NORMAL,
        bootstrap=Bootstrap.COMPLETED,
        host_id=f"host-{name}",
        release="5.0.3",
        cluster_name="store",
        datacenter="dc1",
        rack="a",
        tokens=16,
        load=1,
        gossip_running=True,
        native_running=True,
        seeds=(),
        ring=RING,
    )
    return replace(told, **changes)


def seen(name: str, told: State | None = None, *, report: Report | None = None, **changes: Any) -> Seen:
    """A member as it is found."""
    said = report if report is not None else Report(Phase.RUNNING, "", f"host-{name}", 100, 90)
    found = Seen(address=f"ip-{name}", look=Look(said, told), pod=f"pod-{name}", claim=f"claim-{name}")
    return replace(found, service=f"service-{name}", **changes)


def unanswered(name: str) -> Seen:
    """A member that does not answer."""
    return replace(seen(name), look=None)


def scene(*found: tuple[str, Seen], ring: Ring = RING, **changes: Any) -> Scene:
    """Three members that see this ring, but for those that are `found` otherwise."""
    well = {name: seen(name, state(name, ring=ring)) for name in NAMES}
    told: dict[str, Any] = {"keyspaces": keyspaces(), **changes}
    return Scene(now=NOW, seen={**well, NEXT: Seen(address=f"ip-{NEXT}"), **dict(found)}, **told)


def step(wanted: Wish, known: Roster, found: Scene) -> Step:
    """The one step that is next."""
    (only,) = analyze(wanted, known, found)
    return only
