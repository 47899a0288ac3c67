"""How a member that is lost for good is given up: replaced by an empty one of its name, or taken out of the ring. Pure.

The consent names the host ID that is given up. What is deleted is the claim that was there when the replacement began,
by its uid. Of several that are lost, one is given up after the other: nobody waits for the word of those that are lost.
Where nobody counts a lost member any more, since somebody took it out of the ring by hand, Cassandra cannot replace it:
its successor joins as any other member does, and for that all others have to be up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from controller.cassandra.access.answers import Mode
from controller.cassandra.member.ring import Scene, address_of, believers, blind, busy, keepers, serving, unrest
from controller.cassandra.member.roster import Chore, ChoreKind, Roster, Seat, Standing
from controller.cassandra.member.steps import (
    LANE,
    DeleteVolume,
    NewAddress,
    Restart,
    Wish,
    after,
    coming_or_lost,
    wait,
    write,
)
from controller.framework.plan import Step
from controller.framework.text import some

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


def give_up(wish: Wish, roster: Roster, scene: Scene) -> tuple[Step, ...]:
    """The step by which one of the lost members is replaced or taken out, or else what each of them waits for."""
    lost = wish.given_up(roster)
    steps = [_give_up(name, lost, wish, roster, scene) for name in lost]
    return next(((step,) for step in steps if step.action is not None), tuple(steps))


def _give_up(name: str, lost: Sequence[str], wish: Wish, roster: Roster, scene: Scene) -> Step:
    seat, seen = roster.seats[name], scene.of(name)
    reason = f"spec.lostMembers gives up host ID {seat.host_id}"
    held = wish.hold or unrest(roster, scene, but=lost) or busy(roster, scene)
    alive = believers(seat.host_id, roster, scene)
    if answers(name, roster, scene):
        held = f"{name} to be down: it answers, and is not lost"
    elif alive:
        held = f"{some(alive, 3)} to see it down"
    elif not serving(roster, scene):
        held = "another member to serve: nobody has a copy of its data"
    elif held:
        held = after(held)
    if held:
        return wait(name, reason, held)
    last = list(roster.rack(seat.rack))[-1]
    if seat.ordinal >= wish.racks.get(seat.rack, 0):
        if last == name:
            leaves = replace(seat, standing=Standing.LEAVING, lost=True)
            return write(roster.seated(name, leaves), name, f"{reason}, and its rack is to have fewer members")
        if last in lost:
            return wait(name, reason, f"{last} to be out of the ring")
    address = address_of(seat.host_id, roster, scene)
    if not address and keepers(seat.host_id, "", roster, scene) != []:
        return wait(name, reason, "members to agree on the address that it had")
    others = [other for other in lost if other != name]
    if not address and others:
        return wait(name, reason, f"{some(others, 3)} to be replaced: nobody knows it any more, and it joins last")
    # What is empty already need not be given up.
    volume = seen.claim if seen.look is None or seen.host_id else ""
    seat = replace(seat, standing=Standing.REPLACING, replaces=address, volume=volume)
    return write(roster.seated(name, seat), name, reason)


def answers(name: str, roster: Roster, scene: Scene) -> bool:
    """Whether a member is not lost, by its own word."""
    seen, host_id = scene.of(name), roster.seats[name].host_id
    return seen.serves or (seen.host_id == host_id and seen.state is not None and seen.state.gossip_running)


def replacing(name: str, wish: Wish, roster: Roster, scene: Scene) -> Iterator[Step]:
    """The steps until all others see that a member has taken the place of the lost one."""
    seat, seen = roster.seats[name], scene.of(name)
    reason, state = f"it takes the place of host ID {seat.host_id}", seen.state
    # The successor's own volume may be lost, too, before it has taken the place: then the spec names that.
    given_up = wish.lost.get(name, "")
    lost = given_up if given_up and given_up in (seat.volume, seen.claim) else seat.host_id
    if seat.volume and seen.claim == seat.volume:
        wipe = DeleteVolume(member=name, claim=seat.volume, pod=seen.pod, lost=lost)
        yield Step(subject=name, reason=f"{reason}, on a new volume", action=wipe, lane=LANE)
        return
    if seat.replaces and seen.address == seat.replaces:
        move = NewAddress(member=name, service=seen.service, lost=lost)
        yield Step(subject=name, reason=f"{reason}, at another address", action=move, lane=LANE)
        return
    if seat.replaces and _is_forgotten(name, roster, scene):
        joins = replace(seat, replaces="")
        yield write(roster.seated(name, joins), name, f"nobody counts host ID {seat.host_id} any more: it just joins")
        return
    if not seen.claim and seen.pod:
        yield Step(
            subject=name, reason="its pod waits for a claim that is gone", action=Restart(name, seen.pod), lane=LANE
        )
        return
    if state is None and seen.claim and wish.lost.get(name) == seen.claim:
        again = replace(seat, volume=seen.claim)
        yield write(roster.seated(name, again), name, f"spec.lostMembers gives up the claim of uid {seen.claim}, too")
        return
    if state is None or not seen.serves or state.host_id == seat.host_id:
        yield wait(name, reason, coming_or_lost(name, scene))
        return
    unseen = blind(name, state.host_id, roster, scene, but=wish.given_up(roster))
    if unseen:
        yield wait(name, reason, f"{some(unseen, 3)} to see it up with host ID {state.host_id}")
        return
    kept = keepers(seat.host_id, "", roster, scene)
    if kept is None or kept:
        yield wait(name, reason, f"{some(kept or ['the others'], 3)} to forget host ID {seat.host_id}")
        return
    placed = Seat(rack=seat.rack, ordinal=seat.ordinal, standing=Standing.MEMBER, host_id=state.host_id)
    chores = [Chore(kind=ChoreKind.REPAIR, member=name, cause=state.host_id)]
    if not seat.replaces:  # the others had its rows since it was taken out
        chores += [Chore(kind=ChoreKind.CLEANUP, member=old, cause=state.host_id) for old in roster.members]
    yield write(roster.seated(name, placed).with_chores(*chores), name, f"it has taken the place of {seat.host_id}")


def _is_forgotten(name: str, roster: Roster, scene: Scene) -> bool:
    """Whether no member counts the lost one any more, and the successor has not begun to take its place."""
    seat, state = roster.seats[name], scene.of(name).state
    if state is not None and state.mode is not Mode.STARTING:
        return False
    return not unrest(roster, scene, but=(name,)) and keepers(seat.host_id, seat.replaces, roster, scene) == []
