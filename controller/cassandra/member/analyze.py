"""Who joins, leaves or is replaced next: one member at a time, and only while all others are well. Pure.

A change is written down before it is begun, by a step that writes the roster; what follows from the roster is done at
the next look. So an operator that dies at any instruction is followed by one that knows what was meant, and finds out
from the members how far it came.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from controller.cassandra.member import chores
from controller.cassandra.member.joining import founding, join, joining
from controller.cassandra.member.leaving import leave, leaving, left, stopping
from controller.cassandra.member.replacing import answers, give_up, replacing
from controller.cassandra.member.replication import replication
from controller.cassandra.member.roster import ChoreKind, Roster, Standing

if TYPE_CHECKING:
    from controller.cassandra.member.ring import Scene
    from controller.cassandra.member.steps import Wish
    from controller.framework.plan import Step


def analyze(wish: Wish, roster: Roster, scene: Scene) -> tuple[Step, ...]:
    """The next steps towards the members that are wanted. What comes after them is found out at another look."""
    moving = roster.moving
    if moving is not None:
        return tuple(_MOVES[moving[1].standing](moving[0], wish, roster, scene))
    given_up = give_up(wish, roster, scene)
    # Whoever answers is not lost: that somebody gave it up holds up nothing else.
    if any(not answers(name, roster, scene) for name in wish.given_up(roster)):
        return given_up
    return (*given_up, *_unmoved(wish, roster, scene))


def _unmoved(wish: Wish, roster: Roster, scene: Scene) -> tuple[Step, ...]:
    """The next steps where nobody moves or is lost."""
    change = next_change(wish, roster)
    shrinks = change is not None and not change[0]
    steps = tuple(replication(roster, scene, leaving=int(shrinks)))
    steps = steps or tuple(chores.analyze(roster, scene, ChoreKind.REPAIR, ChoreKind.REPAIR_SYSTEM))
    if steps or change is None:
        return steps or tuple(chores.analyze(roster, scene, ChoreKind.UPGRADE, ChoreKind.CLEANUP))
    _, rack, ordinal = change
    name = wish.name(rack, ordinal)
    return tuple(leave(name, wish, roster, scene) if shrinks else join(name, rack, ordinal, wish, roster, scene))


def next_change(wish: Wish, roster: Roster) -> tuple[bool, str, int] | None:
    """Who joins or leaves next: whether they join, their rack, their number in it. Racks grow before others shrink."""
    sizes = {rack: len(roster.rack(rack)) for rack in (*wish.racks, *(s.rack for s in roster.seats.values()))}
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
