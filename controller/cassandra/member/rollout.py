"""Restarts: whose pod was made from another template than is wanted now gets a new one, one member at a time. Pure.

A StatefulSet is given the new template when the first of its members may be restarted, not before: a pod that has to be
made anew for another reason stays what it was. Before a member's version is changed, a snapshot is taken of it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from controller.cassandra.access.answers import JobState, TakeSnapshot
from controller.cassandra.member.objects import TEMPLATE_ANNOTATION, VERSION_LABEL
from controller.cassandra.member.ring import Problem, blind, findings
from controller.cassandra.member.roster import COMING
from controller.cassandra.member.steps import Restart, Tell, fresh
from controller.framework import rollout
from controller.framework.plan import Step
from controller.framework.text import some

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from controller.apis.cassandra.cluster import UpgradeSpec
    from controller.cassandra.member.ring import Scene
    from controller.cassandra.member.roster import Roster, Seat
    from controller.runtime.kube import Pod

PATIENCE = 1800.0
"""Seconds after which a member that does not come back stops a rollout."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Restarts:
    """What is to be restarted, and how.

    Attributes:
        templates: By rack, what tells the template that is wanted from others.
        racks: The racks in the order in which they are gone through.
        version: The version that is wanted.
        pods: The members' pods, by name.
        lost: Members that are given up, and cannot be replaced before all others have been restarted.
        up: For how many seconds members have been serving, by name; `down` likewise not.
        policy: What the spec says of it.
        hold: What has to happen before any member is restarted, in words; empty: nothing.
    """

    templates: Mapping[str, str]
    racks: Sequence[str]
    version: str
    pods: Mapping[str, Pod]
    policy: UpgradeSpec
    lost: Sequence[str] = ()
    up: Mapping[str, float] = field(default_factory=dict)
    down: Mapping[str, float] = field(default_factory=dict)
    hold: str = ""


def stopped(roster: Roster, scene: Scene, restarts: Restarts) -> str:
    """Who has to come back before anybody else is restarted, and why it does not; empty: the rollout goes on."""
    members = _members(roster, scene, restarts)
    return rollout.given_up(members, _policy(restarts)) if any(member.outdated for member in members) else ""


def _policy(restarts: Restarts) -> rollout.Policy:
    how = restarts.policy
    return rollout.Policy(
        soak=float(how.soak_seconds),
        patience=PATIENCE,
        canary=how.canary,
        canary_ends="spec.upgrade.canary to be 0",
        paused="spec.upgrade.paused to be false" if how.paused else "",
    )


def decide(roster: Roster, scene: Scene, restarts: Restarts) -> Mapping[str, str]:
    """What each member that is out of date waits for; empty: it may be restarted now."""
    members, policy = _members(roster, scene, restarts), _policy(restarts)
    moving = roster.moving
    changing = f"the ring to have changed: {moving[0]} is {moving[1].standing}" if moving is not None else ""
    batch = rollout.next_batch(members, policy)
    held = (
        [f.text for f in findings(roster, scene, but=restarts.lost) if f.problem is not Problem.VERSION_MIXED]
        if batch
        else []
    )
    leave = rollout.Leave((), some(held, 3)) if held else rollout.Leave(batch)
    decided = rollout.decide(members, policy, hold=restarts.hold or changing, leave=leave)
    return {**decided, **dict.fromkeys(_stuck(roster, scene, restarts), restarts.hold)}


def _stuck(roster: Roster, scene: Scene, restarts: Restarts) -> list[str]:
    """Who comes, and runs no Cassandra yet by what is not wanted any more: nothing is lost by a restart."""
    moving = roster.moving
    if moving is None or moving[1].standing not in COMING or scene.of(moving[0]).state is not None:
        return []
    name, seat = moving
    return [name] if _is_outdated(restarts.pods.get(name), seat.rack, restarts) else []


def _is_outdated(pod: Pod | None, rack: str, restarts: Restarts) -> bool:
    template = pod.metadata.annotations.get(TEMPLATE_ANNOTATION, "") if pod is not None else ""
    return pod is not None and template != restarts.templates.get(rack, template)


def steps(waits: Mapping[str, str], roster: Roster, scene: Scene, restarts: Restarts) -> Iterator[Step]:
    """The steps by which members are restarted."""
    for name, waits_for in waits.items():
        pod, seat = restarts.pods[name], roster.seats[name]
        version = pod.metadata.labels.get(VERSION_LABEL, "")
        changes = version != restarts.version
        reason = f"its version becomes {restarts.version}, from {version}" if changes else "its configuration changed"
        restart = Step(subject=name, reason=reason, action=Restart(name, pod.metadata.uid), waits_for=waits_for)
        if waits_for or not changes or restarts.policy.snapshot is False or not scene.of(name).serves:
            yield restart
        else:
            yield _snapshot(name, seat, reason, scene, restarts) or restart


def snapshot_jobs(roster: Roster, version: str) -> set[tuple[str, str]]:
    """The jobs to ask members for, by member and ID: the snapshots before an upgrade to a version."""
    return {(name, _snapshot_job(seat, version)) for name, seat in roster.members.items()}


def _snapshot(name: str, seat: Seat, reason: str, scene: Scene, restarts: Restarts) -> Step | None:
    """The step by which there is a snapshot of a member; None: there is one."""
    job_id = _snapshot_job(seat, restarts.version)
    job = scene.jobs.get((name, job_id))
    if job is None and (name, job_id) in scene.jobs:
        tell = Tell(name, job_id, TakeSnapshot(f"rook-before-{restarts.version}"))
        return Step(subject=name, reason=f"{reason}: a snapshot comes first", action=tell)
    if job is None or job.state is JobState.RUNNING or (job.state is JobState.FAILED and fresh(job, scene)):
        return Step(subject=name, reason=reason, waits_for="a snapshot of it")
    if job.state is JobState.FAILED:
        waits_for = f"its volume to have room for a snapshot, or spec.upgrade.snapshot to be false: {job.message}"
        return Step(subject=name, reason=reason, waits_for=waits_for)
    return None


def _snapshot_job(seat: Seat, version: str) -> str:
    return f"snapshot-{version}-{seat.host_id}"


def _members(roster: Roster, scene: Scene, restarts: Restarts) -> list[rollout.Member]:
    """The members in the order in which they are restarted: rack by rack, the last first."""
    found = []
    for rack in restarts.racks:
        for name in reversed(roster.rack(rack)):
            pod = restarts.pods.get(name)
            if name not in roster.members or pod is None:
                continue
            is_outdated = _is_outdated(pod, rack, restarts)
            found.append(_member(name, rack, roster, scene, restarts, is_outdated=is_outdated))
    return found


def _member(
    name: str, rack: str, roster: Roster, scene: Scene, restarts: Restarts, *, is_outdated: bool
) -> rollout.Member:
    seen = scene.of(name)
    if name in restarts.lost and not seen.serves:
        return rollout.Member(name=name, domain=rack, outdated=is_outdated, serves=False)
    # Of one that does not answer and that the kubelet finds well nothing is known.
    serves = seen.serves or (seen.look is None and restarts.pods[name].ready)
    unseen = blind(name, roster.seats[name].host_id, roster, scene, but=restarts.lost)
    awaited = f"to be seen up by {some(unseen, 3)}" if unseen else ""
    return rollout.Member(
        name=name,
        domain=rack,
        outdated=is_outdated,
        serves=serves,
        awaited=awaited if serves else "to serve",
        seconds=(restarts.up if serves else restarts.down).get(name, 0.0),
        trouble=seen.trouble,
    )
