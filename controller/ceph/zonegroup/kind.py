"""CephObjectZoneGroup: what `controller.framework.kind` runs for each zone group, and what brings about a look."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from controller.apis.ceph import CEPH_OBJECT_REALM, CephObjectRealm, CephObjectZoneGroup
from controller.ceph.multisite import work
from controller.ceph.multisite.watches import made_otherwise, watch_ground
from controller.ceph.zonegroup.act import ZONE_GROUPS
from controller.ceph.zonegroup.analyze import analyze
from controller.ceph.zonegroup.observe import Observer
from controller.ceph.zonegroup.status import show
from controller.framework.deletion import Dependents, of_named, of_namespace, watch_users
from controller.framework.kind import ControlLoop, controller_of
from controller.runtime import in_namespace, resource_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from controller.ceph.access.rados import Connections
    from controller.ceph.multisite.ground import Grounds
    from controller.ceph.zonegroup.observe import ZoneGroupObservation
    from controller.framework.deletion import Dependent
    from controller.framework.plan import Handler
    from controller.framework.settings import Settings
    from controller.runtime import Manager
    from controller.runtime.kube import HasMetadata
    from informers import InformerFactory

FINALIZER = "cephobjectzonegroup.ceph.rook.io"


def dependents(informers: InformerFactory) -> Dependent[HasMetadata]:
    """CephObjectZoneGroups as what uses the cluster of their namespace."""
    return of_namespace(informers.informer(ZONE_GROUPS, CephObjectZoneGroup))


def of_realm(informers: InformerFactory) -> Dependent[HasMetadata]:
    """CephObjectZoneGroups as what uses the realm that they name."""
    kind = CephObjectZoneGroup
    return of_named(informers.informer(ZONE_GROUPS, kind), kind, lambda group: group.spec.realm)


def register(
    manager: Manager,
    settings: Settings,
    connections: Connections,
    grounds: Grounds,
    dependents: Sequence[Dependent[CephObjectZoneGroup]] = (),
) -> None:
    """Has `manager` reconcile CephObjectZoneGroups.

    Args:
        manager: The process.
        settings: The operator's settings.
        connections: Ways to the clusters.
        grounds: Observes what all of multisite goes by.
        dependents: The kinds whose objects use a zone group.
    """
    groups = manager.informers.informer(ZONE_GROUPS, CephObjectZoneGroup)
    realms = manager.informers.informer(resource_of(CEPH_OBJECT_REALM), CephObjectRealm)

    def ways(group: CephObjectZoneGroup, seen: ZoneGroupObservation) -> Mapping[type, Handler]:
        return work.handlers(manager, grounds.caches, seen.ground, connections.get(group.metadata.namespace))

    loop = ControlLoop(
        resource=ZONE_GROUPS,
        finalizer=FINALIZER,
        observe=Observer(grounds, realms, Dependents(tuple(dependents))).observe,
        analyze=partial(analyze, image=settings.operator_image),
        handlers=ways,
        show=show,
    )
    controller = controller_of(manager, loop, groups, workers=settings.workers)
    watch_ground(controller, grounds, groups)
    watch_users(controller, dependents, in_namespace(groups))
    controller.watch(realms, in_namespace(groups), predicate=made_otherwise)
    manager.add(controller)
