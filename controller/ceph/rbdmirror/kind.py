"""CephRBDMirror: what `controller.framework.kind` runs for each, and what brings about a look."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from controller.apis.ceph import CEPH_RBD_MIRROR, CephCluster, CephRBDMirror
from controller.ceph.mirroring import act as mirroring
from controller.ceph.mirroring import daemon_kind
from controller.ceph.mirroring.daemon_kind import CLUSTERS
from controller.ceph.mirroring.daemon_state import Caches, DaemonObserver
from controller.ceph.rbdmirror.analyze import analyze
from controller.ceph.rbdmirror.observe import Observer
from controller.ceph.rbdmirror.spec import DAEMON
from controller.ceph.rbdmirror.status import show
from controller.framework.deletion import of_namespace
from controller.framework.kind import ControlLoop, controller_of
from controller.framework.workload import Owner
from controller.runtime import Request, resource_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from controller.ceph.access.rados import Connections
    from controller.ceph.rbdmirror.observe import RbdMirrorObservation
    from controller.framework.deletion import Dependent
    from controller.framework.plan import Handler
    from controller.framework.settings import Settings
    from controller.runtime import Manager
    from controller.runtime.kube import HasMetadata, Secret
    from informers import InformerFactory

MIRRORS = resource_of(CEPH_RBD_MIRROR)
FINALIZER = "cephrbdmirror.ceph.rook.io"
BY_SECRET = "secret"  # noqa: S105  the name of an index
"""The index of CephRBDMirrors by namespace and name of the Secrets with tokens of other clusters."""


def dependents(informers: InformerFactory) -> Dependent[HasMetadata]:
    """CephRBDMirrors as what uses the cluster of their namespace."""
    return of_namespace(informers.informer(MIRRORS, CephRBDMirror))


def register(manager: Manager, settings: Settings, connections: Connections) -> None:
    """Has `manager` reconcile CephRBDMirrors."""
    mirrors = manager.informers.informer(MIRRORS, CephRBDMirror)
    mirrors.add_index(BY_SECRET, _secrets_of)
    clusters = manager.informers.informer(CLUSTERS, CephCluster)
    caches = Caches(manager.informers)
    daemons = DaemonObserver(DAEMON, CEPH_RBD_MIRROR, caches, mirrors, clusters, connections, manager.applier)

    def ways(mirror: CephRBDMirror, seen: RbdMirrorObservation) -> Mapping[type, Handler]:
        ceph = connections.get(mirror.metadata.namespace)
        own = daemon_kind.handlers(manager, caches, ceph, seen.daemons)
        if ceph is not None:
            owner = Owner.of(CEPH_RBD_MIRROR, mirror.metadata)
            own |= mirroring.peer_handlers(owner, manager.client, manager.applier, ceph)
        return own

    loop = ControlLoop(
        resource=MIRRORS,
        finalizer=FINALIZER,
        observe=Observer(daemons, caches).observe,
        analyze=analyze,
        handlers=ways,
        show=show,
    )
    controller = controller_of(manager, loop, mirrors, workers=settings.workers)

    def named(secret: Secret) -> Iterable[Request]:
        meta = secret.metadata
        return itertools.starmap(Request, mirrors.keys_by_index(BY_SECRET, f"{meta.namespace}/{meta.name}"))

    daemon_kind.watch(controller, DAEMON, caches, mirrors, clusters)
    controller.watch(caches.secrets, named)
    manager.add(controller)


def _secrets_of(mirror: CephRBDMirror) -> tuple[str, ...]:
    return tuple(f"{mirror.metadata.namespace}/{name}" for name in mirror.spec.peers.secret_names)
