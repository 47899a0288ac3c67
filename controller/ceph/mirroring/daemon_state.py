"""What there is of daemons that mirror, and what can be known of their cluster."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from controller.ceph.access.reach import reach
from controller.ceph.mirroring.daemon import context
from controller.ceph.order import before_services
from controller.ceph.pods import CLUSTER_LABEL, VERSION_LABEL, Release
from controller.ceph.releases import CephVersion
from controller.framework.caches import ClusterCaches
from controller.framework.children import snapshot
from controller.runtime.kube import DEPLOYMENT, Deployment

if TYPE_CHECKING:
    from controller.apis.ceph import CephCluster, MirrorDaemonSpec
    from controller.apis.meta import Kind, ObjectMeta
    from controller.ceph.access.rados import Connections, RadosCluster
    from controller.ceph.mirroring.daemon import MirrorDaemon
    from controller.ceph.pods import Context
    from controller.framework.children import Live
    from controller.runtime.apply import Applier
    from controller.runtime.kube import HasMetadata, Pod
    from informers import Informer, InformerFactory


@dataclass(frozen=True, slots=True, kw_only=True)
class DaemonObservation:
    """What is decided by, for daemons of any kind.

    Attributes:
        waits_for: What has to happen before the cluster can be asked; nothing else is known then.
        cluster_gone: Whether there is no CephCluster in the namespace.
        elder: Another object of the kind in the namespace, that is older; empty: there is none.
        hold: What has to happen before they get another release, in words; empty: nothing, or they have it.
        context: What they are given of their cluster; None while it is not known.
        deployment: Their Deployment.
        pods: Their pods.
        live: The objects of the namespace.
    """

    waits_for: str = ""
    cluster_gone: bool = False
    elder: str = ""
    hold: str = ""
    context: Context | None = None
    deployment: Deployment | None = None
    pods: tuple[Pod, ...] = ()
    live: Live = field(default_factory=dict, repr=False)


class Caches(ClusterCaches):
    """The informers that daemons are observed through."""

    def __init__(self, factory: InformerFactory) -> None:
        super().__init__(factory, CLUSTER_LABEL)
        self.deployments: Informer[Deployment] = self.ours(DEPLOYMENT, Deployment)

    @property
    def children(self) -> tuple[Informer[Any], ...]:
        """The caches of the kinds that the daemons' objects are of."""
        return (self.deployments, self.secrets)


@dataclass(frozen=True, slots=True)
class DaemonObserver:
    """Observes the daemons of one kind.

    Attributes:
        daemon: The kind of daemons.
        kind: The kind of their object.
        caches: What the API server has.
        objects: The cache of the objects of that kind.
        clusters: The cache of CephClusters.
        connections: Ways to the clusters.
        applier: Applies what is wanted of the daemons' objects.
    """

    daemon: MirrorDaemon
    kind: Kind
    caches: Caches
    objects: Informer[Any]
    clusters: Informer[CephCluster]
    connections: Connections
    applier: Applier

    async def observe(self, meta: ObjectMeta, spec: MirrorDaemonSpec) -> tuple[DaemonObservation, RadosCluster | None]:
        """What there is, and the way to the cluster, if it can be asked."""
        way = reach(self.clusters, self.connections, meta.namespace)
        cluster, ceph = way.cluster, way.ceph
        if cluster is None:
            return DaemonObservation(waits_for=way.waits_for, cluster_gone=True), None
        status = cluster.status
        if ceph is None or not status.ceph.fsid or not status.version.version:
            return DaemonObservation(waits_for=way.waits_for or f"CephCluster {cluster.metadata.name} to answer"), None
        release = Release(status.version.image, CephVersion.parse(status.version.version))
        everything = self.caches.deployments.list(meta.namespace)
        found = next((d for d in everything if d.metadata.name == self.daemon.name), None)
        old = found is not None and found.metadata.labels.get(VERSION_LABEL) != str(release.version)
        app = self.daemon.daemon.app
        seen = DaemonObservation(
            elder=self._elder(meta),
            hold=before_services(everything, release) if old else "",
            context=context(self.daemon, self.kind, meta, spec, cluster, release),
            deployment=found,
            pods=tuple(pod for pod in self.caches.pods.list(meta.namespace) if pod.metadata.labels.get("app") == app),
            live=await snapshot(self.caches.children, meta.namespace, self.applier),
        )
        return seen, ceph

    def _elder(self, meta: ObjectMeta) -> str:
        others: list[HasMetadata] = [o for o in self.objects.list(meta.namespace) if o.metadata.uid != meta.uid]
        elder = min(others, key=lambda other: _age(other.metadata), default=None)
        return elder.metadata.name if elder is not None and _age(elder.metadata) < _age(meta) else ""


def _age(meta: ObjectMeta) -> tuple[str, str]:
    return meta.creation_timestamp or "", meta.name
