"""What the cluster says of a RADOS namespace, and which volumes name it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import structlog

from controller.ceph.access.rados import CephError
from controller.ceph.access.rados_namespaces import address_of, cluster_id, name_of
from controller.ceph.access.reach import reach
from controller.ceph.access.threads import Lane
from controller.ceph.mirroring import observe as mirroring
from controller.ceph.mirroring.observe import NOTHING, MirrorObservation
from controller.ceph.mirroring.wanted import of_namespace, place_of_namespace, too_new
from controller.ceph.radosnamespace import images
from controller.ceph.radosnamespace.images import PoolMissingError
from controller.ceph.releases import CephVersion
from controller.framework.text import brief

if TYPE_CHECKING:
    from controller.apis.ceph import CephBlockPoolRadosNamespace, CephCluster
    from controller.ceph.access.rados import Connections, RadosCluster
    from controller.ceph.access.rados_namespaces import RadosNamespaces
    from controller.ceph.access.volumes import ClusterVolumes
    from informers import Informer

log = structlog.get_logger(__name__)

SECONDS = 60.0
"""How long it may take to list, make or remove a namespace, or to list what is in one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NamespaceObservation:
    """What `analyze` decides by.

    Attributes:
        waits_for: What has to happen before the cluster can be asked; nothing is known of the namespace then.
        gone: Whether there is no cluster, or no pool, that the namespace could be in.
        taken_by: What else has the clusterID, in words; empty: nothing.
        present: Whether there is the namespace.
        volumes: The PersistentVolumes that name it by clusterID; asked only while it is being deleted.
        images: What is in it, in words; asked only while it is being deleted.
        mirror: What there is of the mirroring of its images.
        mirror_hold: What has to happen before its images can be mirrored as is asked for.
    """

    waits_for: str = ""
    gone: bool = False
    taken_by: str = ""
    present: bool = False
    volumes: tuple[str, ...] = ()
    images: tuple[str, ...] = ()
    mirror: MirrorObservation = NOTHING
    mirror_hold: str = ""


class Observer:
    """Observes RADOS namespaces.

    Args:
        namespaces: Those that there are, by clusterID.
        clusters: The cache of CephClusters.
        volumes: The PersistentVolumes, by clusterID.
        connections: Ways to the clusters.
    """

    def __init__(
        self,
        namespaces: RadosNamespaces,
        clusters: Informer[CephCluster],
        volumes: ClusterVolumes,
        connections: Connections,
    ) -> None:
        self._namespaces, self._clusters = namespaces, clusters
        self._volumes, self._connections = volumes, connections

    async def observe(self, namespace: CephBlockPoolRadosNamespace, _: float) -> NamespaceObservation:
        """What the cluster says of a namespace, or why it cannot be asked."""
        meta, known = namespace.metadata, NamespaceObservation(taken_by=self._taken_by(namespace))
        way = reach(self._clusters, self._connections, meta.namespace)
        if way.cluster is None or way.ceph is None:
            return replace(known, waits_for=way.waits_for, gone=way.cluster is None)
        try:
            seen = await observe(way.ceph, namespace)
        except PoolMissingError:
            return replace(known, waits_for=f"CephBlockPool {namespace.spec.block_pool_name} to exist", gone=True)
        except CephError as error:
            log.info("RADOS namespace cannot be asked for", name=meta.name, namespace=meta.namespace, error=str(error))
            return replace(known, waits_for=f"CephCluster {way.cluster.metadata.name} to answer")
        volumes = self._volumes.known(cluster_id(namespace)) if meta.deletion_timestamp is not None else ()
        seen = replace(seen, taken_by=known.taken_by, volumes=tuple(sorted(volumes)))
        return await self._mirrored(way.ceph, way.cluster, namespace, seen)

    async def _mirrored(
        self,
        ceph: RadosCluster,
        cluster: CephCluster,
        namespace: CephBlockPoolRadosNamespace,
        seen: NamespaceObservation,
    ) -> NamespaceObservation:
        if not seen.present or not name_of(namespace):
            return seen
        meta, wanted, known = namespace.metadata, of_namespace(namespace), cluster.status.version.version
        deleting = meta.deletion_timestamp is not None
        try:
            mirror = await mirroring.observe(ceph, place_of_namespace(namespace), wanted, deleting=deleting)
        except CephError as error:
            log.info("Mirroring cannot be asked for", name=meta.name, namespace=meta.namespace, error=str(error))
            mirror = MirrorObservation(details=brief(error))
        return replace(seen, mirror=mirror, mirror_hold=too_new(wanted, CephVersion.parse(known) if known else None))

    def _taken_by(self, namespace: CephBlockPoolRadosNamespace) -> str:
        wanted = cluster_id(namespace)
        if self._clusters.keys(wanted):
            return f"the CephCluster in namespace {wanted}"
        holder = self._namespaces.holder(wanted)
        if holder is None or holder.metadata.uid == namespace.metadata.uid:
            return ""
        return f"CephBlockPoolRadosNamespace {address_of(holder)}"


async def observe(ceph: RadosCluster, namespace: CephBlockPoolRadosNamespace) -> NamespaceObservation:
    """What the cluster says of a namespace.

    Raises:
        PoolMissingError: Its pool does not exist.
        CephError: The cluster does not answer.
    """
    pool, name = namespace.spec.block_pool_name, name_of(namespace)
    names = await ceph.use(lambda handle: images.names(handle, pool), lane=Lane.IMAGES, seconds=SECONDS)
    present = not name or name in names
    if not name or not present or namespace.metadata.deletion_timestamp is None:
        return NamespaceObservation(present=present)
    inside = await ceph.use(lambda handle: images.contents(handle, pool, name), lane=Lane.IMAGES, seconds=SECONDS)
    return NamespaceObservation(present=True, images=inside)
