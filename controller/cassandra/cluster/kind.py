"""The kind Cluster: what `controller.framework.kind` runs for each Cassandra cluster, and what brings about a look."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

from controller.apis.cassandra import CassandraCluster
from controller.cassandra.cluster.act import CLUSTERS, handlers
from controller.cassandra.cluster.analyze import analyze
from controller.cassandra.cluster.deletion import FINALIZER
from controller.cassandra.cluster.metrics import Repairs
from controller.cassandra.cluster.observe import Caches, Observer
from controller.cassandra.cluster.status import show
from controller.cassandra.pods import CLUSTER_LABEL, superuser_secret
from controller.framework.changes import budget_changed, claim_changed, pod_changed
from controller.framework.kind import ControlLoop, controller_of
from controller.framework.monitoring import POD_MONITOR, Monitors
from controller.runtime import Request
from controller.runtime.mapping import by_label

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from controller.cassandra.access.members import Members
    from controller.framework.settings import Settings
    from controller.runtime import Manager
    from controller.runtime.kube import Secret


def register(manager: Manager, settings: Settings, members: Members, *, clock: Callable[[], float] = time.time) -> None:
    """Has `manager` reconcile Cassandra clusters.

    Args:
        manager: Runs the controller.
        settings: Of the operator.
        members: How members are reached.
        clock: Seconds since the epoch.
    """
    # Whoever has not this kind in their API server still has the others.
    clusters = manager.informers.informer(CLUSTERS, CassandraCluster, optional=True)
    manager.registry.register(Repairs(clusters))
    caches = Caches(manager.informers)
    monitors = Monitors(manager.client, POD_MONITOR, manager.program.name)
    observer = Observer(caches, members, manager.applier, monitors)
    loop = ControlLoop(
        resource=CLUSTERS,
        finalizer=FINALIZER,
        observe=observer.observe,
        analyze=partial(analyze, installer=settings.operator_image),
        handlers=lambda cluster, seen: handlers(cluster, seen, manager, caches, members, monitors, clock=clock),
        show=show,
        forget=observer.forget,
    )
    controller = controller_of(manager, loop, clusters, workers=settings.workers, name="cassandracluster", clock=clock)
    ours = by_label(CLUSTER_LABEL)

    def concerned(secret: Secret) -> Iterable[Request]:
        """A superuser's Secret may be the user's own."""
        meta = secret.metadata
        named = [c for c in clusters.list(meta.namespace) if superuser_secret(c) == meta.name]
        return [*ours(secret), *(Request(meta.namespace, cluster.metadata.name) for cluster in named)]

    controller.watch(caches.pods, ours, predicate=pod_changed)
    controller.watch(caches.sets, ours)
    controller.watch(caches.services, ours)
    controller.watch(caches.claims, ours, predicate=claim_changed)
    controller.watch(caches.budgets, ours, predicate=budget_changed)
    controller.watch(caches.accounts, ours)
    controller.watch(caches.config_maps, ours)
    controller.watch(caches.secrets, concerned)
    manager.add(controller)
