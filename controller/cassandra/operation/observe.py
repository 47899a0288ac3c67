"""What there is of an Operation: its Cluster, who else waits for it, and what members say. Nothing is decided here."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from controller.cassandra.access.answers import JobState
from controller.cassandra.member.turn import ANNOTATION
from controller.cassandra.operation.work import act_of, job_id, pieces_of
from controller.cassandra.pods import roster_name
from controller.framework.operations import ENDED, Queued, ahead, asked, ledger_of
from controller.framework.pieces import Said, Task, Word
from controller.framework.turns import holder

if TYPE_CHECKING:
    from collections.abc import Mapping

    from controller.apis.cassandra import CassandraCluster, CassandraOperation
    from controller.cassandra.access.answers import Job
    from controller.cassandra.cluster.observe import Caches
    from controller.cassandra.cluster.observe import Observation as Ring
    from controller.cassandra.cluster.observe import Observer as Rings
    from controller.framework.pieces import Piece
    from controller.framework.turns import Holder
    from informers import Informer

_SAID = {JobState.RUNNING: Said.RUNNING, JobState.SUCCEEDED: Said.SUCCEEDED, JobState.FAILED: Said.FAILED}


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What there is of an Operation.

    Attributes:
        now: Seconds since the epoch.
        cluster: Its Cluster; None: there is none.
        queue: The Operations on that Cluster, itself included.
        turn: The Operation that has the turn to act on the ring; None: there is none.
        ring: What there is of the ring; None: it was not looked at, since another one goes first.
        pieces: Members and their keyspaces; None: they are not known.
        heard: What members say of the tasks that the Operation is at.
    """

    now: float
    cluster: CassandraCluster | None = None
    queue: tuple[Queued, ...] = ()
    turn: Holder | None = None
    ring: Ring | None = None
    pieces: tuple[Piece, ...] | None = None
    heard: Mapping[Task, Word] = field(default_factory=dict)


class Observer:
    """Observes Operations.

    Args:
        clusters: The cache of Clusters.
        caches: What the API server has of Clusters.
        rings: Observes rings.
    """

    def __init__(self, clusters: Informer[CassandraCluster], caches: Caches, rings: Rings) -> None:
        self._clusters = clusters
        self._caches = caches
        self._rings = rings

    async def observe(self, operation: CassandraOperation, now: float) -> Observation:
        """What there is of `operation` at `now`, in seconds since the epoch."""
        namespace, status = operation.metadata.namespace, operation.status
        found = self._clusters.get(namespace, operation.spec.cluster)
        operations = self._caches.operations.list(namespace)
        queue = tuple(_queued(other) for other in operations if other.spec.cluster == operation.spec.cluster)
        seen = Observation(now=now, cluster=found, queue=queue)
        if found is None:
            return seen
        config_map = self._caches.config_maps.get(namespace, roster_name(found))
        turn = holder(config_map.metadata.annotations, ANNOTATION) if config_map is not None else None
        seen = replace(seen, turn=turn)
        has_turn = turn is not None and turn.uid == operation.metadata.uid
        if status.phase in ENDED or (ahead(operation.metadata.name, queue) and not status.members and not has_turn):
            return seen
        return await self._with_ring(operation, found, seen)

    async def _with_ring(
        self, operation: CassandraOperation, found: CassandraCluster, seen: Observation
    ) -> Observation:
        """The observation with what members answer."""
        ring = await self._rings.ring(found, seen.now)
        act, keyspaces = act_of(operation.spec), ring.scene.keyspaces
        seen = replace(seen, ring=ring)
        if act is None or ring.roster is None or keyspaces is None:
            return seen
        pieces = pieces_of(act, ring.roster, keyspaces)
        ledger = ledger_of(operation.status, operation.status.members)
        tasks = {(task.piece, job_id(operation, task)): task for task in asked(ledger, pieces)}
        jobs = await self._rings.jobs(ring, set(tasks))
        heard = {tasks[key]: _word(job) for key, job in jobs.items()}
        return replace(seen, pieces=pieces, heard=heard)


def _queued(operation: CassandraOperation) -> Queued:
    meta = operation.metadata
    return Queued(
        name=meta.name,
        created=meta.creation_timestamp or "",
        phase=operation.status.phase,
        waived=operation.spec.paused or meta.deletion_timestamp is not None,
    )


def _word(job: Job | None) -> Word:
    return Word(Said.UNKNOWN) if job is None else Word(_SAID[job.state], job.message)
