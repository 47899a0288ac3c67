"""CephFilesystem: what `controller.framework.kind` runs for each file system, and what brings about a look."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from controller.apis.ceph import CEPH_CLUSTER, CEPH_FILESYSTEM, CephCluster, CephFilesystem
from controller.ceph.access import users
from controller.ceph.access.health import obstacles
from controller.ceph.filesystem.act import FILESYSTEMS, handlers
from controller.ceph.filesystem.analyze import analyze
from controller.ceph.filesystem.mirroring import act as mirroring
from controller.ceph.filesystem.objects import APP, FILESYSTEM_LABEL
from controller.ceph.filesystem.observe import Caches, Observer
from controller.ceph.filesystem.status import show
from controller.ceph.mirroring.objects import TOKEN_OF_FILESYSTEM
from controller.ceph.mirroring.sources import watched
from controller.ceph.order import FIRST
from controller.framework import children
from controller.framework.changes import budget_changed, changed, deployment_changed, pod_changed
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
        own = children.handlers(manager.applier, manager.client, caches.children)
        ceph = connections.get(filesystem.metadata.namespace)
        if ceph is None:
            return own
        own |= handlers(filesystem, manager.client, ceph, using.asking(manager.client, filesystem))
        owner = Owner.of(CEPH_FILESYSTEM, filesystem.metadata)
        own |= mirroring.handlers(owner, manager.client, manager.applier, ceph)
        if seen.context is not None:
            own |= users.handlers(seen.context.owner, manager.applier, ceph)
        return own

    loop = ControlLoop(
        resource=FILESYSTEMS,
        finalizer=FINALIZER,
        observe=Observer(caches, filesystems, clusters, connections, manager.applier, using).observe,
        analyze=analyze,
        handlers=ways,
        show=show,
    )
    controller = controller_of(manager, loop, filesystems, workers=settings.workers)

    neighbours = in_namespace(filesystems)

    def concerned(obj: HasMetadata) -> Iterable[Request]:
        """Objects of MDS daemons are their file system's; those of others matter to an upgrade."""
        labels = obj.metadata.labels
        if labels.get("app") == APP:
            return [Request(obj.metadata.namespace, labels.get(FILESYSTEM_LABEL, ""))]
        return neighbours(obj) if labels.get("ceph_daemon_type") in FIRST else ()

    def named(secret: Secret) -> Iterable[Request]:
        """Those that are mirrored by a token in this Secret."""
        meta = secret.metadata
        return itertools.starmap(Request, filesystems.keys_by_index(BY_SECRET, f"{meta.namespace}/{meta.name}"))

    def own_only(obj: HasMetadata) -> Iterable[Request]:
        return concerned(obj) if obj.metadata.labels.get("app") == APP else ()

    controller.watch(clusters, neighbours, predicate=changed(_of_cluster))
    controller.watch(caches.deployments, concerned, predicate=deployment_changed)
    controller.watch(caches.pods, own_only, predicate=pod_changed)
    controller.watch(caches.budgets, own_only, predicate=budget_changed)
    controller.watch(caches.secrets, own_only)
    controller.watch(caches.secrets, named)
    watch_users(controller, dependents, neighbours)
    manager.add(controller)


def _secrets_of(filesystem: CephFilesystem) -> tuple[str, ...]:
    spec = filesystem.spec.mirroring
    return watched(filesystem.metadata, TOKEN_OF_FILESYSTEM, spec.peers.secret_names) if spec.enabled else ()


def _of_cluster(cluster: CephCluster) -> tuple[object, ...]:
    """What file systems depend on."""
    status = cluster.status
    return (
        cluster.metadata.generation,
        obstacles(status.ceph),
        status.ceph.health,
        status.version,
        status.storage.device_classes,
    )
