"""CephFilesystem: what `controller.framework.kind` runs for each file system, and what brings about a look."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from controller.apis.ceph import CEPH_CLUSTER, CEPH_FILESYSTEM, CephCluster, CephFilesystem
from controller.ceph import services
from controller.ceph.filesystem.act import FILESYSTEMS, handlers
from controller.ceph.filesystem.analyze import analyze
from controller.ceph.filesystem.mirroring import act as mirroring
from controller.ceph.filesystem.objects import APP, FILESYSTEM_LABEL
from controller.ceph.filesystem.observe import Caches, Observer
from controller.ceph.filesystem.status import show
from controller.ceph.mirroring.objects import TOKEN_OF_FILESYSTEM
from controller.ceph.mirroring.sources import watched
from controller.framework.deletion import Dependents, of_namespace, watch_users
from controller.framework.kind import ControlLoop, controller_of
from controller.framework.workload import Owner
from controller.runtime import Request, in_namespace, resource_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from controller.ceph.access.rados import Connections
    from controller.ceph.filesystem.observe import FilesystemObservation
    from controller.framework.deletion import Dependent
    from controller.framework.plan import Handler
    from controller.framework.settings import Settings
    from controller.runtime import Manager
    from controller.runtime.kube import HasMetadata, Secret
    from informers import InformerFactory

CLUSTERS = resource_of(CEPH_CLUSTER)
FINALIZER = "cephfilesystem.ceph.rook.io"
BY_SECRET = "secret"  # noqa: S105  the name of an index
"""The index of CephFilesystems by namespace and name of the Secrets with tokens, their own and those of others."""


def dependents(informers: InformerFactory) -> Dependent[HasMetadata]:
    """CephFilesystems as what uses the cluster of their namespace."""
    return of_namespace(informers.informer(FILESYSTEMS, CephFilesystem))


def register(
    manager: Manager,
    settings: Settings,
    connections: Connections,
    dependents: Sequence[Dependent[CephFilesystem]] = (),
) -> None:
    """Has `manager` reconcile CephFilesystems.

    Args:
        manager: The process.
        settings: The operator's settings.
        connections: Ways to the clusters.
        dependents: The kinds whose objects use a file system.
    """
    filesystems = manager.informers.informer(FILESYSTEMS, CephFilesystem)
    clusters = manager.informers.informer(CLUSTERS, CephCluster)
    caches = Caches(manager.informers)
    filesystems.add_index(BY_SECRET, _secrets_of)
    using = Dependents[CephFilesystem](tuple(dependents))

    def ways(filesystem: CephFilesystem, seen: FilesystemObservation) -> Mapping[type, Handler]:
        """Nothing is planned but to let go while there is no way to the cluster."""
        ceph = connections.get(filesystem.metadata.namespace)
        own = services.handlers(manager, caches, ceph, seen.context)
        if ceph is None:
            return own
        own |= handlers(filesystem, manager.client, ceph, using.asking(manager.client, filesystem))
        owner = Owner.of(CEPH_FILESYSTEM, filesystem.metadata)
        return own | mirroring.handlers(owner, manager.client, manager.applier, ceph)

    loop = ControlLoop(
        resource=FILESYSTEMS,
        finalizer=FINALIZER,
        observe=Observer(caches, filesystems, clusters, connections, manager.applier, using).observe,
        analyze=analyze,
        handlers=ways,
        show=show,
    )
    controller = controller_of(manager, loop, filesystems, workers=settings.workers)

    def of_mds(obj: HasMetadata) -> Iterable[Request]:
        labels = obj.metadata.labels
        return [Request(obj.metadata.namespace, labels.get(FILESYSTEM_LABEL, ""))] if labels.get("app") == APP else ()

    def named(secret: Secret) -> Iterable[Request]:
        """Those that are mirrored by a token in this Secret."""
        meta = secret.metadata
        return itertools.starmap(Request, filesystems.keys_by_index(BY_SECRET, f"{meta.namespace}/{meta.name}"))

    services.watch(controller, filesystems, clusters, caches, of_mds, _of_cluster)
    controller.watch(caches.secrets, named)
    watch_users(controller, dependents, in_namespace(filesystems))
    manager.add(controller)


def _secrets_of(filesystem: CephFilesystem) -> tuple[str, ...]:
    spec = filesystem.spec.mirroring
    return watched(filesystem.metadata, TOKEN_OF_FILESYSTEM, spec.peers.secret_names) if spec.enabled else ()


def _of_cluster(cluster: CephCluster) -> tuple[object, ...]:
    """What file systems depend on."""
    return *services.depends(cluster), cluster.status.storage.device_classes
