"""The steps by which a ring changes, what is wanted of it, and how waiting is told. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from controller.cassandra.access.answers import JobState
from controller.framework.plan import Step

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from controller.cassandra.access.answers import Command, Job
    from controller.cassandra.member.ring import Scene
    from controller.cassandra.member.roster import Roster

LANE = "ring"
"""What changes the ring is in one lane: never are two of its steps done side by side."""
RETRY_AFTER = 60.0
"""Seconds after which a member is told once more to do what failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What the spec wants of the ring.

    Attributes:
        prefix: With which names of members begin.
        racks: Members by rack, in the spec's order.
        lost: What may be given up, by member: its host ID, or the uid of its claim where it has not joined yet.
        lose_copies: Keyspaces that may have fewer copies than they ask for.
        wipe: Whether volumes of members that left are deleted.
        hold: Why nobody may join or leave now, though the ring is well; empty: nothing.
    """

    prefix: str
    racks: Mapping[str, int]
    lost: Mapping[str, str] = field(default_factory=dict)
    lose_copies: frozenset[str] = frozenset()
    wipe: bool = False
    hold: str = ""

    def given_up(self, roster: Roster) -> list[str]:
        """The members that may be given up; one that was replaced since has another host ID."""
        return [name for name, seat in roster.members.items() if seat.host_id and self.lost.get(name) == seat.host_id]

    def name(self, rack: str, ordinal: int) -> str:
        """The name of a member, which is that of its pod."""
        return f"{self.prefix}-{rack}-{ordinal}"


@dataclass(frozen=True, slots=True)
class WriteRoster:
    """Write down what is true of the ring from now on."""

    roster: Roster = field(repr=False)


@dataclass(frozen=True, slots=True)
class Tell:
    """Tell a member to do something, once for each `job`. `lose`: keyspaces that lose copies by it."""

    member: str
    job: str
    command: Command
    lose: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Replicate:
    """Set how many copies one of Cassandra's own keyspaces has; `via` is the member that is told."""

    via: str
    keyspace: str
    datacenter: str
    copies: int


@dataclass(frozen=True, slots=True)
class DeleteVolume:
    """Delete the claim of a member that left or is lost, by its uid, and its pod, which holds it.

    `lost`: the host ID that was given up, or this uid where the member has not joined; empty: the member left, and its
    volumes go by the spec's retention.
    """

    member: str
    claim: str
    pod: str
    lost: str = ""


@dataclass(frozen=True, slots=True)
class NewAddress:
    """Delete the Service of a member that is lost, by its uid: its successor gets another one with another address.

    `lost`: the host ID that was given up, or the uid of its successor's claim, where that is lost, too.

    At the old address it would get the old host ID too, so that nobody could tell the two apart; and nobody would send
    it what is written while it copies the data.
    """

    member: str
    service: str
    lost: str


@dataclass(frozen=True, slots=True)
class Restart:
    """Delete the pod of a member, by its uid: another one takes its place."""

    member: str
    pod: str


def told(name: str, job_id: str, command: Command, reason: str, scene: Scene) -> Iterator[Step]:
    """Tells a member something, and waits until it is done. What failed is for a person to look at."""
    job = scene.jobs.get((name, job_id))
    if (name, job_id) not in scene.jobs:
        yield wait(name, reason, "it to say how far it is")
    elif job is None:
        yield Step(subject=name, reason=reason, action=Tell(name, job_id, command), lane=LANE)
    elif job.state is JobState.FAILED:
        yield wait(name, reason, f"a person to look at it: {job.message}")
    else:
        yield wait(name, reason, job.message or "it to be done")


def fresh(job: Job, scene: Scene) -> bool:
    """Whether a job failed a moment ago only, so that it is not tried again yet."""
    return job.ended is not None and scene.now < job.ended + RETRY_AFTER


def coming(name: str, scene: Scene) -> str:
    """What a member that comes waits for, in words."""
    seen = scene.of(name)
    state = seen.state
    if state is None:
        why = (seen.look.report.message if seen.look is not None else "") or seen.trouble
        return f"Cassandra to run in its pod{f': {why}' if why else ''}"
    received, expected = sum(s.received for s in state.streams), sum(s.to_receive for s in state.streams)
    streams = f", with {received} of {expected} bytes" if expected else ""
    return f"it to serve clients: it is {state.mode}{streams}"


def coming_or_lost(name: str, scene: Scene) -> str:
    """What a member that comes waits for, in words, and what a person can do where it never will."""
    seen = scene.of(name)
    if seen.state is not None or not seen.claim:
        return coming(name, scene)
    remedy = f"give it up in spec.lostMembers: {{member: {name}, claimUID: {seen.claim}}}"
    return f"{coming(name, scene)}; where its node or volume is lost for good, {remedy}"


def after(held: str) -> str:
    """What is waited for, where something holds up a change."""
    return held if held.startswith(("spec.", "a ")) else f"this to end: {held}"


def wait(name: str, reason: str, waits_for: str) -> Step:
    """Nothing can be done about a member but wait."""
    return Step(subject=name, reason=reason, waits_for=waits_for, lane=LANE)


def write(roster: Roster, subject: str, reason: str) -> Step:
    """Write down what is true from now on."""
    return Step(subject=subject, reason=reason, action=WriteRoster(roster), lane=LANE)
