"""CephBlockPool: what `controller.framework.kind` runs for each pool, and what brings about a look."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from controller.apis.ceph import CEPH_BLOCK_POOL, CEPH_CLUSTER, CephBlockPool, CephCluster
from controller.ceph.access.health import obstacles
from controller.ceph.access.reach import answers
from controller.ceph.mirroring import act as mirroring
from controller.ceph.mirroring.objects import TOKEN_OF_POOL
from controller.ceph.mirroring.sources import watched
from controller.ceph.pool.act import POOLS, handlers
from controller.ceph.pool.analyze import analyze
from controller.ceph.pool.observe import Observer
from controller.ceph.pool.status import show
from controller.framework import children
from controller.framework.changes import changed
from controller.framework.deletion import Dependents, of_namespace, watch_users
from controller.framework.kind import ControlLoop, controller_of
from controller.framework.workload import Owner
from controller.runtime import Request, in_namespace, resource_of
from controller.runtime.kube import SECRET, Secret

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from controller.ceph.access.rados import Connections
    from controller.ceph.pool.observe import BlockPoolObservation
    from controller.framework.deletion import Dependent
    from controller.framework.plan import Handler
    from controller.framework.settings import Settings
    from controller.runtime import Manager
    from controller.runtime.kube import HasMetadata
    from informers import InformerFactory

CLUSTERS = resource_of(CEPH_CLUSTER)
FINALIZER = "cephblockpool.ceph.rook.io"

BY_SECRET = "secret"  # noqa: S105  the name of an index
"""The index of CephBlockPools by namespace and name of the Secrets with tokens, their own and those of others."""


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
    pools.add_index(BY_SECRET, _secrets_of)
    secrets = manager.informers.informer(SECRET, Secret)
    using = Dependents[CephBlockPool](tuple(dependents))

    def ways(pool: CephBlockPool, _: BlockPoolObservation) -> Mapping[type, Handler]:
        """None while there is no way to the cluster: nothing is planned then."""
        ceph = connections.get(pool.metadata.namespace)
        if ceph is None:
            return {}
        owner = Owner.of(CEPH_BLOCK_POOL, pool.metadata)
        return {
            **handlers(pool, manager.client, ceph, using.asking(manager.client, pool)),
            **mirroring.handlers(ceph),
            **mirroring.peer_handlers(owner, manager.client, manager.applier, ceph),
            **children.handlers(manager.applier, manager.client, ()),
        }

    loop = ControlLoop(
        resource=POOLS,
        finalizer=FINALIZER,
        observe=Observer(clusters, secrets, connections, using).observe,
        analyze=analyze,
        handlers=ways,
        show=show,
    )
    controller = controller_of(manager, loop, pools, workers=settings.workers)

    neighbours = in_namespace(pools)

    def named(secret: Secret) -> Iterable[Request]:
        """Those that are mirrored by a token in this Secret."""
        meta = secret.metadata
        return itertools.starmap(Request, pools.keys_by_index(BY_SECRET, f"{meta.namespace}/{meta.name}"))

    controller.watch(clusters, neighbours, predicate=changed(_of_cluster))
    controller.watch(secrets, named)
    watch_users(controller, dependents, neighbours)
    manager.add(controller)


def _secrets_of(pool: CephBlockPool) -> tuple[str, ...]:
    spec = pool.spec.mirroring
    return watched(pool.metadata, TOKEN_OF_POOL, spec.peers.secret_names) if spec.enabled else ()


def _of_cluster(cluster: CephCluster) -> tuple[object, ...]:
    """What pools depend on."""
    status = cluster.status
    seen = obstacles(status.ceph), status.ceph.health, status.storage.device_classes, status.version.version
    return answers(cluster), *seen
