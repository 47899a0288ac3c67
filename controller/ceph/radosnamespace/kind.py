"""CephBlockPoolRadosNamespace: what `controller.framework.kind` runs for each, and what brings about a look."""

from __future__ import annotations

from typing import TYPE_CHECKING

from controller.apis.ceph import CEPH_BLOCK_POOL, CEPH_CLUSTER, CephBlockPool, CephBlockPoolRadosNamespace, CephCluster
from controller.ceph.access.reach import answers_otherwise
from controller.ceph.mirroring import act as mirroring
from controller.ceph.radosnamespace.act import NAMESPACES, handlers
from controller.ceph.radosnamespace.analyze import analyze
from controller.ceph.radosnamespace.observe import Observer
from controller.ceph.radosnamespace.status import show
from controller.framework.changes import appeared_or_went, changed
from controller.framework.deletion import Dependent, of_named, of_namespace
from controller.framework.kind import ControlLoop, controller_of
from controller.runtime import Request, in_namespace, resource_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from controller.ceph.access.rados import Connections
    from controller.ceph.access.rados_namespaces import RadosNamespaces
    from controller.ceph.access.volumes import ClusterVolumes
    from controller.ceph.radosnamespace.observe import NamespaceObservation
    from controller.framework.plan import Handler
    from controller.framework.settings import Settings
    from controller.runtime import Manager
    from controller.runtime.kube import HasMetadata
    from informers import InformerFactory

CLUSTERS, POOLS = resource_of(CEPH_CLUSTER), resource_of(CEPH_BLOCK_POOL)
FINALIZER = "cephblockpoolradosnamespace.ceph.rook.io"


def dependents(informers: InformerFactory) -> Dependent[HasMetadata]:
    """RADOS namespaces as what uses the cluster of their Kubernetes namespace."""
    return of_namespace(informers.informer(NAMESPACES, CephBlockPoolRadosNamespace))


def of_pool(informers: InformerFactory) -> Dependent[HasMetadata]:
    """RADOS namespaces as what uses the pool that they name."""
    kind = CephBlockPoolRadosNamespace
    return of_named(informers.informer(NAMESPACES, kind), kind, lambda found: found.spec.block_pool_name)


def register(
    manager: Manager,
    settings: Settings,
    connections: Connections,
    namespaces: RadosNamespaces,
    volumes: ClusterVolumes,
) -> None:
    """Has `manager` reconcile CephBlockPoolRadosNamespaces.

    Args:
        manager: The process.
        settings: The operator's settings.
        connections: Ways to the clusters.
        namespaces: Those that there are, by clusterID.
        volumes: The PersistentVolumes, by clusterID.
    """
    clusters = manager.informers.informer(CLUSTERS, CephCluster)
    pools = manager.informers.informer(POOLS, CephBlockPool)

    def ways(namespace: CephBlockPoolRadosNamespace, _: NamespaceObservation) -> Mapping[type, Handler]:
        """None while there is no way to the cluster: nothing is planned then."""
        ceph = connections.get(namespace.metadata.namespace)
        return {} if ceph is None else {**handlers(namespace, manager.client, ceph), **mirroring.handlers(ceph)}

    loop = ControlLoop(
        resource=NAMESPACES,
        finalizer=FINALIZER,
        observe=Observer(namespaces, clusters, volumes, connections).observe,
        analyze=analyze,
        handlers=ways,
        show=show,
    )
    controller = controller_of(manager, loop, namespaces.objects, workers=settings.workers)

    def everyone(_: HasMetadata) -> Iterable[Request]:
        """A clusterID is free, or taken, in all Kubernetes namespaces."""
        return [Request(*key) for key in namespaces.objects.keys(None)]

    controller.watch(clusters, in_namespace(namespaces.objects), predicate=answers_otherwise)
    controller.watch(clusters, everyone, predicate=appeared_or_went)
    controller.watch(pools, in_namespace(namespaces.objects), predicate=changed(_phase))
    controller.watch(namespaces.objects, everyone, predicate=appeared_or_went)
    manager.add(controller)


def _phase(pool: CephBlockPool) -> str:
    return pool.status.phase
