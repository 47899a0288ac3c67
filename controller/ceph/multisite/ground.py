"""What realms, zone groups and zones are all observed by: their cluster, whether Ceph has them, and their Jobs."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import structlog

from controller.ceph.access.rados import CephError
from controller.ceph.access.reach import reach
from controller.ceph.multisite.names import job_name
from controller.ceph.multisite.root import exists
from controller.ceph.pods import CLUSTER_LABEL, Release, context_of
from controller.ceph.releases import CephVersion
from controller.ceph.rgw import tool
from controller.framework.caches import ClusterCaches
from controller.framework.children import snapshot
from controller.framework.jobs import Run
from controller.framework.pods import warnings
from controller.framework.status import READY
from controller.framework.workload import Owner
from controller.runtime.kube import JOB, Job

if TYPE_CHECKING:
    from controller.apis.ceph import CephCluster
    from controller.apis.meta import Kind
    from controller.ceph.access.rados import Connections
    from controller.ceph.multisite.root import Named
    from controller.ceph.pods import Context
    from controller.framework.children import Live
    from controller.runtime.apply import Applier
    from controller.runtime.kube import HasMetadata
    from informers import Informer, InformerFactory

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """What `analyze` decides by, whichever kind it is.

    Attributes:
        now: Seconds since the epoch.
        waits_for: What has to happen before the cluster can be asked; nothing else is known then.
        cluster_gone: Whether there is no CephCluster in the namespace.
        context: What Jobs are given of their cluster; None while it is not known.
        live: The objects of the namespace.
        run: The Job that brings about what the object asks for, as it is seen.
        exists: Whether Ceph has one of the name.
        users: The objects that use it, in words; asked only while it is being deleted.
    """

    now: float = 0.0
    waits_for: str = ""
    cluster_gone: bool = False
    context: Context | None = None
    live: Live = field(default_factory=dict, repr=False)
    run: Run = field(default_factory=Run)
    exists: bool = False
    users: tuple[str, ...] = ()


class Caches(ClusterCaches):
    """The informers that they are observed through."""

    def __init__(self, factory: InformerFactory) -> None:
        super().__init__(factory, CLUSTER_LABEL)
        self.jobs: Informer[Job] = self.ours(JOB, Job)

    @property
    def children(self) -> tuple[Informer[Any], ...]:
        """The caches of the kinds that their children are of."""
        return (self.jobs, self.secrets)


class Grounds:
    """Observes what all of them go by.

    Args:
        caches: What the API server has.
        clusters: The cache of CephClusters.
        connections: Ways to the clusters.
        applier: Applies what is wanted of their children.
    """

    def __init__(
        self, caches: Caches, clusters: Informer[CephCluster], connections: Connections, applier: Applier
    ) -> None:
        self.caches = caches
        self.clusters = clusters
        self._connections, self._applier = connections, applier

    async def of(self, kind: Kind, obj: HasMetadata, named: Named, now: float) -> Ground:
        """What an object of `kind` stands on, or why the cluster cannot be asked; without its users."""
        meta = obj.metadata
        way = reach(self.clusters, self._connections, meta.namespace)
        ground = Ground(now=now, waits_for=way.waits_for, cluster_gone=way.cluster is None)
        if way.cluster is None or way.ceph is None:
            return ground
        status, name = way.cluster.status, f"CephCluster {way.cluster.metadata.name}"
        if not status.ceph.fsid or not status.version.version:
            return replace(ground, waits_for=f"{name} to answer")
        try:
            present = await exists(way.ceph, named, meta.name)
        except CephError as error:
            log.info("Cluster does not answer", kind=kind.kind, name=meta.name, error=str(error))
            return replace(ground, waits_for=f"{name} to answer")
        release = Release(status.version.image, CephVersion.parse(status.version.version))
        context = replace(context_of(way.cluster, status.ceph.fsid, release), owner=Owner.of(kind, meta))
        live = await snapshot(self.caches.children, meta.namespace, self._applier)
        ground = replace(ground, context=context, live=live, exists=present)
        return replace(ground, run=self.run_of(ground, job_name(kind, meta.name)))

    def run_of(self, ground: Ground, name: str) -> Run:
        """A Job of the name beside the object's first one, as it is seen."""
        if ground.context is None:
            return Run()
        namespace = ground.context.namespace
        pods, told = self.caches.pods.list(namespace), warnings(self.caches.events.list(namespace))
        return tool.look(ground.live, pods, name, ground.now, told)


def not_ready(objects: Informer[Any], namespace: str, name: str) -> str:
    """What has to happen to an object before another can be made in it, in words; empty: nothing.

    One that has been made once is there, whatever is the matter with it now.
    """
    kind, found = objects.resource.kind, objects.get(namespace, name)
    if found is None:
        return f"{kind} {name} in namespace {namespace}"
    return "" if found.status.id or found.status.phase == READY else f"{kind} {name} to be ready"
