"""CephObjectZone: what `controller.framework.kind` runs for each zone, and what brings about a look."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from controller.apis.ceph import (
    CEPH_OBJECT_STORE,
    CEPH_OBJECT_ZONE_GROUP,
    CephObjectStore,
    CephObjectZone,
    CephObjectZoneGroup,
)
from controller.ceph.multisite import work
from controller.ceph.multisite.watches import made_otherwise, watch_ground
from controller.ceph.pools.observe import observe as observe_pool
from controller.ceph.rgw.stores import reached_otherwise
from controller.ceph.zone.act import ZONES, handlers
from controller.ceph.zone.analyze import analyze
from controller.ceph.zone.observe import Observer, contents
from controller.ceph.zone.spec import pools_of
from controller.ceph.zone.status import show
from controller.framework.deletion import Dependents, of_named, of_namespace, watch_users
from controller.framework.kind import ControlLoop, controller_of
from controller.runtime import Request, in_namespace, resource_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from controller.ceph.access.rados import Connections
    from controller.ceph.multisite.gateways import Gateways
    from controller.ceph.multisite.ground import Grounds
    from controller.ceph.zone.observe import ZoneObservation
    from controller.framework.deletion import Dependent
    from controller.framework.plan import Handler
    from controller.framework.settings import Settings
    from controller.runtime import Manager
    from controller.runtime.kube import HasMetadata
    from informers import InformerFactory

STORES, ZONE_GROUPS = resource_of(CEPH_OBJECT_STORE), resource_of(CEPH_OBJECT_ZONE_GROUP)
FINALIZER = "cephobjectzone.ceph.rook.io"


def dependents(informers: InformerFactory) -> Dependent[HasMetadata]:
    """CephObjectZones as what uses the cluster of their namespace."""
    return of_namespace(informers.informer(ZONES, CephObjectZone))


def of_group(informers: InformerFactory) -> Dependent[HasMetadata]:
    """CephObjectZones as what uses the zone group that they name."""
    kind = CephObjectZone
    return of_named(informers.informer(ZONES, kind), kind, lambda zone: zone.spec.zone_group)


def stores_in(informers: InformerFactory) -> Dependent[HasMetadata]:
    """CephObjectStores as what uses the zone that they are in."""
    kind = CephObjectStore
    return of_named(informers.informer(STORES, kind), kind, lambda store: store.spec.zone.name)


def register(
    manager: Manager, settings: Settings, connections: Connections, grounds: Grounds, gateways: Gateways
) -> None:
    """Has `manager` reconcile CephObjectZones.

    Args:
        manager: The process.
        settings: The operator's settings.
        connections: Ways to the clusters.
        grounds: Observes what all of multisite goes by.
        gateways: Asks the zones' gateways.
    """
    informers, client = manager.informers, manager.client
    zones, stores = informers.informer(ZONES, CephObjectZone), informers.informer(STORES, CephObjectStore)
    groups = informers.informer(ZONE_GROUPS, CephObjectZoneGroup)
    using = (stores_in(informers),)
    observer = Observer(grounds, groups, stores, connections, gateways, Dependents(using))

    def ways(zone: CephObjectZone, seen: ZoneObservation) -> Mapping[type, Handler]:
        ceph = connections.get(zone.metadata.namespace)
        own = work.handlers(manager, grounds.caches, seen.ground, ceph)
        if ceph is None:
            return own

        async def inside() -> tuple[str, ...]:
            found = {pool.name: await observe_pool(ceph, pool.name, pool.spec) for pool in pools_of(zone)}
            return await contents(ceph, zone, seen.realm, found)

        return own | handlers(zone, client, ceph, lambda: observer.in_sync(zone, seen.realm), inside)

    def forget(request: Request) -> None:
        gateways.forget(request.namespace, request.name)

    loop = ControlLoop(
        resource=ZONES,
        finalizer=FINALIZER,
        observe=observer.observe,
        analyze=partial(analyze, image=settings.operator_image),
        handlers=ways,
        show=show,
        forget=forget,
    )
    controller = controller_of(manager, loop, zones, workers=settings.workers)

    def of_store(store: CephObjectStore) -> Iterable[Request]:
        name = store.spec.zone.name
        return (Request(store.metadata.namespace, name),) if name else ()

    watch_ground(controller, grounds, zones)
    watch_users(controller, using, in_namespace(zones))
    controller.watch(groups, in_namespace(zones), predicate=made_otherwise)
    controller.watch(stores, of_store, predicate=reached_otherwise)
    manager.add(controller)
