"""An Operation's plan: whose turn it is, which member is told what, and what is waited for. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from controller.apis.meta import ObjectMeta
from controller.cassandra.backup.acts import Ground
from controller.cassandra.backup.objects import Verb
from controller.cassandra.backup.secrets import lacking, needed
from controller.cassandra.cluster.turns import CHANGES
from controller.cassandra.member.ring import bulk_loading, unrest
from controller.cassandra.member.steps import Tell, after
from controller.cassandra.member.turn import occupied
from controller.cassandra.operation.work import act_of, name_of
from controller.cassandra.pods import prefix
from controller.framework.kind import LetGo
from controller.framework.operations import ENDED, GRACE, Decision, Order, Phase, ahead, decide, ended, ledger_of
from controller.framework.pieces import seconds_of
from controller.framework.plan import PLAN_ONLY, Plan, Step
from controller.framework.text import some
from controller.framework.turns import Holder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from controller.apis.cassandra import CassandraCluster, CassandraOperation
    from controller.cassandra.access.answers import Keyspace
    from controller.cassandra.member.ring import Scene
    from controller.cassandra.member.roster import Roster
    from controller.cassandra.operation.observe import Observation
    from controller.cassandra.operation.work import Act
    from controller.framework.operations import Ledger
    from controller.framework.pieces import Task

FINALIZER = "operation.cassandra.rook.io"
LANE = "operation"
AT_WORK, HELD = 5.0, 15.0
"""Seconds between two looks at an Operation that is at work, and at one that waits."""
SECRETS_SECONDS = 120.0
"""Seconds after an Operation is made in which the Secrets that it names may still come."""
MAX_NAMED = 10
"""Keyspaces that a message names."""
MAX_MEMBERS = 3
"""Members that one names."""
_CHANGES = frozenset({"Wait", *(change.__name__ for change in CHANGES)})


@dataclass(frozen=True, slots=True)
class TakeTurn:
    """Take the turn to act on the ring, so that nothing else is begun there."""

    holder: Holder


@dataclass(frozen=True, slots=True)
class GiveBackTurn:
    """Let others act on the ring."""

    holder: Holder


def holder_of(meta: ObjectMeta) -> Holder:
    """An Operation as the holder of a turn."""
    return Holder(meta.name, meta.uid)


@dataclass(frozen=True, slots=True)
class StopJob:
    """Delete a Job, by its uid, with its pod."""

    namespace: str
    name: str
    uid: str


def analyze(operation: CassandraOperation, seen: Observation, *, image: str) -> Plan:
    """The plan for an Operation; `image` is the operator's, which Jobs run."""
    decision = decision_of(operation, seen)
    steps = tuple(_steps(operation, seen, decision, image))
    if decision.ledger.phase in ENDED and operation.metadata.deletion_timestamp is None:
        return Plan(steps=steps)
    return Plan(steps=steps, look_again=AT_WORK if decision.begin or decision.at_work else HELD)


def decision_of(operation: CassandraOperation, seen: Observation) -> Decision:
    """What is to be done about an Operation, and what its status keeps."""
    spec, ledger = operation.spec, ledger_of(operation.status, operation.status.members)
    if ledger.phase in ENDED:
        return Decision(ledger=ledger, message=operation.status.message)
    wrong = _wrong(operation, ledger, seen)
    if wrong:
        return ended(ledger, Phase.FAILED, wrong, seen.now)
    order = Order(
        paused=spec.paused,
        deadline=float(spec.deadline_seconds) if spec.deadline_seconds is not None else None,
        deleting=operation.metadata.deletion_timestamp is not None,
        at_once=act.at_once if (act := act_of(operation)) is not None else 1,
    )
    return decide(order, ledger, seen.pieces, seen.heard, hold=_hold(operation, seen), now=seen.now)


