"""CephBlockPool: what `controller.framework.kind` runs for each pool, and what brings about a look."""

from __future__ import annotations

from typing import TYPE_CHECKING

from controller.apis.ceph import CEPH_CLUSTER, CephBlockPool, CephCluster
from controller.ceph.access.health import obstacles
from controller.ceph.pool.act import POOLS, handlers
from controller.ceph.pool.analyze import analyze
from controller.ceph.pool.observe import Observer
from controller.ceph.pool.status import show
from controller.framework.changes import appeared_or_went, changed
from controller.framework.deletion import Dependents, of_namespace
from controller.framework.kind import ControlLoop, controller_of
from controller.runtime import in_namespace, resource_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from controller.ceph.access.rados import Connections
    from controller.ceph.pools.observe import PoolObservation
    from controller.framework.deletion import Dependent
    from controller.framework.plan import Handler
    from controller.framework.settings import Settings
    from controller.runtime import Manager
    from controller.runtime.kube import HasMetadata
    from informers import InformerFactory

CLUSTERS = resource_of(CEPH_CLUSTER)
FINALIZER = "cephblockpool.ceph.rook.io"


def dependents(informers: InformerFactory) -> Dependent[HasMetadata]:
    """CephBlockPools as what uses the cluster of their namespace."""
    return of_namespace(informers.informer(POOLS, CephBlockPool))


def register(
    manager: Manager,
    settings: Settings,
    connections: Connections,
    dependents: Sequence[Dependent[CephBlockPool]] = (),
) -> None:
    """Has `manager` reconcile CephBlockPools.

    Args:
        manager: The process.
        settings: The operator's settings.
        connections: Ways to the clusters.
        dependents: The kinds whose objects use a pool.
    """
    pools = manager.informers.informer(POOLS, CephBlockPool)
    clusters = manager.informers.informer(CLUSTERS, CephCluster)
    using = Dependents[CephBlockPool](tuple(dependents))

    def ways(pool: CephBlockPool, _: PoolObservation) -> Mapping[type, Handler]:
        """None while there is no way to the cluster: nothing is planned then."""
        ceph = connections.get(pool.metadata.namespace)
        return {} if ceph is None else handlers(pool, manager.client, ceph, using.asking(manager.client, pool))

    loop = ControlLoop(
        resource=POOLS,
        finalizer=FINALIZER,
        observe=Observer(clusters, connections, using).observe,
        analyze=analyze,
        handlers=ways,
        show=show,
    )
    controller = controller_of(manager, loop, pools, workers=settings.workers)

    neighbours = in_namespace(pools)
    controller.watch(clusters, neighbours, predicate=changed(_of_cluster))
    for dependent in dependents:
        if dependent.objects is not None:
            controller.watch(dependent.objects, neighbours, predicate=appeared_or_went)
    manager.add(controller)


def _of_cluster(cluster: CephCluster) -> tuple[object, ...]:
    """What pools depend on."""
    status = cluster.status
    return obstacles(status.ceph), status.ceph.health, status.storage.device_classes
