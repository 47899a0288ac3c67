"""CephNVMeOFGateway: what `controller.framework.kind` runs for each, and what brings about a look."""

from __future__ import annotations

from typing import TYPE_CHECKING

from controller.apis.ceph import (
    CEPH_BLOCK_POOL,
    CEPH_CLUSTER,
    CephBlockPool,
    CephCluster,
    CephNVMeOFGateway,
)
from controller.ceph import services
from controller.ceph.instances import Caches
from controller.ceph.nvmeof.act import RESOURCE, handlers
from controller.ceph.nvmeof.analyze import analyze
from controller.ceph.nvmeof.objects import GATEWAYS
from controller.ceph.nvmeof.observe import Observer
from controller.ceph.nvmeof.status import show
from controller.framework.changes import changed
from controller.framework.kind import ControlLoop, controller_of
from controller.runtime import Request, in_namespace, resource_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from controller.ceph.access.rados import Connections
    from controller.ceph.nvmeof.observe import GatewayObservation
    from controller.framework.plan import Handler
    from controller.framework.settings import Settings
    from controller.runtime import Manager
    from controller.runtime.kube import ConfigMap

CLUSTERS, POOLS = resource_of(CEPH_CLUSTER), resource_of(CEPH_BLOCK_POOL)
FINALIZER = "cephnvmeofgateway.ceph.rook.io"


def register(manager: Manager, settings: Settings, connections: Connections) -> None:
    """Has `manager` reconcile CephNVMeOFGateways.

    Args:
        manager: The process.
        settings: The operator's settings.
        connections: Ways to the clusters.
    """
    found = manager.informers.informer(RESOURCE, CephNVMeOFGateway)
    clusters = manager.informers.informer(CLUSTERS, CephCluster)
    pools = manager.informers.informer(POOLS, CephBlockPool)
    caches = Caches(manager.informers)

    def ways(gateway: CephNVMeOFGateway, seen: GatewayObservation) -> Mapping[type, Handler]:
        """Nothing is planned but to let go while there is no way to the cluster."""
        ceph = connections.get(gateway.metadata.namespace)
        own = services.handlers(manager, caches, ceph, seen.context)
        return own if ceph is None else own | handlers(gateway, seen.group_name, manager.client, ceph)

    loop = ControlLoop(
        resource=RESOURCE,
        finalizer=FINALIZER,
        observe=Observer(caches, clusters, pools, connections, manager.applier).observe,
        analyze=analyze,
        handlers=ways,
        show=show,
    )
    controller = controller_of(manager, loop, found, workers=settings.workers)

    def configured(config_map: ConfigMap) -> Iterable[Request]:
        """A gateway's own, or one that a spec names."""
        meta = config_map.metadata
        naming = (each.metadata for each in found.list(meta.namespace) if each.spec.config_map_ref == meta.name)
        return [*GATEWAYS.request(config_map), *(Request(each.namespace, each.name) for each in naming)]

    services.watch(controller, found, clusters, caches, GATEWAYS.request)
    controller.watch(pools, in_namespace(found), predicate=changed(_of_pool))
    controller.watch(caches.services, GATEWAYS.request)
    controller.watch(caches.config_maps, configured)
    manager.add(controller)


def _of_pool(pool: CephBlockPool) -> tuple[str, str]:
    return pool.spec.name, pool.status.phase
