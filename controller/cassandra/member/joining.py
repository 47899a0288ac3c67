"""How a ring is made, once, and how members join it. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from controller.cassandra.access.answers import Mode, Phase, ResumeBootstrap
from controller.cassandra.member.ring import Scene, blind, busy, joined_unseen, keepers, unrest
from controller.cassandra.member.roster import Roster, Seat, Standing
from controller.cassandra.member.steps import (
    LANE,
    DeleteVolume,
    Wish,
    after,
    coming,
    coming_or_lost,
    told,
    wait,
    write,
)
from controller.framework.plan import Step
from controller.framework.text import some

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

FULL = 0.85
"""Part of a volume in use from which on its member takes part in no join."""


def found(wish: Wish, roster: Roster, scene: Scene) -> Iterator[Step]:
    """The steps by which a ring is made that has no members yet, and was never made."""
    rack = next((name for name, count in wish.racks.items() if count), "")
    if not rack:
        yield Step(subject="ring", reason="nobody is wanted", waits_for="a rack with members in the spec")
        return
    name = wish.name(rack, 0)
    if scene.strangers:
        names = some(sorted(scene.strangers), 3)
        waits_for = f"the roster of the ring to be restored from a backup, or the claims of {names} to be deleted"
        reason = "volumes of an earlier ring are there, and no roster of it: it is not made anew over its data"
        yield Step(subject="ring", reason=reason, waits_for=waits_for)
        return
    if not scene.of(name).address:
        yield wait(name, "it is to make the ring", f"Service {name} to have an address")
        return
    seat = Seat(rack=rack, ordinal=0, standing=Standing.FOUNDING)
    yield write(roster.seated(name, seat), name, "it makes the ring, which has no members yet")


def founding(name: str, _: Wish, roster: Roster, scene: Scene) -> Iterator[Step]:
    """The steps after the first member was chosen."""
    reason, seen = "it makes the ring", scene.of(name)
    state = seen.state
    if state is None or not seen.serves:
        yield wait(name, reason, coming(name, scene))
        return
    others = sorted(host_id for host_id in state.ring.host_ids.values() if host_id != state.host_id)
    if others or state.cluster_name != roster.cluster:
        found = f"cluster {state.cluster_name} with {some(others, 3) or 'nobody else'}"
        yield wait(name, reason, f"it to be alone in cluster {roster.cluster}: it is in {found}")
        return
    seat = replace(roster.seats[name], standing=Standing.MEMBER, host_id=state.host_id)
    made = replace(roster.seated(name, seat), founded=True)
    yield write(made, name, "it has made the ring")


def resumption(pod: str) -> str:
    """The ID of the job by which a member whose join failed goes on with it, once for each pod."""
    return f"join-{pod}"


def join(name: str, rack: str, ordinal: int, wish: Wish, roster: Roster, scene: Scene) -> Iterator[Step]:
    """The steps before a member begins to join."""
    reason = f"rack {rack} has {ordinal} of {wish.racks[rack]} members"
    held = wish.hold or unrest(roster, scene) or busy(roster, scene) or _full(roster, scene)
    if held:
        yield wait(name, reason, after(held))
        return
    if name in scene.strangers:
        claim = scene.strangers[name]
        yield Step(
            subject=name,
            reason=f"{reason}, and the volume of the member of that name which left is still there",
            action=DeleteVolume(member=name, claim=claim, pod=scene.of(name).pod),
            consent="" if wish.wipe else "spec.claimRetention.whenScaled: Delete",
            lane=LANE,
        )
        return
    if not scene.of(name).address:
        yield wait(name, reason, f"Service {name} to have an address")
        return
    yield write(roster.seated(name, Seat(rack=rack, ordinal=ordinal, standing=Standing.JOINING)), name, reason)


def joining(name: str, wish: Wish, roster: Roster, scene: Scene) -> Iterator[Step]:
    """The steps until all others see that a member has joined."""
    seat, seen = roster.seats[name], scene.of(name)
    reason, state = "it joins the ring", seen.state
    if state is not None and state.mode is Mode.JOINING_FAILED:
        yield from told(name, resumption(seen.pod), ResumeBootstrap(), "the join failed, and goes on", scene)
        return
    lost = wish.given_up(roster)
    if state is not None and seen.serves:
        unseen = blind(name, state.host_id, roster, scene, but=lost)
        if unseen:
            yield wait(name, reason, f"{some(unseen, 3)} to see it up")
            return
        yield write(roster.joined(name, state.host_id), name, "it has joined the ring")
        return
    unseen_id = joined_unseen(name, roster, scene, but=lost) if state is None else ""
    if unseen_id:
        yield write(roster.joined(name, unseen_id), name, "it has joined the ring, by the word of all others")
        return
    superfluous = seat.ordinal >= wish.racks.get(seat.rack, 0)
    untouched = seen.look is None or seen.look.report.phase is Phase.WAITING
    if superfluous and untouched and keepers(seen.host_id, seen.address, roster, scene) == []:
        gone = replace(seat, standing=Standing.STOPPING)
        yield write(roster.seated(name, gone), name, "it is not wanted any more, and has not begun to join")
        return
    if state is None and seen.claim:
        yield _given_up(name, lost, wish, roster, scene)
        return
    yield wait(name, reason, coming(name, scene))


def _given_up(name: str, lost: Sequence[str], wish: Wish, roster: Roster, scene: Scene) -> Step:
    """The step by which one that cannot join is given up, or what it waits for: nothing is lost with its volume."""
    seat, seen = roster.seats[name], scene.of(name)
    if wish.lost.get(name) != seen.claim:
        return wait(name, "it joins the ring", coming_or_lost(name, scene))
    reason = f"spec.lostMembers gives up the claim of uid {seen.claim}"
    held = unrest(roster, scene, but=(name, *lost))
    seeing = keepers(seen.host_id, seen.address, roster, scene)
    if held:
        return wait(name, reason, after(held))
    if seeing is None or seeing:
        return wait(name, reason, f"{some(seeing or ['the others'], 3)} to see that it does not join")
    gone = replace(seat, standing=Standing.STOPPING, volume=seen.claim)
    return write(roster.seated(name, gone), name, f"{reason}, and no member counts it")


def _full(roster: Roster, scene: Scene) -> str:
    """Whose volume is too full for a join; empty: nobody's."""
    for name in roster.members:
        look = scene.of(name).look
        report = look.report if look is not None else None
        if report is not None and report.volume_size and report.volume_free < (1 - FULL) * report.volume_size:
            return f"the volume of {name} is more than {FULL:.0%} full; spec.datacenter has its size"
    return ""
