"""CephFilesystemSubVolumeGroup: what `controller.framework.kind` runs for each group, and what brings about a look."""

from __future__ import annotations

from typing import TYPE_CHECKING

from controller.apis.ceph import (
    CEPH_CLUSTER,
    CEPH_FILESYSTEM,
    CephCluster,
    CephFilesystem,
    CephFilesystemSubVolumeGroup,
)
from controller.ceph.access.reach import answers_otherwise
from controller.ceph.subvolumegroup.act import GROUPS, handlers
from controller.ceph.subvolumegroup.analyze import analyze
from controller.ceph.subvolumegroup.observe import Observer
from controller.ceph.subvolumegroup.status import show
from controller.framework.changes import changed
from controller.framework.deletion import Dependent, of_named, of_namespace
from controller.framework.kind import ControlLoop, controller_of
from controller.runtime import in_namespace, resource_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from controller.ceph.access.rados import Connections
    from controller.ceph.subvolumegroup.observe import GroupObservation
    from controller.framework.plan import Handler
    from controller.framework.settings import Settings
    from controller.runtime import Manager
    from controller.runtime.kube import HasMetadata
    from informers import InformerFactory

CLUSTERS, FILESYSTEMS = resource_of(CEPH_CLUSTER), resource_of(CEPH_FILESYSTEM)
FINALIZER = "cephfilesystemsubvolumegroup.ceph.rook.io"


def dependents(informers: InformerFactory) -> Dependent[HasMetadata]:
    """Groups as what uses the cluster of their namespace."""
    return of_namespace(informers.informer(GROUPS, CephFilesystemSubVolumeGroup))


def of_filesystem(informers: InformerFactory) -> Dependent[HasMetadata]:
    """Groups as what uses the file system that they name."""
    kind = CephFilesystemSubVolumeGroup
    return of_named(informers.informer(GROUPS, kind), kind, lambda found: found.spec.filesystem_name)


def register(manager: Manager, settings: Settings, connections: Connections) -> None:
    """Has `manager` reconcile CephFilesystemSubVolumeGroups."""
    groups = manager.informers.informer(GROUPS, CephFilesystemSubVolumeGroup)
    clusters = manager.informers.informer(CLUSTERS, CephCluster)
    filesystems = manager.informers.informer(FILESYSTEMS, CephFilesystem)

    def ways(group: CephFilesystemSubVolumeGroup, _: GroupObservation) -> Mapping[type, Handler]:
        """None while there is no way to the cluster: nothing is planned then."""
        ceph = connections.get(group.metadata.namespace)
        return {} if ceph is None else handlers(group, manager.client, ceph)

    loop = ControlLoop(
        resource=GROUPS,
        finalizer=FINALIZER,
        observe=Observer(clusters, connections).observe,
        analyze=analyze,
        handlers=ways,
        show=show,
    )
    controller = controller_of(manager, loop, groups, workers=settings.workers)

    controller.watch(clusters, in_namespace(groups), predicate=answers_otherwise)
    controller.watch(filesystems, in_namespace(groups), predicate=changed(_phase))
    manager.add(controller)


def _phase(filesystem: CephFilesystem) -> str:
    return filesystem.status.phase
