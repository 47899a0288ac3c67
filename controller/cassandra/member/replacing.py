"""How a member that is lost for good is given up: replaced by an empty one of its name, or taken out of the ring. Pure.

The consent names the host ID that is given up. What is deleted is the claim that was there when the replacement began,
by its uid.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from controller.cassandra.member.ring import Scene, address_of, believers, blind, busy, keepers, serving, unrest
from controller.cassandra.member.roster import Chore, ChoreKind, Roster, Seat, Standing
from controller.cassandra.member.steps import LANE, DeleteVolume, NewAddress, Restart, Wish, after, coming, wait, write
from controller.framework.plan import Step
from controller.framework.text import some

if TYPE_CHECKING:
    from collections.abc import Iterator


def given_up(wish: Wish, roster: Roster) -> str | None:
    """A member that may be given up; one that was replaced since has another host ID."""
    found = (name for name, seat in roster.members.items() if seat.host_id and wish.lost.get(name) == seat.host_id)
    return next(found, None)


def give_up(name: str, wish: Wish, roster: Roster, scene: Scene) -> Iterator[Step]:
    """The steps before a lost member is replaced, or taken out of the ring."""
    seat, seen = roster.seats[name], scene.of(name)
    reason = f"spec.lostMembers gives up host ID {seat.host_id}"
    others = [other for other in roster.members if wish.lost.get(other) == roster.seats[other].host_id]
    held = wish.hold or unrest(roster, scene, but=others) or busy(roster, scene)
    alive = believers(seat.host_id, roster, scene)
    if seen.serves or (seen.host_id == seat.host_id and seen.state is not None and seen.state.gossip_running):
        held = f"{name} to be down: it answers, and is not lost"
    elif alive:
        held = f"{some(alive, 3)} to see it down"
    elif not serving(roster, scene):
        held = "another member to serve: nobody has a copy of its data"
    elif held:
        held = after(held)
    if held:
        yield wait(name, reason, held)
        return
    last = seat.ordinal == len(roster.rack(seat.rack)) - 1
    if last and seat.ordinal >= wish.racks.get(seat.rack, 0):
        leaves = replace(seat, standing=Standing.LEAVING, lost=True)
        yield write(roster.seated(name, leaves), name, f"{reason}, and its rack is to have fewer members")
        return
    address = address_of(seat.host_id, roster, scene)
    if not address:
        yield wait(name, reason, "members to agree on the address that it had")
        return
    # What is empty already need not be given up.
    volume = seen.claim if seen.look is None or seen.host_id else ""
    seat = replace(seat, standing=Standing.REPLACING, replaces=address, volume=volume)
    yield write(roster.seated(name, seat), name, reason)


def replacing(name: str, _: Wish, roster: Roster, scene: Scene) -> Iterator[Step]:
    """The steps until all others see that a member has taken the place of the lost one."""
    seat, seen = roster.seats[name], scene.of(name)
    reason, state = f"it takes the place of host ID {seat.host_id}", seen.state
    if seat.volume and seen.claim == seat.volume:
        wipe = DeleteVolume(member=name, claim=seat.volume, pod=seen.pod, lost=seat.host_id)
        yield Step(subject=name, reason=f"{reason}, on a new volume", action=wipe, lane=LANE)
        return
    if seat.replaces and seen.address == seat.replaces:
        move = NewAddress(member=name, service=seen.service, lost=seat.host_id)
        yield Step(subject=name, reason=f"{reason}, at another address", action=move, lane=LANE)
        return
    if not seen.claim and seen.pod:
        yield Step(
            subject=name, reason="its pod waits for a claim that is gone", action=Restart(name, seen.pod), lane=LANE
        )
        return
    if state is None or not seen.serves or state.host_id == seat.host_id:
        yield wait(name, reason, coming(name, scene))
        return
    unseen = blind(name, state.host_id, roster, scene)
    if unseen:
        yield wait(name, reason, f"{some(unseen, 3)} to see it up with host ID {state.host_id}")
        return
    kept = keepers(seat.host_id, "", roster, scene)
    if kept is None or kept:
        yield wait(name, reason, f"{some(kept or ['the others'], 3)} to forget host ID {seat.host_id}")
        return
    placed = Seat(rack=seat.rack, ordinal=seat.ordinal, standing=Standing.MEMBER, host_id=state.host_id)
    repair = Chore(kind=ChoreKind.REPAIR, member=name, cause=state.host_id)
    yield write(roster.seated(name, placed).with_chores(repair), name, f"it has taken the place of {seat.host_id}")
