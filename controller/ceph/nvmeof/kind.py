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
from controller.ceph.access import users
from controller.ceph.access.health import obstacles
from controller.ceph.instances import Caches
from controller.ceph.nvmeof.act import RESOURCE, handlers
from controller.ceph.nvmeof.analyze import analyze
from controller.ceph.nvmeof.objects import GATEWAYS
from controller.ceph.nvmeof.observe import Observer
from controller.ceph.nvmeof.status import show
from controller.ceph.order import FIRST
from controller.framework import children
from controller.framework.changes import budget_changed, changed, deployment_changed, pod_changed
from controller.framework.kind import ControlLoop, controller_of
from controller.runtime import Request, in_namespace, resource_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from controller.ceph.access.rados import Connections
    from controller.ceph.nvmeof.observe import GatewayObservation
    from controller.framework.plan import Handler
    from controller.framework.settings import Settings
    from controller.runtime import Manager
    from controller.runtime.kube import ConfigMap, HasMetadata

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
        own = children.handlers(manager.applier, manager.client, caches.children)
        ceph = connections.get(gateway.metadata.namespace)
        if ceph is None:
            return own
        own |= handlers(gateway, seen.group_name, manager.client, ceph)
        if seen.context is not None:
            own |= users.handlers(seen.context.owner, manager.applier, ceph)
        return own

    loop = ControlLoop(
        resource=RESOURCE,
        finalizer=FINALIZER,
        observe=Observer(caches, clusters, pools, connections, manager.applier).observe,
        analyze=analyze,
        handlers=ways,
        show=show,
    )
    controller = controller_of(manager, loop, found, workers=settings.workers)

    neighbours = in_namespace(found)

    def concerned(obj: HasMetadata) -> Iterable[Request]:
        """Objects of gateways are their CephNVMeOFGateway's; those of others matter to an upgrade."""
        return neighbours(obj) if obj.metadata.labels.get("ceph_daemon_type") in FIRST else GATEWAYS.request(obj)

    def configured(config_map: ConfigMap) -> Iterable[Request]:
        """A gateway's own, or one that a spec names."""
        meta = config_map.metadata
        naming = (each.metadata for each in found.list(meta.namespace) if each.spec.config_map_ref == meta.name)
        return [*GATEWAYS.request(config_map), *(Request(each.namespace, each.name) for each in naming)]

    controller.watch(clusters, neighbours, predicate=changed(_of_cluster))
    controller.watch(pools, neighbours, predicate=changed(_of_pool))
    controller.watch(caches.deployments, concerned, predicate=deployment_changed)
    controller.watch(caches.pods, GATEWAYS.request, predicate=pod_changed)
    controller.watch(caches.budgets, GATEWAYS.request, predicate=budget_changed)
    controller.watch(caches.services, GATEWAYS.request)
    controller.watch(caches.config_maps, configured)
    controller.watch(caches.secrets, GATEWAYS.request)
    manager.add(controller)


def _of_cluster(cluster: CephCluster) -> tuple[object, ...]:
    """What gateways depend on."""
    status = cluster.status
    return cluster.metadata.generation, obstacles(status.ceph), status.ceph.health, status.version


def _of_pool(pool: CephBlockPool) -> tuple[str, str]:
    return pool.spec.name, pool.status.phase
