"""CephObjectStore: what `controller.framework.kind` runs for each object store, and what brings about a look."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from controller.apis.ceph import CEPH_BLOCK_POOL, CEPH_CLUSTER, CephBlockPool, CephCluster, CephObjectStore
from controller.ceph import services
from controller.ceph.objectstore.act import STORES, handlers
from controller.ceph.objectstore.analyze import analyze
from controller.ceph.objectstore.health import HealthChecks
from controller.ceph.objectstore.observe import FULL, Caches, Observer
from controller.ceph.objectstore.status import show
from controller.ceph.rgw.names import STORE_LABEL, admin_secret, certificate_secret
from controller.ceph.rgw.zones import NoZones
from controller.framework.changes import job_changed
from controller.framework.deletion import Dependents, of_namespace, watch_users
from controller.framework.kind import ControlLoop, controller_of
from controller.runtime import Request, in_namespace, resource_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from controller.ceph.access.rados import Connections
    from controller.ceph.objectstore.observe import StoreObservation
    from controller.ceph.rgw.stores import Stores
    from controller.ceph.rgw.zones import Zones
    from controller.framework.deletion import Dependent
    from controller.framework.plan import Handler
    from controller.framework.settings import Settings
    from controller.runtime import Manager
    from controller.runtime.kube import HasMetadata, Secret
    from informers import InformerFactory

CLUSTERS = resource_of(CEPH_CLUSTER)
POOLS = resource_of(CEPH_BLOCK_POOL)
FINALIZER = "cephobjectstore.ceph.rook.io"

BY_SECRET = "secret"  # noqa: S105  the name of an index
"""The index of CephObjectStores by namespace and name of each Secret that their gateways go by."""


def dependents(informers: InformerFactory) -> Dependent[HasMetadata]:
    """CephObjectStores as what uses the cluster of their namespace."""
    return of_namespace(informers.informer(STORES, CephObjectStore))


def register(
    manager: Manager,
    settings: Settings,
    connections: Connections,
    stores: Stores,
    *,
    zones: Zones | None = None,
    dependents: Sequence[Dependent[CephObjectStore]] = (),
) -> None:
    """Has `manager` reconcile CephObjectStores.

    Args:
        manager: The process.
        settings: The operator's settings.
        connections: Ways to the clusters.
        stores: Ways to the stores.
        zones: Where stores in CephObjectZones belong; None: nobody serves those.
        dependents: The kinds whose objects use a store.
    """
    objects = manager.informers.informer(STORES, CephObjectStore)
    objects.add_index(BY_SECRET, _secrets)
    clusters = manager.informers.informer(CLUSTERS, CephCluster)
    caches = Caches(manager.informers)
    using = Dependents[CephObjectStore](tuple(dependents))
    health = HealthChecks(stores)

    def ways(store: CephObjectStore, seen: StoreObservation) -> Mapping[type, Handler]:
        """Nothing is planned but to let go while there is no way to the cluster."""
        ceph = connections.get(store.metadata.namespace)
        own = services.handlers(manager, caches, ceph, seen.context)
        if ceph is None:
            return own
        return own | handlers(store, manager.client, ceph, using.asking(manager.client, store), seen)

    observer = Observer(
        caches,
        objects,
        manager.informers.informer(POOLS, CephBlockPool),
        clusters,
        connections,
        manager.applier,
        using,
        zones if zones is not None else NoZones(),
        health,
        settings.operator_image,
    )

    def forget(_: Request) -> None:
        health.forget(frozenset(store.metadata.uid for store in objects.list()))

    loop = ControlLoop(
        resource=STORES,
        finalizer=FINALIZER,
        observe=observer.observe,
        analyze=analyze,
        handlers=ways,
        show=show,
        forget=forget,
    )
    controller = controller_of(manager, loop, objects, workers=settings.workers)

    def own_only(obj: HasMetadata) -> Iterable[Request]:
        labels = obj.metadata.labels
        store = labels.get(STORE_LABEL, "")
        return [Request(obj.metadata.namespace, store)] if store else ()

    def named(secret: Secret) -> Iterable[Request]:
        """Stores whose gateways go by this Secret."""
        meta = secret.metadata
        return itertools.starmap(Request, objects.keys_by_index(BY_SECRET, f"{meta.namespace}/{meta.name}"))

    services.watch(controller, objects, clusters, caches, own_only, _of_cluster)
    controller.watch(caches.jobs, own_only, predicate=job_changed)
    controller.watch(caches.services, own_only)
    controller.watch(caches.secrets, named)
    watch_users(controller, dependents, in_namespace(objects))
    manager.add(controller)


def _secrets(store: CephObjectStore) -> tuple[str, ...]:
    gateway = store.spec.gateway
    names = {
        admin_secret(store.metadata.name),
        certificate_secret(store),
        gateway.ca_bundle_ref,
        *(reference.name for reference in gateway.rgw_config_from_secret.values()),
    }
    return tuple(f"{store.metadata.namespace}/{name}" for name in sorted(filter(None, names)))


def _of_cluster(cluster: CephCluster) -> tuple[object, ...]:
    """What stores depend on."""
    status = cluster.status
    full = [code for code in FULL if code in status.ceph.details]
    return *services.depends(cluster), status.storage.device_classes, full
