"""CephNFS: what `controller.framework.kind` runs for each, and what brings about a look."""

from __future__ import annotations

from typing import TYPE_CHECKING

from controller.apis.ceph import CEPH_BLOCK_POOL, CEPH_CLUSTER, CephBlockPool, CephCluster, CephNFS
from controller.ceph import services
from controller.ceph.instances import Caches
from controller.ceph.nfs.act import SERVERS, handlers
from controller.ceph.nfs.analyze import analyze
from controller.ceph.nfs.objects import NFS
from controller.ceph.nfs.observe import Observer
from controller.ceph.nfs.status import show
from controller.framework.changes import changed
from controller.framework.deletion import Dependents, watch_users
from controller.framework.kind import ControlLoop, controller_of
from controller.runtime import in_namespace, resource_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from controller.ceph.access.rados import Connections
    from controller.ceph.nfs.observe import NfsObservation
    from controller.framework.deletion import Dependent
    from controller.framework.plan import Handler
    from controller.framework.settings import Settings
    from controller.runtime import Manager

CLUSTERS, POOLS = resource_of(CEPH_CLUSTER), resource_of(CEPH_BLOCK_POOL)
FINALIZER = "cephnfs.ceph.rook.io"


def register(
    manager: Manager,
    settings: Settings,
    connections: Connections,
    dependents: Sequence[Dependent[CephNFS]] = (),
) -> None:
    """Has `manager` reconcile CephNFSs.

    Args:
        manager: The process.
        settings: The operator's settings.
        connections: Ways to the clusters.
        dependents: The kinds whose objects use NFS servers.
    """
    found = manager.informers.informer(SERVERS, CephNFS)
    clusters = manager.informers.informer(CLUSTERS, CephCluster)
    pools = manager.informers.informer(POOLS, CephBlockPool)
    caches = Caches(manager.informers)
    using = Dependents[CephNFS](tuple(dependents))

    def ways(nfs: CephNFS, seen: NfsObservation) -> Mapping[type, Handler]:
        """Nothing is planned but to let go while there is no way to the cluster."""
        ceph = connections.get(nfs.metadata.namespace)
        own = services.handlers(manager, caches, ceph, seen.context)
        return own if ceph is None else own | handlers(nfs, manager.client, ceph, using.asking(manager.client, nfs))

    loop = ControlLoop(
        resource=SERVERS,
        finalizer=FINALIZER,
        observe=Observer(caches, clusters, pools, connections, manager.applier, using).observe,
        analyze=analyze,
        handlers=ways,
        show=show,
    )
    controller = controller_of(manager, loop, found, workers=settings.workers)

    neighbours = in_namespace(found)

    services.watch(controller, found, clusters, caches, NFS.request)
    controller.watch(pools, neighbours, predicate=changed(_of_pool))
    controller.watch(caches.services, NFS.request)
    controller.watch(caches.config_maps, NFS.request)
    watch_users(controller, dependents, neighbours)
    manager.add(controller)


def _of_pool(pool: CephBlockPool) -> tuple[str, str]:
    return pool.spec.name, pool.status.phase
