"""CephObjectRealm: what `controller.framework.kind` runs for each realm, and what brings about a look."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from controller.apis.ceph import CEPH_OBJECT_STORE, CephObjectRealm, CephObjectStore
from controller.ceph.multisite import work
from controller.ceph.multisite.watches import watch_ground
from controller.ceph.realm.act import REALMS, handlers
from controller.ceph.realm.analyze import analyze
from controller.ceph.realm.observe import Observer
from controller.ceph.realm.status import show
from controller.ceph.rgw.names import realm_secret
from controller.framework.deletion import Dependents, of_namespace, watch_users
from controller.framework.kind import ControlLoop, controller_of
from controller.runtime import Request, in_namespace, resource_of
from controller.runtime.kube import Secret

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from controller.ceph.access.rados import Connections
    from controller.ceph.multisite.ground import Grounds
    from controller.ceph.realm.observe import RealmObservation
    from controller.framework.deletion import Dependent
    from controller.framework.plan import Handler
    from controller.framework.settings import Settings
    from controller.runtime import Manager
    from controller.runtime.kube import HasMetadata
    from informers import InformerFactory

FINALIZER = "cephobjectrealm.ceph.rook.io"


def dependents(informers: InformerFactory) -> Dependent[HasMetadata]:
    """CephObjectRealms as what uses the cluster of their namespace."""
    return of_namespace(informers.informer(REALMS, CephObjectRealm))


def register(
    manager: Manager,
    settings: Settings,
    connections: Connections,
    grounds: Grounds,
    dependents: Sequence[Dependent[CephObjectRealm]] = (),
) -> None:
    """Has `manager` reconcile CephObjectRealms.

    Args:
        manager: The process.
        settings: The operator's settings.
        connections: Ways to the clusters.
        grounds: Observes what all of multisite goes by.
        dependents: The kinds whose objects use a realm.
    """
    realms = manager.informers.informer(REALMS, CephObjectRealm)
    stores = manager.informers.informer(resource_of(CEPH_OBJECT_STORE), CephObjectStore)

    def ways(realm: CephObjectRealm, seen: RealmObservation) -> Mapping[type, Handler]:
        ceph = connections.get(realm.metadata.namespace)
        return work.handlers(manager, grounds.caches, seen.ground, ceph) | handlers(realm, manager.client)

    loop = ControlLoop(
        resource=REALMS,
        finalizer=FINALIZER,
        observe=Observer(grounds, stores, Dependents(tuple(dependents))).observe,
        analyze=partial(analyze, image=settings.operator_image),
        handlers=ways,
        show=show,
    )
    controller = controller_of(manager, loop, realms, workers=settings.workers)
    watch_ground(controller, grounds, realms)
    watch_users(controller, dependents, in_namespace(realms))

    def of_secret(secret: Secret) -> Iterable[Request]:
        """The realm whose keys are in a Secret, whoever made that."""
        meta = secret.metadata
        name = meta.name.removesuffix(realm_secret(""))
        return (Request(meta.namespace, name),) if realms.get(meta.namespace, name) is not None else ()

    controller.watch(grounds.caches.secrets, of_secret)
    manager.add(controller)
