"""The kind Operation: what `controller.framework.kind` runs for each, and what brings about a look."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

from controller.apis.cassandra import CASSANDRA_OPERATION, CassandraCluster
from controller.cassandra.cluster.act import CLUSTERS
from controller.cassandra.cluster.observe import OPERATIONS, Caches
from controller.cassandra.cluster.observe import Observer as Rings
from controller.cassandra.operation.act import handlers
from controller.cassandra.operation.analyze import FINALIZER, analyze
from controller.cassandra.operation.observe import JobCaches, Observer
from controller.cassandra.operation.status import show
from controller.cassandra.pods import CLUSTER_LABEL
from controller.framework.changes import pod_changed
from controller.framework.kind import ControlLoop, controller_of
from controller.framework.operations import ENDED
from controller.runtime import Request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from controller.apis.cassandra import CassandraOperation
    from controller.cassandra.access.members import Members
    from controller.framework.settings import Settings
    from controller.runtime import Manager
    from controller.runtime.kube import HasMetadata, Job
    from informers import Delta


def register(manager: Manager, settings: Settings, members: Members, *, clock: Callable[[], float] = time.time) -> None:
    """Has `manager` carry out Operations.

    Args:
        manager: Runs the controller.
        settings: Of the operator.
        members: How members are reached.
        clock: Seconds since the epoch.
    """
    clusters = manager.informers.informer(CLUSTERS, CassandraCluster, optional=True)
    caches, made = Caches(manager.informers), JobCaches(manager.informers)
    loop = ControlLoop(
        resource=OPERATIONS,
        finalizer=FINALIZER,
        observe=Observer(clusters, caches, made, Rings(caches, members, manager.applier)).observe,
        analyze=partial(analyze, image=settings.operator_image),
        handlers=lambda operation, seen: handlers(operation, seen, manager.client, members),
        show=show,
    )
    controller = controller_of(
        manager, loop, caches.operations, workers=settings.workers, name="cassandraoperation", clock=clock
    )

    def on(namespace: str, cluster: str) -> Iterable[Request]:
        """The Operations on a Cluster that have not ended."""
        return [
            Request(namespace, found.metadata.name)
            for found in caches.operations.list(namespace)
            if found.spec.cluster == cluster and found.status.phase not in ENDED
        ]

    def labelled(obj: HasMetadata) -> Iterable[Request]:
        return on(obj.metadata.namespace, obj.metadata.labels.get(CLUSTER_LABEL, ""))

    def owned(job: Job) -> Iterable[Request]:
        """The Operation that made a Job."""
        return [
            Request(job.metadata.namespace, owner.name)
            for owner in job.metadata.owner_references
            if owner.kind == CASSANDRA_OPERATION.kind
        ]

    controller.watch(made.jobs, owned)
    controller.watch(clusters, lambda cluster: on(cluster.metadata.namespace, cluster.metadata.name))
    controller.watch(caches.config_maps, labelled)
    controller.watch(caches.pods, labelled, predicate=pod_changed)
    controller.watch(
        caches.operations,
        lambda operation: on(operation.metadata.namespace, operation.spec.cluster),
        predicate=_phase_changed,
    )
    manager.add(controller)


def _phase_changed(delta: Delta[CassandraOperation]) -> bool:
    """Whether an Operation came, went, or has another phase, so that it may be another one's turn."""
    old, new = delta.old, delta.new
    return old is None or new is None or old.status.phase != new.status.phase
