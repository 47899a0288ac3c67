"""What there is of an Operation: its Cluster, who else waits for it, and what members say. Nothing is decided here."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from controller.apis.cassandra import CASSANDRA_OPERATION
from controller.cassandra.access.answers import JobState
from controller.cassandra.backup.objects import APP, OPERATION_LABEL
from controller.cassandra.backup.secrets import needed
from controller.cassandra.member.steps import Tell
from controller.cassandra.member.turn import ANNOTATION
from controller.cassandra.operation.work import act_of
from controller.cassandra.pods import roster_name
from controller.framework import jobs
from controller.framework.names import label_value
from controller.framework.operations import ENDED, Queued, ahead, asked, ledger_of
from controller.framework.pieces import Said, Task, Word
from controller.framework.pods import warnings, with_warnings
from controller.framework.turns import holder
from controller.runtime.kube import JOB, POD, Job, Pod

if TYPE_CHECKING:
    from collections.abc import Mapping

    from controller.apis.cassandra import CassandraCluster, CassandraOperation
    from controller.cassandra.access.answers import Job as MemberJob
    from controller.cassandra.cluster.observe import Caches
    from controller.cassandra.cluster.observe import Observation as Ring
    from controller.cassandra.cluster.observe import Observer as Rings
    from controller.framework.pieces import Piece
    from controller.framework.turns import Holder
    from informers import Informer, InformerFactory

_SAID = {JobState.RUNNING: Said.RUNNING, JobState.SUCCEEDED: Said.SUCCEEDED, JobState.FAILED: Said.FAILED}


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What there is of an Operation.

    Attributes:
        now: Seconds since the epoch.
        cluster: Its Cluster; None: there is none.
        queue: The Operations on that Cluster, itself included.
        turn: The Operation that has the turn to act on the ring; None: there is none.
        snapshots: The backup of that Cluster that has begun and not ended, so that members keep its snapshots; empty:
            there is none.
        ring: What there is of the ring; None: it was not looked at, since another one goes first.
        pieces: Members and their keyspaces; None: they are not known.
        heard: What is heard of the tasks that the Operation is at.
        working: The Jobs that it has made, by name: their uids.
        stalled: Those of them that have had no pod at work for too long, by name: why, in words.
        leftover: A pod of one of its Jobs that is gone or has failed, which may be at work; empty: there is none.
        secrets: Of the Secrets that it names, by name of those that there are: the keys that have a value.
    """

    now: float
    cluster: CassandraCluster | None = None
    queue: tuple[Queued, ...] = ()
    turn: Holder | None = None
    snapshots: str = ""
    ring: Ring | None = None
    pieces: tuple[Piece, ...] | None = None
    heard: Mapping[Task, Word] = field(default_factory=dict)
    working: Mapping[str, str] = field(default_factory=dict)
    stalled: Mapping[str, str] = field(default_factory=dict)
    leftover: str = ""
    secrets: Mapping[str, frozenset[str]] = field(default_factory=dict)


class JobCaches:
    """The informers of the Jobs that Operations have made, and of their pods."""

    def __init__(self, factory: InformerFactory) -> None:
        self.jobs: Informer[Job] = factory.informer(JOB, Job, label_selector=f"app={APP}")
        self.pods: Informer[Pod] = factory.informer(POD, Pod, label_selector=f"app={APP}")