def _steps(operation: CassandraOperation, seen: Observation, decision: Decision, image: str) -> Iterator[Step]:
    act, mine = act_of(operation), holder_of(operation.metadata)
    has_turn, deleted = seen.turn == mine, operation.metadata.deletion_timestamp
    maybe = (*decision.at_work, *decision.unsure)
    working = tuple(task for task in maybe if act is not None and _answers(act, task, seen))
    if deleted is not None and (not working or seen.now >= seconds_of(deleted) + GRACE):
        yield from _tidied(operation, act, seen, decision, "it is being deleted")
        if has_turn:
            yield _give_back(mine, "it is being deleted")
        yield Step(subject="Operation", reason="nothing of it is at work", action=LetGo(), lane=LANE)
        return
    if act is not None and decision.break_off:
        yield from _broken_off(operation, act, seen, decision)
    if act is not None and decision.begin:
        # Also where the cache has it: it may not have seen yet that the turn was given back.
        reason = f"{name_of(operation.spec)} by Operation {mine.name}"
        yield Step(subject="ring", reason=reason, action=TakeTurn(mine), lane=LANE)
        for task in decision.begin:
            yield _begin(operation, act, task, seen, image)
    elif not working:
        if decision.ledger.phase == Phase.FAILED:
            yield from _tidied(operation, act, seen, decision, "it has failed")
        if has_turn:
            yield _give_back(mine, decision.message or "nothing of it is at work")
    for task in decision.at_work:
        way = act.way(task, _keyspaces(seen)) if act is not None else None
        if isinstance(way, str) and way in seen.stalled and not decision.break_off:
            stop = StopJob(operation.metadata.namespace, way, seen.working[way])
            yield Step(subject=task.piece, reason=seen.stalled[way], action=stop, lane=f"stop {task.piece}")
            continue
        row = decision.ledger.rows[task.piece]
        waits_for = row.message or f"{task.part} to be done"
        reason = act.reason(task) if act is not None else "it was begun"
        yield Step(subject=task.piece, reason=reason, waits_for=waits_for, lane=task.piece)
    if decision.ledger.phase == Phase.PENDING:
        waits_for = decision.message.removeprefix("waits for ")
        yield Step(subject="Operation", reason="it has not begun", waits_for=waits_for, lane="wait")


def _begin(operation: CassandraOperation, act: Act, task: Task, seen: Observation, image: str) -> Step:
    keyspaces, reason = _keyspaces(seen), act.reason(task)
    action = act.way(task, keyspaces)
    if isinstance(action, Tell):
        return Step(subject=task.piece, reason=reason, action=action, lane=LANE)
    made = act.job(task, keyspaces, _ground(seen, image))
    if isinstance(made, str):
        return Step(subject=task.piece, reason=reason, waits_for=made, lane=task.piece)
    return Step(subject=task.piece, reason=reason, action=made, lane=LANE)


def _ground(seen: Observation, image: str) -> Ground:
    """What Jobs are made of; nothing is begun where the Cluster or its ring is not known."""
    cluster, ring = seen.cluster, seen.ring
    if cluster is None or ring is None or ring.roster is None:
        raise ValueError("the ring is not known")
    serving = next((name for name in sorted(ring.roster.members) if ring.scene.of(name).serves), "")
    return Ground(
        cluster=cluster, roster=ring.roster, door=ring.door, query=ring.reach(serving) if serving else None, image=image
    )


def _keyspaces(seen: Observation) -> tuple[Keyspace, ...]:
    return (seen.ring.scene.keyspaces if seen.ring is not None else None) or ()


def _broken_off(operation: CassandraOperation, act: Act, seen: Observation, decision: Decision) -> Iterator[Step]:
    """What ends the tasks that are at work."""
    for task in decision.at_work:
        way, stop = act.way(task, _keyspaces(seen)), act.stop(task)
        if isinstance(way, str) and way in seen.working:
            action: object = StopJob(operation.metadata.namespace, way, seen.working[way])
        elif stop is not None:
            action = stop
        else:
            continue
        yield Step(subject=task.piece, reason=decision.message, action=action, lane=f"stop {task.piece}")


def _tidied(
    operation: CassandraOperation, act: Act | None, seen: Observation, decision: Decision, reason: str
) -> Iterator[Step]:
    """What an Operation that did not come to its end leaves on members is taken away, by those who can be told.

    It keeps its turn, or its finalizer, until that is done, but not for long. Once it has ended without the turn,
    what members have may be another one's.
    """
    meta, status, roster = operation.metadata, operation.status, seen.ring.roster if seen.ring is not None else None
    own = seen.turn == holder_of(meta) or (status.started is not None and status.phase not in ENDED)
    since = meta.deletion_timestamp or decision.ledger.completed
    if act is None or roster is None or not own or (since and seen.now >= seconds_of(since) + 2 * GRACE):
        return
    for tell in act.tidy(roster):
        if seen.ring is not None and seen.ring.scene.of(tell.member).serves:
            yield Step(subject=tell.member, reason=reason, action=tell, lane=LANE)


def _give_back(mine: Holder, reason: str) -> Step:
    return Step(subject="ring", reason=reason, action=GiveBackTurn(mine), lane=LANE)


