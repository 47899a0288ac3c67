"""CephFilesystemMirror: what `controller.framework.kind` runs for each, and what brings about a look.

There is one daemon for all file systems of a cluster: more than one is not tested by Ceph.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from controller.apis.ceph import CEPH_FILESYSTEM_MIRROR, CephCluster, CephFilesystemMirror
from controller.ceph.fsmirror.spec import DAEMON, unserved
from controller.ceph.mirroring import daemon_kind, daemon_plan
from controller.ceph.mirroring.daemon_kind import CLUSTERS
from controller.ceph.mirroring.daemon_plan import AT_REST, WHILE_WAITING
from controller.ceph.mirroring.daemon_state import Caches, DaemonObservation, DaemonObserver
from controller.framework.deletion import of_namespace
from controller.framework.kind import ControlLoop, controller_of
from controller.framework.plan import Plan
from controller.runtime import resource_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from controller.apis.ceph import MirrorDaemonStatus
    from controller.ceph.access.rados import Connections
    from controller.framework.deletion import Dependent
    from controller.framework.kind import Look
    from controller.framework.plan import Handler, Outcome
    from controller.framework.settings import Settings
    from controller.runtime import Manager
    from controller.runtime.kube import HasMetadata
    from informers import InformerFactory

MIRRORS = resource_of(CEPH_FILESYSTEM_MIRROR)
FINALIZER = "cephfilesystemmirror.ceph.rook.io"


def dependents(informers: InformerFactory) -> Dependent[HasMetadata]:
    """CephFilesystemMirrors as what uses the cluster of their namespace."""
    return of_namespace(informers.informer(MIRRORS, CephFilesystemMirror))


def analyze(mirror: CephFilesystemMirror, seen: DaemonObservation) -> Plan:
    """The plan for the daemon. Pure."""
    if mirror.metadata.deletion_timestamp is not None:
        steps = tuple(daemon_plan.deletion(DAEMON, MIRRORS.kind, seen))
    else:
        steps = tuple(daemon_plan.steps(DAEMON, MIRRORS.kind, seen, 1))
    return Plan(steps=steps, look_again=WHILE_WAITING if steps else AT_REST)


def show(look: Look[CephFilesystemMirror], _: DaemonObservation, outcome: Outcome) -> MirrorDaemonStatus:
    """See `controller.framework.kind.ControlLoop`. Pure."""
    return msgspec.structs.replace(look.obj.status, **daemon_kind.shown(look, outcome, unserved(look.spec)))


def register(manager: Manager, settings: Settings, connections: Connections) -> None:
    """Has `manager` reconcile CephFilesystemMirrors."""
    mirrors = manager.informers.informer(MIRRORS, CephFilesystemMirror)
    clusters = manager.informers.informer(CLUSTERS, CephCluster)
    caches = Caches(manager.informers)
    daemons = DaemonObserver(DAEMON, CEPH_FILESYSTEM_MIRROR, caches, mirrors, clusters, connections, manager.applier)

    async def observe(mirror: CephFilesystemMirror, _: float) -> DaemonObservation:
        seen, _ceph = await daemons.observe(mirror.metadata, mirror.spec)
        return seen

    def ways(mirror: CephFilesystemMirror, seen: DaemonObservation) -> Mapping[type, Handler]:
        return daemon_kind.handlers(manager, caches, connections.get(mirror.metadata.namespace), seen)

    loop = ControlLoop(
        resource=MIRRORS, finalizer=FINALIZER, observe=observe, analyze=analyze, handlers=ways, show=show
    )
    controller = controller_of(manager, loop, mirrors, workers=settings.workers)
    daemon_kind.watch(controller, DAEMON, caches, mirrors, clusters)
    manager.add(controller)
