"""How members leave the ring: first their data, then they, then their pods, and their volumes by consent. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from controller.cassandra.access.answers import Decommission, JobState, Mode, RemoveNode
from controller.cassandra.member.replication import short_of_copies
from controller.cassandra.member.ring import Scene, busy, halted, joined_unseen, keepers, unrest
from controller.cassandra.member.roster import Roster, Standing
from controller.cassandra.member.steps import (
    LANE,
    DeleteVolume,
    Restart,
    Tell,
    Wish,
    after,
    coming,
    fresh,
    told,
    wait,
    write,
)
from controller.framework.plan import Step
from controller.framework.text import some

if TYPE_CHECKING:
    from collections.abc import Iterator

    from controller.cassandra.access.answers import State
    from controller.cassandra.member.roster import Seat


def decommission(seat: Seat) -> str:
    """The ID of the job by which a member hands on its data."""
    return f"decommission-{seat.host_id}-{seat.attempt}"


def removal(seat: Seat) -> str:
    """The ID of the job by which others make the copies of a lost member anew."""
    return f"remove-{seat.host_id}"


def leave(name: str, wish: Wish, roster: Roster, scene: Scene) -> Iterator[Step]:
    """The steps before a member begins to leave."""
    seat = roster.seats[name]
    reason = f"rack {seat.rack} is to have {wish.racks.get(seat.rack, 0)} members"
    gone = scene.of(name).has_left  # somebody told it to, by hand
    held = wish.hold or unrest(roster, scene, but=(name,) if gone else ()) or busy(roster, scene)
    held = after(held) if held else "" if gone else _cannot_leave(name, wish, roster, scene)
    if held:
        yield wait(name, reason, held)
        return
    yield write(roster.seated(name, replace(seat, standing=Standing.LEAVING)), name, reason)


def leaving(name: str, wish: Wish, roster: Roster, scene: Scene) -> Iterator[Step]:
    """The steps until a member has left, by what it has written on its own volume."""
    seat, seen = roster.seats[name], scene.of(name)
    if seat.lost:
        yield from _removing(name, wish, roster, scene)
        return
    anew = ", and joins anew when it has left: it is wanted again" if _is_wanted(seat, wish, roster) else ""
    reason, state = f"it hands on its data and leaves the ring{anew}", seen.state
    if seen.host_id and seen.host_id != seat.host_id:
        yield wait(name, reason, f"its volume to have the data of host ID {seat.host_id}: it has {seen.host_id}")
        return
    if seen.has_left:
        yield write(
            roster.seated(name, replace(seat, standing=Standing.LEFT)),
            name,
            "it has handed on its data and left, by its own word",
        )
        return
    if state is None and wish.lost.get(name) == seat.host_id:
        found = replace(seat, standing=Standing.MEMBER)
        yield write(roster.seated(name, found), name, "it is lost, and cannot hand on its data")
        return
    if state is None:
        yield wait(name, reason, coming(name, scene))
        return
    if state.mode is Mode.LEAVING:
        job = scene.jobs.get((name, decommission(seat)))
        if job is not None and job.state is JobState.FAILED and seen.pod:
            # Told once more, it would leave without a check of who keeps its data.
            stopped = f"it stopped leaving: {job.message}; a restart takes that back"
            yield Step(subject=name, reason=stopped, action=Restart(name, seen.pod), lane=LANE)
            return
        by_hand = halted(state) if job is None and (name, decommission(seat)) in scene.jobs else ""
        yield wait(name, reason, f"its data to be with the others{_streams(state)}{by_hand}")
        return
    if not seen.serves:
        yield wait(name, reason, coming(name, scene))
        return
    yield from _begin(name, wish, roster, scene, reason)


def _begin(name: str, wish: Wish, roster: Roster, scene: Scene, reason: str) -> Iterator[Step]:
    """The steps by which a member that serves is told to leave."""
    seat, job_id = roster.seats[name], decommission(roster.seats[name])
    job = scene.jobs.get((name, job_id))
    if (job is not None and job.state is not JobState.FAILED) or (name, job_id) not in scene.jobs:
        yield wait(name, reason, "it to begin")
        return
    if _is_wanted(seat, wish, roster):
        yield from _stay(name, roster, scene)
        return
    held = unrest(roster, scene, but=(name,))
    held = after(held) if held else _cannot_leave(name, wish, roster, scene)
    if held and wish.given_up(roster):
        stays = replace(seat, standing=Standing.MEMBER)
        yield write(
            roster.seated(name, stays), name, "it has not begun to leave, and another is lost: that one is first"
        )
        return
    if held:
        yield wait(name, reason, held)
        return
    if job is not None:
        if fresh(job, scene):
            yield wait(name, reason, f"the next try: {job.message}")
            return
        again = replace(seat, attempt=seat.attempt + 1)
        yield write(roster.seated(name, again), name, f"it could not leave: {job.message}")
        return
    lose = tuple(k.name for k in short_of_copies(len(roster.members), roster.datacenter, scene.keyspaces or ()))
    action = Tell(name, job_id, Decommission(force=bool(lose)), lose)
    yield Step(subject=name, reason=reason, action=action, lane=LANE)


def _is_wanted(seat: Seat, wish: Wish, roster: Roster) -> bool:
    """Whether the rack is to have as many members again as with the one that leaves."""
    return wish.racks.get(seat.rack, 0) >= len(roster.rack(seat.rack))


def _stay(name: str, roster: Roster, scene: Scene) -> Iterator[Step]:
    """The steps by which a member that has not begun to leave, or could not, is taken back."""
    seat, seen = roster.seats[name], scene.of(name)
    job = scene.jobs.get((name, decommission(seat)))
    reason = f"rack {seat.rack} is to have it again, and it has not left"
    states = {member: scene.of(member).state for member in (*roster.members, name)}
    viewers = [member for member, state in states.items() if state is not None and seen.address in state.ring.leaving]
    if not viewers:
        yield write(roster.seated(name, replace(seat, standing=Standing.MEMBER)), name, reason)
        return
    failed = job is not None or (seen.state is not None and seen.state.mode is Mode.DECOMMISSION_FAILED)
    if failed and seen.pod:
        yield Step(subject=name, reason=f"{reason}: a restart ends that", action=Restart(name, seen.pod), lane=LANE)
        return
    yield wait(name, reason, f"{some(viewers, 3)} to see that it stays")


def _removing(name: str, wish: Wish, roster: Roster, scene: Scene) -> Iterator[Step]:
    """The steps by which a lost member is taken out of the ring."""
    seat = roster.seats[name]
    reason = f"host ID {seat.host_id} is lost: the others make its copies anew"
    kept = keepers(seat.host_id, "", roster, scene)
    if kept == []:
        gone = replace(seat, standing=Standing.STOPPING)
        yield write(roster.seated(name, gone), name, "it is out of the ring")
        return
    if kept is None:
        yield wait(name, reason, "another member to serve")
        return
    held = unrest(roster, scene, but=(name, *wish.given_up(roster)))
    if held:
        yield wait(name, reason, after(held))
        return
    yield from told(kept[0], removal(seat), RemoveNode(seat.host_id), reason, scene)


def left(name: str, _: Wish, roster: Roster, scene: Scene) -> Iterator[Step]:
    """The steps until all others have seen that a member left."""
    seat = roster.seats[name]
    kept = keepers(seat.host_id, scene.of(name).address, roster, scene)
    if kept is None or kept:
        yield wait(name, "it has left the ring", f"{some(kept or ['the others'], 3)} to see that")
        return
    stops = replace(seat, standing=Standing.STOPPING)
    yield write(roster.seated(name, stops), name, "all others see that it has left: its pod is not needed any more")


def stopping(name: str, wish: Wish, roster: Roster, scene: Scene) -> Iterator[Step]:
    """The steps until nothing is left of a member but, unless the spec says otherwise, its volume."""
    seat, seen = roster.seats[name], scene.of(name)
    joined = "" if seat.host_id else joined_unseen(name, roster, scene, but=wish.given_up(roster))
    if joined:
        yield write(roster.joined(name, joined), name, "all others count it: it joined before it was stopped")
        return
    given_up = bool(seat.volume) and seen.claim == seat.volume
    if seen.pod and not given_up:
        yield wait(name, "it has left the ring", "its pod to end")
        return
    counting = keepers(seat.host_id, seen.address, roster, scene)
    if counting is None or counting:
        yield wait(name, "it has left the ring", f"{some(counting or ['the others'], 3)} to see that")
        return
    if given_up:
        wipe = DeleteVolume(member=name, claim=seat.volume, pod=seen.pod, lost=seat.volume)
        reason = f"spec.lostMembers gives up the claim of uid {seat.volume}, and it has not joined"
        yield Step(subject=name, reason=reason, action=wipe, lane=LANE)
        return
    if seen.claim and wish.wipe:
        wipe = DeleteVolume(member=name, claim=seen.claim, pod="")
        reason = "it has left the ring, and spec.claimRetention.whenScaled is Delete"
        yield Step(subject=name, reason=reason, action=wipe, lane=LANE)
        return
    kept = ", and its volume is kept" if seen.claim else ""
    yield write(roster.seated(name, None), name, f"it is gone, with host ID {seat.host_id or 'unknown'}{kept}")


def _cannot_leave(name: str, wish: Wish, roster: Roster, scene: Scene) -> str:
    """What has to happen before a member can hand on its data; empty: it can."""
    staying = [member for member in roster.members if member != name]
    if not staying:
        return "the Cluster to be deleted: the last member has nobody to hand its data to"
    if scene.keyspaces is None:
        return "a member to tell which keyspaces there are"
    for keyspace in scene.keyspaces:
        asked = sum(keyspace.factors.values())
        if keyspace.is_system and asked > len(staying):
            return f"keyspace {keyspace.name} to have at most {len(staying)} copies: it has {asked}"
    for keyspace in short_of_copies(len(staying), roster.datacenter, scene.keyspaces):
        if keyspace.name not in wish.lose_copies:
            asked = sum(keyspace.factors.values())
            return (
                f"keyspace {keyspace.name} to ask for at most {len(staying)} copies, and not {asked} (ALTER KEYSPACE), "
                "or to be named in spec.loseCopies"
            )
    return _no_room(name, staying, scene)


def _no_room(name: str, staying: list[str], scene: Scene) -> str:
    state = scene.of(name).state
    load = state.load if state is not None else 0
    for member in staying:
        look = scene.of(member).look
        if look is not None and look.report.volume_size and look.report.volume_free < load:
            free = look.report.volume_free
            return f"{member} to have room for {load} bytes: its volume has {free} free; spec.datacenter has its size"
    return ""


def _streams(state: State) -> str:
    sent, to_send = sum(s.sent for s in state.streams), sum(s.to_send for s in state.streams)
    return f": {sent} of {to_send} bytes are" if to_send else ""
