"""What there is of a file system: the mons' word of it and its pools, its MDS daemons' objects, and what uses it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import structlog

from controller.ceph.access.filesystems import ACTIVE, FilesystemState, groups_of, parse
from controller.ceph.access.identity import AES
from controller.ceph.access.rados import CephError
from controller.ceph.access.reach import reach
from controller.ceph.filesystem.contents import contents_of, first_object
from controller.ceph.filesystem.mirroring.observe import NOTHING, MirroringObservation
from controller.ceph.filesystem.mirroring.observe import observe as observe_mirroring
from controller.ceph.filesystem.mirroring.wanted import of
from controller.ceph.filesystem.objects import APP, FILESYSTEM_LABEL, context
from controller.ceph.filesystem.spec import pools_of
from controller.ceph.instances import standing
from controller.ceph.pods import CLUSTER_LABEL, VERSION_LABEL
from controller.ceph.pools.observe import PoolObservation
from controller.ceph.pools.observe import observe as observe_pool
from controller.framework.caches import ClusterCaches
from controller.framework.children import snapshot
from controller.runtime.kube import DEPLOYMENT, Deployment

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from controller.apis.ceph import CephCluster, CephFilesystem
    from controller.ceph.access.rados import Connections, RadosCluster
    from controller.ceph.pods import Context, Release
    from controller.framework.children import Live
    from controller.framework.deletion import Dependents
    from controller.runtime.apply import Applier
    from controller.runtime.kube import Pod
    from informers import Informer, InformerFactory

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class FilesystemObservation:
    """What `analyze` decides by.

    Attributes:
        now: Seconds since the epoch.
        waits_for: What has to happen before the cluster can be asked; nothing else is known then.
        cluster_gone: Whether there is no CephCluster in the namespace.
        hold: What has to happen before anything is made, or data is moved.
        hold_upgrade: What has to happen before an MDS daemon gets another release.
        context: What MDS daemons are given of their cluster; None while it is not known.
        state: The file system; None when there is none.
        standbys: The names of the MDS daemons of the cluster that stand by.
        pools: What there is of each pool, by its name in Ceph; `contents` is asked where there is no file system.
        deployments: The Deployments of the MDS daemons, by the daemon's id.
        pods: The pods of the MDS daemons, by the daemon's id.
        live: The objects of the namespace.
        groups: The groups of subvolumes; None while nobody can list them.
        users: The objects that use the file system, in words; asked only while it is being deleted.
        contents: What is in it, in words; asked only while it is being deleted.
        mirroring: What there is of its mirroring.
        key_type: Of the key that other clusters come with; empty: what the mons prefer.
    """

    now: float = 0.0
    waits_for: str = ""
    cluster_gone: bool = False
    hold: str = ""
    hold_upgrade: str = ""
    context: Context | None = None
    state: FilesystemState | None = None
    standbys: frozenset[str] = frozenset()
    pools: Mapping[str, PoolObservation] = field(default_factory=dict)
    deployments: Mapping[str, Deployment] = field(default_factory=dict)
    pods: Mapping[str, tuple[Pod, ...]] = field(default_factory=dict)
    live: Live = field(default_factory=dict, repr=False)
    groups: tuple[str, ...] | None = None
    users: tuple[str, ...] = ()
    contents: tuple[str, ...] = ()
    mirroring: MirroringObservation = NOTHING
    key_type: str = ""

    @property
    def late(self) -> tuple[str, ...]:
        """The ids of the MDS daemons whose Deployments have another release than they should."""
        if self.context is None:
            return ()
        return late(self.deployments.values(), str(self.context.release.version))


def late(deployments: Iterable[Deployment], version: str) -> tuple[str, ...]:
    """The ids of the daemons whose Deployments have another release than `version`."""
    found = (deployment.metadata.labels for deployment in deployments)
    return tuple(sorted(labels["ceph_daemon_id"] for labels in found if labels.get(VERSION_LABEL) != version))


class Caches(ClusterCaches):
    """The informers that file systems are observed through."""

    def __init__(self, factory: InformerFactory) -> None:
        super().__init__(factory, CLUSTER_LABEL)
        self.deployments: Informer[Deployment] = self.ours(DEPLOYMENT, Deployment)

    @property
    def children(self) -> tuple[Informer[Any], ...]:
        """The caches of the kinds that a file system's children are of."""
        return (self.deployments, self.budgets, self.secrets)


