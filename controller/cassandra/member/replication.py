"""How many copies keyspaces have: Cassandra's own are the operator's to set, the user's are only looked at. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from controller.cassandra.member.ring import Scene, serving, unrest
from controller.cassandra.member.roster import Chore, ChoreKind, Roster
from controller.cassandra.member.steps import LANE, Replicate, after, write
from controller.framework.plan import Step

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from controller.cassandra.access.answers import Keyspace

COPIES = 3
"""Copies of Cassandra's own keyspaces, where there are as many members."""
NETWORK_TOPOLOGY = "NetworkTopologyStrategy"


def replication(roster: Roster, scene: Scene, *, leaving: int = 0) -> Iterator[Step]:
    """Cassandra's own keyspaces have as many copies as the ring can bear, and as few as it must before one leaves.

    Args:
        roster: Who belongs to the ring.
        scene: What was found.
        leaving: How many members are about to leave.
    """
    present = len(roster.members)
    copies = max(min(COPIES, present - leaving), 1)
    differing = [k for k in scene.keyspaces or () if k.is_system and not _replicated(k, roster.datacenter, copies)]
    if not differing:
        return
    held = unrest(roster, scene)
    if held:
        names = ", ".join(keyspace.name for keyspace in differing)
        reason = f"{names}: {copies} copies are wanted among {present} members"
        yield Step(subject="keyspaces", reason=reason, waits_for=after(held), lane=LANE)
        return
    repairs = [Chore(kind=ChoreKind.REPAIR_SYSTEM, member=name, cause=str(copies)) for name in roster.members]
    planned = {(chore.member, chore.cause) for chore in roster.chores if chore.kind is ChoreKind.REPAIR_SYSTEM}
    if copies > 1 and any((repair.member, repair.cause) not in planned for repair in repairs):
        yield write(roster.with_chores(*repairs), "keyspaces", "new copies of Cassandra's own are empty until a repair")
        return
    for keyspace in differing:
        reason = f"{copies} copies are wanted among {present} members"
        action = Replicate(serving(roster, scene)[0], keyspace.name, roster.datacenter, copies)
        yield Step(subject=f"keyspace {keyspace.name}", reason=reason, action=action, lane=LANE)


def _replicated(keyspace: Keyspace, datacenter: str, copies: int) -> bool:
    return keyspace.strategy == NETWORK_TOPOLOGY and dict(keyspace.factors) == {datacenter: copies}


def short_of_copies(members: int, datacenter: str, keyspaces: Iterable[Keyspace]) -> list[Keyspace]:
    """The user's keyspaces that ask for more copies than there are members."""

    def asked(keyspace: Keyspace) -> int:
        return max(keyspace.factors.get(datacenter, 0), keyspace.factors.get("", 0))

    return [k for k in keyspaces if not k.is_system and asked(k) > members]
