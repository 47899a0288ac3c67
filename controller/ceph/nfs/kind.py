"""CephNFS: what `controller.framework.kind` runs for each, and what brings about a look."""

from __future__ import annotations

from typing import TYPE_CHECKING

from controller.apis.ceph import CEPH_BLOCK_POOL, CEPH_CLUSTER, CephBlockPool, CephCluster, CephNFS
from controller.ceph.access import users
from controller.ceph.access.health import obstacles
from controller.ceph.instances import Caches
from controller.ceph.nfs.act import SERVERS, handlers
from controller.ceph.nfs.analyze import analyze
from controller.ceph.nfs.objects import NFS
from controller.ceph.nfs.observe import Observer
from controller.ceph.nfs.status import show
from controller.ceph.order import FIRST
from controller.framework import children
from controller.framework.changes import budget_changed, changed, deployment_changed, pod_changed
from controller.framework.deletion import Dependents, watch_users
from controller.framework.kind import ControlLoop, controller_of
from controller.runtime import in_namespace, resource_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from controller.ceph.access.rados import Connections
    from controller.ceph.nfs.observe import NfsObservation
    from controller.framework.deletion import Dependent
    from controller.framework.plan import Handler
    from controller.framework.settings import Settings
    from controller.runtime import Manager, Request
    from controller.runtime.kube import HasMetadata

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
        own = children.handlers(manager.applier, manager.client, caches.children)
        ceph = connections.get(nfs.metadata.namespace)
        if ceph is None:
            return own
        own |= handlers(nfs, manager.client, ceph, using.asking(manager.client, nfs))
        if seen.context is not None:
            own |= users.handlers(seen.context.owner, manager.applier, ceph)
        return own

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

    def concerned(obj: HasMetadata) -> Iterable[Request]:
        """Objects of servers are their CephNFS's; those of others matter to an upgrade."""
        return neighbours(obj) if obj.metadata.labels.get("ceph_daemon_type") in FIRST else NFS.request(obj)

    controller.watch(clusters, neighbours, predicate=changed(_of_cluster))
    controller.watch(pools, neighbours, predicate=changed(_of_pool))
    controller.watch(caches.deployments, concerned, predicate=deployment_changed)
    controller.watch(caches.pods, NFS.request, predicate=pod_changed)
    controller.watch(caches.budgets, NFS.request, predicate=budget_changed)
    controller.watch(caches.services, NFS.request)
    controller.watch(caches.config_maps, NFS.request)
    controller.watch(caches.secrets, NFS.request)
    watch_users(controller, dependents, neighbours)
    manager.add(controller)


def _of_cluster(cluster: CephCluster) -> tuple[object, ...]:
    """What NFS servers depend on."""
    status = cluster.status
    return cluster.metadata.generation, obstacles(status.ceph), status.ceph.health, status.version


def _of_pool(pool: CephBlockPool) -> tuple[str, str]:
    return pool.spec.name, pool.status.phase