class Observer:
    """Observes file systems.

    Args:
        caches: What the API server has.
        filesystems: The cache of CephFilesystems.
        clusters: The cache of CephClusters.
        connections: Ways to the clusters.
        applier: Applies what is wanted of the file systems' objects.
        dependents: What uses file systems.
    """

    def __init__(
        self,
        caches: Caches,
        filesystems: Informer[CephFilesystem],
        clusters: Informer[CephCluster],
        connections: Connections,
        applier: Applier,
        dependents: Dependents[CephFilesystem],
    ) -> None:
        self._caches = caches
        self._filesystems = filesystems
        self._clusters = clusters
        self._connections = connections
        self._applier = applier
        self._dependents = dependents

    async def observe(self, filesystem: CephFilesystem, now: float) -> FilesystemObservation:
        """What there is of a file system, or why the cluster cannot be asked."""
        meta = filesystem.metadata
        way = reach(self._clusters, self._connections, meta.namespace)
        cluster, ceph = way.cluster, way.ceph
        if cluster is None:
            return FilesystemObservation(now=now, waits_for=way.waits_for, cluster_gone=True)
        status, name = cluster.status, f"CephCluster {cluster.metadata.name}"
        if ceph is None or not status.ceph.fsid or not status.version.version:
            return FilesystemObservation(now=now, waits_for=way.waits_for or f"{name} to answer")
        try:
            seen = await _ask(ceph, filesystem)
        except CephError as error:
            log.info("Cluster does not answer", filesystem=meta.name, namespace=meta.namespace, error=str(error))
            return FilesystemObservation(now=now, waits_for=f"{name} to answer")
        everything = self._caches.deployments.list(meta.namespace)
        stands = standing(cluster, everything)
        release, hold = stands.release, stands.hold
        mine = [found for found in everything if _is_of(found, meta.name)]
        pods: dict[str, tuple[Pod, ...]] = {}
        for pod in self._caches.pods.list(meta.namespace):
            labels = pod.metadata.labels
            if labels.get("app") == APP and labels.get(FILESYSTEM_LABEL) == meta.name:
                mds = labels.get("ceph_daemon_id", "")
                pods[mds] = (*pods.get(mds, ()), pod)
        mirrored = seen.state is not None and seen.state.mirrored
        mirroring = await observe_mirroring(ceph, meta, of(filesystem), self._caches.secrets, mirrored=mirrored)
        return replace(
            seen,
            now=now,
            hold=hold,
            hold_upgrade=stands.hold_upgrade or self._others(filesystem, everything, release),
            context=context(filesystem, cluster, release),
            pools={name: replace(found, hold=hold) for name, found in seen.pools.items()},
            deployments={found.metadata.labels["ceph_daemon_id"]: found for found in mine},
            pods=pods,
            live=await snapshot(self._caches.children, meta.namespace, self._applier),
            users=self._dependents.known(filesystem),
            mirroring=mirroring,
            # Clusters of older releases know no other.
            key_type=AES if release.version.knows_aes256k else "",
        )

    def _others(self, filesystem: CephFilesystem, everything: Iterable[Deployment], release: Release) -> str:
        """Which other file system's MDS daemons are upgraded first, in words; empty: none.

        One that has begun goes on. Of several that have not, the first by name begins.
        """
        if filesystem.status.mds_upgrade.max_mds:
            return ""
        deployments = tuple(everything)
        for other in sorted(self._filesystems.list(filesystem.metadata.namespace), key=lambda o: o.metadata.name):
            name = other.metadata.name
            if name == filesystem.metadata.name:
                continue
            begun = bool(other.status.mds_upgrade.max_mds)
            outdated = late((found for found in deployments if _is_of(found, name)), str(release.version))
            if begun or (outdated and name < filesystem.metadata.name):
                return f"the MDS daemons of CephFilesystem {name} to be upgraded"
        return ""


def _is_of(deployment: Deployment, name: str) -> bool:
    """Whether a Deployment is that of an MDS daemon of a file system, and no copy that somebody works on."""
    labels = deployment.metadata.labels
    is_ours = labels.get("app") == APP and labels.get(FILESYSTEM_LABEL) == name
    return is_ours and deployment.metadata.name == f"{APP}-{labels.get('ceph_daemon_id')}"


async def _ask(ceph: RadosCluster, filesystem: CephFilesystem) -> FilesystemObservation:
    """What the cluster says of a file system and its pools.

    Raises:
        CephError: It does not answer.
    """
    name, deleting = filesystem.metadata.name, filesystem.metadata.deletion_timestamp is not None
    found = parse(await ceph.mon("fs dump"))
    state = found.filesystems.get(name)
    pools = {pool.name: await observe_pool(ceph, pool.name, pool.spec) for pool in pools_of(filesystem)}
    if state is None:
        pools = {pool: await _with_contents(ceph, pool, seen) for pool, seen in pools.items()}
    serves = state is not None and any(mds.state == ACTIVE for mds in state.daemons)
    contents: tuple[str, ...] = ()
    if deleting and state is not None and not filesystem.spec.preserve_filesystem_on_delete:
        contents = await contents_of(ceph, name, state) if serves else ("subvolumes that no MDS can list",)
    return FilesystemObservation(
        state=state,
        standbys=found.standbys,
        pools=pools,
        groups=await _groups(ceph, name) if serves and not deleting else None,
        contents=contents,
    )


async def _with_contents(ceph: RadosCluster, pool: str, seen: PoolObservation) -> PoolObservation:
    inside = await first_object(ceph, pool) if seen.state is not None else ""
    return replace(seen, contents=(f"objects, such as {inside}",) if inside else ())


async def _groups(ceph: RadosCluster, name: str) -> tuple[str, ...] | None:
    try:
        return await groups_of(ceph, name)
    except CephError as error:
        log.info("Groups of subvolumes cannot be listed", filesystem=name, error=str(error))
        return None