class Observer:
    """Observes Operations.

    Args:
        clusters: The cache of Clusters.
        caches: What the API server has of Clusters.
        made: What it has of the Jobs.
        rings: Observes rings.
    """

    def __init__(self, clusters: Informer[CassandraCluster], caches: Caches, made: JobCaches, rings: Rings) -> None:
        self._clusters = clusters
        self._caches = caches
        self._made = made
        self._rings = rings

    async def observe(self, operation: CassandraOperation, now: float) -> Observation:
        """What there is of `operation` at `now`, in seconds since the epoch."""
        namespace, status = operation.metadata.namespace, operation.status
        found = self._clusters.get(namespace, operation.spec.cluster)
        operations = [o for o in self._caches.operations.list(namespace) if o.spec.cluster == operation.spec.cluster]
        kept = next((o.metadata.name for o in operations if _keeps_snapshots(o)), "")
        queue = tuple(_queued(other, kept) for other in operations)
        seen = Observation(now=now, cluster=found, queue=queue, snapshots=kept, secrets=self._secrets(operation))
        if found is None:
            return seen
        config_map = self._caches.config_maps.get(namespace, roster_name(found))
        turn = holder(config_map.metadata.annotations, ANNOTATION) if config_map is not None else None
        seen = replace(seen, turn=turn)
        has_turn = turn is not None and turn.uid == operation.metadata.uid
        idle = status.phase in ENDED or (ahead(operation.metadata.name, queue) and status.started is None)
        if idle and not has_turn:
            return seen
        return await self._with_ring(operation, found, seen)

    async def _with_ring(
        self, operation: CassandraOperation, found: CassandraCluster, seen: Observation
    ) -> Observation:
        """The observation with what members answer."""
        ring = await self._rings.ring(found, seen.now)
        act, keyspaces = act_of(operation), ring.scene.keyspaces
        runs = await self._runs(operation, seen.now)
        working = {name: run.job.metadata.uid for name, run in runs.items() if run.job is not None and not run.over}
        stalled = {name: run.stalled for name, run in runs.items() if run.stalled}
        seen = replace(seen, ring=ring, working=working, stalled=stalled, leftover=self._leftover(operation, runs))
        if act is None or ring.roster is None or keyspaces is None:
            return seen
        pieces = act.pieces(ring.roster, keyspaces)
        ledger = ledger_of(operation.status, operation.status.members)
        told: dict[tuple[str, str], Task] = {}
        heard: dict[Task, Word] = {}
        for task in asked(ledger, pieces, act.at_once):
            way = act.way(task, keyspaces)
            if isinstance(way, Tell):
                told[way.member, way.job] = task
            else:
                heard[task] = _word_of_job(runs.get(way, jobs.Run()))
        answered = await self._rings.jobs(ring, set(told))
        heard |= {told[key]: _word(job) for key, job in answered.items()}
        return replace(seen, pieces=pieces, heard=heard)

    def _secrets(self, operation: CassandraOperation) -> dict[str, frozenset[str]]:
        namespace, names = operation.metadata.namespace, {one.name for one in needed(operation.spec)}
        found = {name: self._caches.secrets.get(namespace, name) for name in names}
        return {
            name: frozenset(key for key, value in secret.data.items() if value)
            for name, secret in found.items()
            if secret is not None
        }

    async def _runs(self, operation: CassandraOperation, now: float) -> dict[str, jobs.Run]:
        """The Jobs that an Operation has made, by name."""
        namespace, uid = operation.metadata.namespace, operation.metadata.uid
        own = [job for job in self._made.jobs.list(namespace) if _is_of(job, uid)]
        if not own:
            return {}
        told = warnings([event async for event in self._caches.events.walk(namespace)])
        pods = jobs.by_job(with_warnings(self._made.pods.list(namespace), told))
        return {job.metadata.name: jobs.read(job, pods.get(job.metadata.uid, ()), told, now) for job in own}

    def _leftover(self, operation: CassandraOperation, runs: Mapping[str, jobs.Run]) -> str:
        """A pod that outlives its Job: on a node that does not answer, nobody knows whether it still does something."""
        known = {run.job.metadata.uid for run in runs.values() if run.job is not None and _may_have_pods(run)}
        label = label_value(operation.metadata.name)
        for pod in self._made.pods.list(operation.metadata.namespace):
            own = pod.metadata.labels.get(OPERATION_LABEL) == label and pod.status.phase not in ("Succeeded", "Failed")
            if own and not known & {owner.uid for owner in pod.metadata.owner_references}:
                return f"pod {pod.metadata.name} on node {pod.spec.node_name or 'none'}"
        return ""


def _may_have_pods(run: jobs.Run) -> bool:
    return not run.over or run.phase is jobs.Phase.COMPLETE


def _is_of(job: Job, uid: str) -> bool:
    """Whether a Job is an Operation's; one of the same name that was deleted may have left some."""
    return any(owner.kind == CASSANDRA_OPERATION.kind and owner.uid == uid for owner in job.metadata.owner_references)


def _keeps_snapshots(operation: CassandraOperation) -> bool:
    status = operation.status
    return operation.spec.backup is not None and status.started is not None and status.phase not in ENDED


def _queued(operation: CassandraOperation, kept: str) -> Queued:
    """An Operation as others see it; `kept`: the backup whose snapshots members keep, which others wait for."""
    meta = operation.metadata
    waits = bool(kept) and operation.spec.backup is not None and operation.status.started is None
    return Queued(
        name=meta.name,
        created=meta.creation_timestamp or "",
        phase=operation.status.phase,
        waived=operation.spec.paused or meta.deletion_timestamp is not None or waits,
    )


def _word(job: MemberJob | None) -> Word:
    return Word(Said.UNKNOWN) if job is None else Word(_SAID[job.state], job.message)


def _word_of_job(run: jobs.Run) -> Word:
    match run.phase:
        case jobs.Phase.ABSENT:
            return Word(Said.UNKNOWN)
        case jobs.Phase.RUNNING:
            return Word(Said.RUNNING, run.stalled or run.trouble)
        case jobs.Phase.COMPLETE:
            return Word(Said.SUCCEEDED, run.result)
    return Word(Said.FAILED, run.failure, final=run.is_final)