def _answers(act: Act, task: Task, seen: Observation) -> bool:
    """Whether a member says anything at all, or there is a Job: for whoever does not, nobody is kept waiting."""
    way = act.way(task, _keyspaces(seen))
    if isinstance(way, str):
        return way in seen.working
    return seen.ring is not None and seen.ring.scene.of(way.member).look is not None


def _wrong(operation: CassandraOperation, ledger: Ledger, seen: Observation) -> str:
    """Why an Operation can never be carried out, in words; empty: it can."""
    spec, act = operation.spec, act_of(operation)
    if act is None:
        return "spec says nothing that this operator can do"
    roster = seen.ring.roster if seen.ring is not None else None
    if refused := act.refusal(ledger, roster):
        return refused
    made = operation.metadata.creation_timestamp
    if ledger.started is None and made and seen.now >= seconds_of(made) + SECRETS_SECONDS:
        lacks = lacking(needed(spec), seen.secrets)
        if lacks:
            return lacks
    if seen.cluster is None and ledger.started is not None:
        return f"Cluster {spec.cluster} does not exist any more"
    keyspaces = seen.ring.scene.keyspaces if seen.ring is not None else None
    if keyspaces is None or ledger.started is not None:
        return ""
    known = sorted(keyspace.name for keyspace in keyspaces)
    missing = sorted(set(act.keyspaces) - set(known))
    if not missing:
        return ""
    path, found = f"spec.{name_of(spec).lower()}.keyspaces", some(missing, MAX_NAMED)
    return f"{path} has {found}, and the Cluster has no such keyspace with copies: it has {some(known, MAX_NAMED)}"


def _hold(operation: CassandraOperation, seen: Observation) -> str:
    """What has to happen before anything more of an Operation is begun, in words; empty: nothing."""
    cluster, ring = seen.cluster, seen.ring
    if held := _not_yet(operation, seen):
        return held
    if cluster is None:
        return f"Cluster {operation.spec.cluster} to exist"
    if cluster.metadata.deletion_timestamp is not None:
        return f"Cluster {operation.spec.cluster} to exist: it is being deleted"
    if seen.turn is not None and seen.turn != holder_of(operation.metadata):
        return f"Operation {seen.turn.name} to end what it has begun"
    if ring is None or ring.roster is None:
        return (ring.roster_problem if ring is not None else "") or "the ring to be made"
    if held := occupied(ring.roster) or changing(cluster):
        return held
    if held := unrest(ring.roster, ring.scene):
        return after(held)
    if held := _at_work(operation, seen, ring.roster, ring.scene):
        return held
    if ring.scene.keyspaces is None:
        return "a member to tell which keyspaces there are"
    return "" if seen.pieces else "a keyspace to be there"


def _not_yet(operation: CassandraOperation, seen: Observation) -> str:
    """What has to happen before it is an Operation's turn."""
    begun = operation.status.started is not None
    first = ahead(operation.metadata.name, seen.queue)
    if first:
        return f"Operation {first}, which goes first, to end"
    if operation.spec.backup is not None and not begun and seen.snapshots:
        return f"Operation {seen.snapshots}, whose snapshots members keep, to end"
    lacks = lacking(needed(operation.spec), seen.secrets) if not begun else ""
    return f"a Secret: {lacks}" if lacks else ""


def _at_work(operation: CassandraOperation, seen: Observation, roster: Roster, scene: Scene) -> str:
    """What may still be at work for a Job that is no more, in words; empty: nothing."""
    if seen.leftover:
        return f"{seen.leftover} to end, whose Job is gone: where the node is gone for good, delete the pod by force"
    # Its own loads are begun later.
    early = operation.spec.restore is not None and Verb.PREPARE not in operation.status.finished
    loading = bulk_loading(roster, scene) if early else []
    return f"{some(loading, MAX_MEMBERS)} to end a bulk load, as of a restore that was broken off" if loading else ""


def changing(cluster: CassandraCluster) -> str:
    """What a Cluster is about to do to its ring, in words; empty: nothing, or a person has to agree first."""
    status = cluster.status
    if status.plan.mode == PLAN_ONLY:
        return ""
    if status.observed_generation != cluster.metadata.generation:
        return "the Cluster's last edit to be looked at"
    for step in status.plan.steps:
        mine = step.subject.startswith((f"{prefix(cluster)}-", "ring"))
        by_hand = step.consent or "spec." in step.waits_for  # it names the field by which a person ends the wait
        if mine and step.action in _CHANGES and not by_hand:
            return f"the Cluster to be done with {step.subject}: {step.reason}"
    return ""
