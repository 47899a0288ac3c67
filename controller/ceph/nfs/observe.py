"""What there is of NFS servers: the pool and what they share in it, their objects, and what uses them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import structlog

from controller.ceph.access import ganesha, modules
from controller.ceph.access.ganesha import POOL, Shared
from controller.ceph.access.rados import CephError
from controller.ceph.access.reach import reach
from controller.ceph.instances import standing
from controller.ceph.nfs.objects import NFS, context
from controller.ceph.nfs.spec import APPLICATION
from controller.framework.children import snapshot

if TYPE_CHECKING:
    from collections.abc import Mapping

    from controller.apis.ceph import CephBlockPool, CephCluster, CephNFS
    from controller.ceph.access.rados import Connections, RadosCluster
    from controller.ceph.instances import Caches
    from controller.ceph.pods import Context
    from controller.framework.children import Live
    from controller.framework.deletion import Dependents
    from controller.runtime.apply import Applier
    from controller.runtime.kube import Deployment, Pod
    from informers import Informer

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class PoolState:
    """The pool that servers share: whether it is erasure-coded, and what it is for."""

    erasure: bool = False
    applications: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class NfsObservation:
    """What `analyze` decides by.

    Attributes:
        now: Seconds since the epoch.
        waits_for: What has to happen before the cluster can be asked; nothing else is known then.
        cluster_gone: Whether there is no CephCluster in the namespace.
        hold: What has to happen before a pool is made.
        hold_upgrade: What has to happen before a server gets another release.
        context: What servers are given of their cluster; None while it is not known.
        pool: The pool; None: there is none.
        pool_of: The CephBlockPool that describes the pool; empty: none does.
        module: Whether the mgr module that keeps exports is on.
        shared: What servers share.
        deployments: The servers' Deployments by letter.
        pods: The servers' pods by letter.
        live: The objects of the namespace.
        users: The objects that use the servers, in words.
    """

    now: float = 0.0
    waits_for: str = ""
    cluster_gone: bool = False
    hold: str = ""
    hold_upgrade: str = ""
    context: Context | None = None
    pool: PoolState | None = None
    pool_of: str = ""
    module: bool = True
    shared: Shared = field(default_factory=Shared)
    deployments: Mapping[str, Deployment] = field(default_factory=dict)
    pods: Mapping[str, tuple[Pod, ...]] = field(default_factory=dict)
    live: Live = field(default_factory=dict, repr=False)
    users: tuple[str, ...] = ()


class Observer:
    """Observes NFS servers.

    Args:
        caches: What the API server has.
        clusters: The cache of CephClusters.
        pools: The cache of CephBlockPools.
        connections: Ways to the clusters.
        applier: Applies what is wanted of the servers' objects.
        dependents: What uses NFS servers.
    """

    def __init__(
        self,
        caches: Caches,
        clusters: Informer[CephCluster],
        pools: Informer[CephBlockPool],
        connections: Connections,
        applier: Applier,
        dependents: Dependents[CephNFS],
    ) -> None:
        self._caches = caches
        self._clusters = clusters
        self._pools = pools
        self._connections = connections
        self._applier = applier
        self._dependents = dependents

    async def observe(self, nfs: CephNFS, now: float) -> NfsObservation:
        """What there is of NFS servers, or why the cluster cannot be asked."""
        namespace = nfs.metadata.namespace
        way = reach(self._clusters, self._connections, namespace)
        cluster = way.cluster
        if cluster is None:
            return NfsObservation(now=now, waits_for=way.waits_for, cluster_gone=True)
        status = cluster.status
        if way.ceph is None or not status.ceph.fsid or not status.version.version:
            waits_for = way.waits_for or f"CephCluster {cluster.metadata.name} to answer"
            return NfsObservation(now=now, waits_for=waits_for)
        try:
            seen = await ask(way.ceph, nfs.metadata.name)
        except CephError as error:
            log.info("Cluster does not answer", nfs=nfs.metadata.name, namespace=namespace, error=str(error))
            waits_for = f"CephCluster {cluster.metadata.name} to answer: {error.message}"
            return NfsObservation(now=now, waits_for=waits_for)
        everything = self._caches.deployments.list(namespace)
        stands = standing(cluster, everything)
        described = (pool.metadata.name for pool in self._pools.list(namespace) if pool.spec.name == POOL)
        return replace(
            seen,
            now=now,
            hold=stands.hold,
            hold_upgrade=stands.hold_upgrade,
            context=context(nfs, cluster, stands.release),
            pool_of=next(described, ""),
            deployments=NFS.deployments(everything, nfs.metadata.name),
            pods=NFS.pods(self._caches.pods.list(namespace), nfs.metadata.name),
            live=await snapshot(self._caches.children, namespace, self._applier),
            users=self._dependents.known(nfs),
        )


async def ask(ceph: RadosCluster, name: str) -> NfsObservation:
    """What the cluster says of the pool, the mgr module and what the servers of `name` share.

    Raises:
        CephError: It does not answer.
    """
    details = await ceph.mon("osd pool ls", detail="detail")
    detail = next((d for d in details if d["pool_name"] == POOL), None)
    mgr = await ceph.mon("mgr dump")
    module = APPLICATION in modules.switched_on(mgr) | modules.always_on(mgr)
    if detail is None:
        return NfsObservation(module=module)
    pool = PoolState(bool(detail["erasure_code_profile"]), frozenset(detail["application_metadata"]))
    shared = await ganesha.read(ceph, name) if not pool.erasure else Shared()
    return NfsObservation(module=module, pool=pool, shared=shared)
