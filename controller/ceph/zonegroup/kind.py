"""CephObjectZoneGroup: what `controller.framework.kind` runs for each zone group, and what brings about a look."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from controller.apis.ceph import CEPH_OBJECT_REALM, CephObjectRealm, CephObjectZoneGroup
from controller.ceph.multisite import work
from controller.ceph.multisite.watches import made_otherwise, watch_ground, watch_users
from controller.ceph.zonegroup.act import ZONE_GROUPS
from controller.ceph.zonegroup.analyze import analyze
from controller.ceph.zonegroup.observe import Observer
from controller.ceph.zonegroup.status import show
from controller.framework.deletion import Dependent, Dependents, of_namespace
from controller.framework.kind import ControlLoop, controller_of
from controller.runtime import in_namespace, resource_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from controller.ceph.access.rados import Connections
    from controller.ceph.multisite.ground import Grounds
    from controller.ceph.zonegroup.observe import ZoneGroupObservation
    from controller.framework.plan import Handler
    from controller.framework.settings import Settings
    from controller.runtime import Manager
    from controller.runtime.kube import HasMetadata
    from informers import Client, InformerFactory

FINALIZER = "cephobjectzonegroup.ceph.rook.io"


def dependents(informers: InformerFactory) -> Dependent[HasMetadata]:
    """CephObjectZoneGroups as what uses the cluster of their namespace."""
    return of_namespace(informers.informer(ZONE_GROUPS, CephObjectZoneGroup))


def of_realm(informers: InformerFactory) -> Dependent[CephObjectRealm]:
    """CephObjectZoneGroups as what uses the realm that they name."""
    groups = informers.informer(ZONE_GROUPS, CephObjectZoneGroup)

    def known(realm: CephObjectRealm) -> list[str]:
        meta = realm.metadata
        return [found.metadata.name for found in groups.list(meta.namespace) if found.spec.realm == meta.name]

    async def asked(client: Client, realm: CephObjectRealm) -> list[str]:
        found = await client.list(ZONE_GROUPS, realm.metadata.namespace)
        return [each["metadata"]["name"] for each in found if each["spec"].get("realm") == realm.metadata.name]

    return Dependent(kind=ZONE_GROUPS.kind, known=known, asked=asked, objects=groups)


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
    watch_users(controller, dependents, groups)
    controller.watch(realms, in_namespace(groups), predicate=made_otherwise)
    manager.add(controller)
