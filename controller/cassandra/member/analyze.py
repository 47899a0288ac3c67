"""Who joins, leaves or is replaced next: one member at a time, and only while all others are well. Pure.

A change is written down before it is begun, by a step that writes the record; what follows from the record is done at
the next look. So an operator that dies at any instruction is followed by one that knows what was meant, and finds out
from the members how far it came.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from controller.cassandra.member import chores
from controller.cassandra.member.joining import founding, join, joining, resumption
from controller.cassandra.member.leaving import decommission, leave, leaving, left, removal, stopping
from controller.cassandra.member.record import ChoreKind, Record, Standing
from controller.cassandra.member.replacing import give_up, given_up, replacing
from controller.cassandra.member.replication import replication

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from controller.cassandra.access.answers import Keyspace
    from controller.cassandra.member.ring import Scene
    from controller.cassandra.member.steps import Wish
    from controller.framework.plan import Step


def analyze(wish: Wish, record: Record, scene: Scene) -> tuple[Step, ...]:
    """The next steps towards the members that are wanted. What comes after them is found out at another look."""
    moving, lost = record.moving, given_up(wish, record)
    if moving is not None:
        return tuple(_MOVES[moving[1].standing](moving[0], wish, record, scene))
    if lost is not None:
        return tuple(give_up(lost, wish, record, scene))
    change = next_change(wish, record)
    shrinks = change is not None and not change[0]
    steps = tuple(replication(record, scene, leaving=int(shrinks)))
    steps = steps or tuple(chores.analyze(record, scene, ChoreKind.REPAIR, ChoreKind.REPAIR_SYSTEM))
    if steps or change is None:
        return steps or tuple(chores.analyze(record, scene, ChoreKind.CLEANUP))
    _, rack, ordinal = change
    name = wish.name(rack, ordinal)
    return tuple(leave(name, wish, record, scene) if shrinks else join(name, rack, ordinal, wish, record, scene))


def next_change(wish: Wish, record: Record) -> tuple[bool, str, int] | None:
    """Who joins or leaves next: whether they join, their rack, their number in it. Racks grow before others shrink."""
    sizes = {rack: len(record.rack(rack)) for rack in (*wish.racks, *(s.rack for s in record.seats.values()))}
    short = [rack for rack, count in wish.racks.items() if sizes[rack] < count]
    if short:
        rack = min(short, key=lambda name: sizes[name])
        return True, rack, sizes[rack]
    excess = [rack for rack in sizes if sizes[rack] > wish.racks.get(rack, 0)]
    if excess:
        rack = max(excess, key=lambda name: sizes[name])
        return False, rack, sizes[rack] - 1
    return None


_MOVES = {
    Standing.FOUNDING: founding,
    Standing.JOINING: joining,
    Standing.REPLACING: replacing,
    Standing.LEAVING: leaving,
    Standing.LEFT: left,
    Standing.STOPPING: stopping,
}


def asked_jobs(record: Record, pods: Mapping[str, str], keyspaces: Iterable[Keyspace]) -> set[tuple[str, str]]:
    """The jobs that members have to be asked for, by member and ID.

    Args:
        record: Who belongs to the ring.
        pods: The uids of members' pods.
        keyspaces: Those that have copies.
    """
    found, moving = chores.asked_jobs(record, keyspaces), record.moving
    if moving is not None:
        name, seat = moving
        if seat.standing is Standing.LEAVING and seat.lost:
            found |= {(member, removal(seat)) for member in record.members}
        elif seat.standing is Standing.LEAVING:
            found.add((name, decommission(seat)))
        elif seat.standing is Standing.JOINING and pods.get(name):
            found.add((name, resumption(pods[name])))
    return found
