"""CephClient: what `controller.framework.kind` runs for each user, and what brings about a look."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from controller.apis.ceph import CEPH_CLUSTER, CephClient, CephCluster
from controller.ceph.access.reach import answers_otherwise
from controller.ceph.client.act import CLIENTS, handlers
from controller.ceph.client.analyze import analyze
from controller.ceph.client.observe import Observer
from controller.ceph.client.spec import secret_name
from controller.ceph.client.status import show
from controller.framework.deletion import Dependent, of_namespace
from controller.framework.kind import ControlLoop, controller_of
from controller.runtime import Request, in_namespace, resource_of
from controller.runtime.kube import SECRET, Secret

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from controller.ceph.access.rados import Connections
    from controller.ceph.client.observe import ClientObservation
    from controller.framework.plan import Handler
    from controller.framework.settings import Settings
    from controller.runtime import Manager
    from controller.runtime.kube import HasMetadata
    from informers import InformerFactory

CLUSTERS = resource_of(CEPH_CLUSTER)
FINALIZER = "cephclient.ceph.rook.io"

BY_SECRET = "secret"  # noqa: S105  the name of an index
"""The index of CephClients by namespace and name of the Secret with their key."""


def dependents(informers: InformerFactory) -> Dependent[HasMetadata]:
    """CephClients as what uses the cluster of their namespace."""
    return of_namespace(informers.informer(CLIENTS, CephClient))


def register(manager: Manager, settings: Settings, connections: Connections) -> None:
    """Has `manager` reconcile CephClients."""
    clients = manager.informers.informer(CLIENTS, CephClient)
    clients.add_index(BY_SECRET, lambda found: (f"{found.metadata.namespace}/{secret_name(found)}",))
    clusters = manager.informers.informer(CLUSTERS, CephCluster)
    secrets = manager.informers.informer(SECRET, Secret)

    def ways(client: CephClient, _: ClientObservation) -> Mapping[type, Handler]:
        """None while there is no way to the cluster: nothing is planned then."""
        ceph = connections.get(client.metadata.namespace)
        return {} if ceph is None else handlers(client, manager.client, manager.applier, ceph)

    loop = ControlLoop(
        resource=CLIENTS,
        finalizer=FINALIZER,
        observe=Observer(clusters, secrets, connections).observe,
        analyze=analyze,
        handlers=ways,
        show=show,
    )
    controller = controller_of(manager, loop, clients, workers=settings.workers)

    def named(secret: Secret) -> Iterable[Request]:
        """Those that keep their key in this Secret, or would, were it not another's."""
        meta = secret.metadata
        return itertools.starmap(Request, clients.keys_by_index(BY_SECRET, f"{meta.namespace}/{meta.name}"))

    controller.watch(clusters, in_namespace(clients), predicate=answers_otherwise)
    controller.watch(secrets, named)
    manager.add(controller)
