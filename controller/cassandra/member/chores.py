"""What is left to do after members came or were upgraded, one member at a time. Pure.

A member does it keyspace by keyspace, in batches: what comes after a batch is told once the roster says that the batch
is done. So a plan never needs more jobs than a member remembers, whatever the number of keyspaces. A member forgets its
jobs when it is restarted, and is told the batch anew then: that much may be done twice.
"""

from __future__ import annotations

from itertools import islice
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

BATCH = 16
"""Keyspaces of a batch. A member remembers several times as many jobs (`controller.cassandra.member.pod.jolokia`)."""
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
    for keyspace, job_id, command in _batch(chore, scene.keyspaces):
        job = scene.jobs.get((name, job_id))
        if job is not None and job.state is JobState.SUCCEEDED:
            chore = replace(chore, done_to=keyspace)
            continue
        if job is not None and job.state is JobState.RUNNING:
            yield wait(name, reason, job.message or f"{job_id} to end")
        elif job is not None and fresh(job, scene):
            yield wait(name, reason, f"the next try: {job.message}")
        elif job is not None:
            again = replace(chore, attempt=chore.attempt + 1)
            yield write(roster.with_chores(again), name, f"{job_id} failed: {job.message}")
        elif held := unrest(roster, scene):
            yield wait(name, reason, after(held))
        elif (name, job_id) not in scene.jobs:
            yield wait(name, reason, "it to say how far it is")
        else:
            yield Step(subject=name, reason=reason, action=Tell(name, job_id, command), lane=LANE)
        return
    if next(_batch(chore, scene.keyspaces), None) is not None:
        yield write(roster.with_chores(chore), name, f"done to keyspace {chore.done_to}: {reason}")
    else:
        yield write(roster.without_chore(chore), name, f"done: {reason}")


def asked_jobs(roster: Roster, keyspaces: Iterable[Keyspace]) -> set[tuple[str, str]]:
    """The jobs to ask members for, by member and ID: the next batch of the first thing of each kind."""
    found: set[tuple[str, str]] = set()
    keyspaces = tuple(keyspaces)
    for kind in ChoreKind:
        chore = next((chore for chore in roster.chores if chore.kind is kind), None)
        if chore is not None:
            found |= {(chore.member, job_id) for _, job_id, _ in _batch(chore, keyspaces)}
    return found


def _batch(chore: Chore, keyspaces: Iterable[Keyspace]) -> Iterator[tuple[str, str, Command]]:
    """What has to be done next for it: keyspaces, IDs of jobs, in which their underscores are dots, and commands."""
    left = sorted(
        keyspace.name
        for keyspace in keyspaces
        if keyspace.name > chore.done_to and (keyspace.is_system or chore.kind is not ChoreKind.REPAIR_SYSTEM)
    )
    for keyspace in islice(left, BATCH):
        job_id = f"{chore.kind.lower()}-{chore.cause}-{chore.attempt}-{keyspace.replace('_', '.')}"
        if chore.kind is ChoreKind.CLEANUP:
            yield keyspace, job_id, Cleanup(keyspace)
        elif chore.kind is ChoreKind.UPGRADE:
            yield keyspace, job_id, UpgradeSSTables(keyspace)
        else:
            yield keyspace, job_id, Repair(keyspace, primary=chore.kind is ChoreKind.REPAIR_SYSTEM)
