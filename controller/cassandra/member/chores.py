"""What is left to do after members came or were upgraded, one member at a time. Pure.

A member forgets its jobs when it is restarted, and is told anew then: all of it may be done twice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from controller.cassandra.access.answers import Cleanup, JobState, Repair, UpgradeSSTables
from controller.cassandra.member.ring import unrest
from controller.cassandra.member.roster import ChoreKind
from controller.cassandra.member.steps import LANE, Tell, after, fresh, wait, write
from controller.framework.plan import Step

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from controller.cassandra.access.answers import Command, Keyspace
    from controller.cassandra.member.ring import Scene
    from controller.cassandra.member.roster import Chore, Roster

_REASONS = {
    ChoreKind.CLEANUP: "rows that belong to members which joined are deleted",
    ChoreKind.REPAIR: "it was replaced, and may lack writes that came meanwhile",
    ChoreKind.UPGRADE: "its files are of an earlier version",
    ChoreKind.REPAIR_SYSTEM: "Cassandra's own keyspaces have more copies, which are empty",
}


def analyze(roster: Roster, scene: Scene, *kinds: ChoreKind) -> Iterator[Step]:
    """The next steps of the first thing of these kinds that is left to do."""
    chore = next((chore for chore in roster.chores if chore.kind in kinds), None)
    if chore is None:
        return
    name, reason = chore.member, _REASONS[chore.kind]
    if scene.keyspaces is None:
        yield wait(name, reason, "a member to tell which keyspaces there are")
        return
    for job_id, command in _jobs(chore, scene.keyspaces):
        job = scene.jobs.get((name, job_id))
        if job is not None and job.state is JobState.SUCCEEDED:
            continue
        if job is not None and job.state is JobState.RUNNING:
            yield wait(name, reason, job.message or f"{job_id} to end")
        elif job is not None and fresh(job, scene):
            yield wait(name, reason, f"the next try: {job.message}")
        elif job is not None:
            again = replace(chore, attempt=chore.attempt + 1)
            yield write(roster.without_chore(chore).with_chores(again), name, f"{job_id} failed: {job.message}")
        elif held := unrest(roster, scene):
            yield wait(name, reason, after(held))
        elif (name, job_id) not in scene.jobs:
            yield wait(name, reason, "it to say how far it is")
        else:
            yield Step(subject=name, reason=reason, action=Tell(name, job_id, command), lane=LANE)
        return
    yield write(roster.without_chore(chore), name, f"done: {reason}")


def asked_jobs(roster: Roster, keyspaces: Iterable[Keyspace]) -> set[tuple[str, str]]:
    """The jobs to ask members for, by member and ID: those of the first thing of each kind."""
    found: set[tuple[str, str]] = set()
    keyspaces = tuple(keyspaces)
    for kind in ChoreKind:
        chore = next((chore for chore in roster.chores if chore.kind is kind), None)
        if chore is not None:
            found |= {(chore.member, job_id) for job_id, _ in _jobs(chore, keyspaces)}
    return found


def _jobs(chore: Chore, keyspaces: Iterable[Keyspace]) -> Iterator[tuple[str, Command]]:
    """What has to be done for it: IDs of jobs, in which a keyspace's underscores are dots, and their commands."""
    for keyspace in sorted(keyspaces, key=lambda k: k.name):
        if chore.kind is ChoreKind.REPAIR_SYSTEM and not keyspace.is_system:
            continue
        job_id = f"{chore.kind.lower()}-{chore.cause}-{chore.attempt}-{keyspace.name.replace('_', '.')}"
        if chore.kind is ChoreKind.CLEANUP:
            yield job_id, Cleanup(keyspace.name)
        elif chore.kind is ChoreKind.UPGRADE:
            yield job_id, UpgradeSSTables(keyspace.name)
        else:
            yield job_id, Repair(keyspace.name, primary=chore.kind is ChoreKind.REPAIR_SYSTEM)
