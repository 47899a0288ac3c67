"""What the cluster says of a CephBlockPool's pool, and of what is in it."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import structlog

from controller.ceph.access.health import HEALTH_ERR, obstacles
from controller.ceph.access.identity import AES
from controller.ceph.access.rados import CephError
from controller.ceph.access.reach import reach
from controller.ceph.access.threads import Lane
from controller.ceph.mirroring import observe as mirroring
from controller.ceph.mirroring.observe import NOTHING, MirrorObservation
from controller.ceph.mirroring.place import Mode, Place
from controller.ceph.mirroring.sources import sources
from controller.ceph.mirroring.wanted import of_pool, too_new
from controller.ceph.pool.spec import pool_name
from controller.ceph.pools.observe import PoolObservation, observe
from controller.ceph.releases import CephVersion
from controller.framework.text import brief

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from controller.apis.ceph import CephBlockPool, CephCluster
    from controller.ceph.access.rados import Connections, RadosCluster
    from controller.framework.deletion import Dependents
    from controller.runtime.kube import Secret
    from informers import Informer

log = structlog.get_logger(__name__)

BOOKKEEPING = ("rbd_", "csi.", "journal.", "journal_data.")
"""How the names of objects begin that are of no value without images: RBD's own, and those of Ceph's CSI driver."""
LISTING_TIMEOUT = 60.0
"""Seconds that it may take to see what is in a pool."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockPoolObservation(PoolObservation):
    """What `analyze` decides by, beside what is seen of every pool.

    Attributes:
        mirror: What there is of the mirroring of its images.
        mirror_hold: What has to happen before its images can be mirrored as is asked for.
        key_type: Of the key that other clusters come with; empty: what the mons prefer.
    """

    mirror: MirrorObservation = NOTHING
    mirror_hold: str = ""
    key_type: str = ""


class Observer:
    """Observes pools.

    Args:
        clusters: The cache of CephClusters.
        secrets: The cache of Secrets.
        connections: Ways to the clusters.
        dependents: What uses pools.
    """

    def __init__(
        self,
        clusters: Informer[CephCluster],
        secrets: Informer[Secret],
        connections: Connections,
        dependents: Dependents[CephBlockPool],
    ) -> None:
        self._clusters, self._secrets = clusters, secrets
        self._connections, self._dependents = connections, dependents

    async def observe(self, pool: CephBlockPool, _: float) -> BlockPoolObservation:
        """What the cluster says of a pool, or why it cannot be asked."""
        namespace = pool.metadata.namespace
        way = reach(self._clusters, self._connections, namespace)
        cluster, ceph = way.cluster, way.ceph
        if cluster is None or ceph is None:
            return BlockPoolObservation(waits_for=way.waits_for, cluster_gone=cluster is None)
        name = f"CephCluster {cluster.metadata.name}"
        codes = ", ".join(obstacles(cluster.status.ceph))
        try:
            found = await observe(ceph, pool_name(pool), pool.spec)
            seen = BlockPoolObservation(**{field.name: getattr(found, field.name) for field in fields(found)})
            if codes:
                seen = replace(seen, hold=f"{name} to leave {HEALTH_ERR} ({codes})")
            if pool.metadata.deletion_timestamp is not None and seen.state is not None and not pool.spec.name:
                seen = replace(seen, contents=await contents_of(ceph, pool_name(pool)))
        except CephError as error:
            log.info("Cluster does not answer", pool=pool.metadata.name, namespace=namespace, error=str(error))
            return BlockPoolObservation(waits_for=f"{name} to answer")
        return replace(await self._mirrored(ceph, cluster, pool, seen), users=self._dependents.known(pool))

    async def _mirrored(
        self, ceph: RadosCluster, cluster: CephCluster, pool: CephBlockPool, seen: BlockPoolObservation
    ) -> BlockPoolObservation:
        meta, wanted = pool.metadata, of_pool(pool.spec)
        if seen.state is None or (pool.spec.name and wanted.mode is Mode.DISABLED):
            return seen
        known = cluster.status.version.version
        version = CephVersion.parse(known) if known else None
        deleting = meta.deletion_timestamp is not None
        try:
            mirror = await mirroring.observe(ceph, Place(pool_name(pool)), wanted, deleting=deleting)
            mirror = await mirroring.with_token(ceph, mirror, self._secrets, meta.namespace, meta.name, meta.uid)
            if wanted.watched:
                mirror = await mirroring.with_health(ceph, mirror, seen.state.pool_id)
        except CephError as error:
            log.info("Mirroring cannot be asked for", pool=meta.name, namespace=meta.namespace, error=str(error))
            mirror = MirrorObservation(details=brief(error))
        return replace(
            seen,
            mirror=replace(mirror, sources=sources(self._secrets, meta.namespace, wanted.secrets)),
            mirror_hold=too_new(wanted, version),
            # The librbd of this operator, which imports tokens, knows no other.
            key_type=AES if version is not None and version.knows_aes256k else "",
        )


async def contents_of(cluster: RadosCluster, name: str) -> tuple[str, ...]:
    """What of value is in a pool: images, those in the trash, and data of images that another pool lists.

    Raises:
        CephError: The cluster does not answer in time.
    """
    return await cluster.use(lambda handle: _contents(handle, name), lane=Lane.IMAGES, seconds=LISTING_TIMEOUT)


def _contents(handle: Any, name: str) -> tuple[str, ...]:
    import rados  # system libraries of the operator's image, absent where only plans are computed
    import rbd

    found: list[str] = []
    with handle.open_ioctx(name) as pool:
        for namespace in ("", *rbd.RBD().namespace_list(pool)):
            pool.set_namespace(namespace)
            prefix = f"{namespace}/" if namespace else ""
            found += [f"image {prefix}{image}" for image in rbd.RBD().list(pool)]
            found += in_trash(rbd.RBD().trash_list(pool), prefix)
        pool.set_namespace(rados.LIBRADOS_ALL_NSPACES)
        if not found:
            found += valuables(item.key for item in pool.list_objects())
    return tuple(found)


def in_trash(entries: Iterable[Mapping[str, Any]], prefix: str) -> list[str]:
    """The images of a RADOS namespace in the trash, in words, by what librbd lists; `prefix`: the namespace's name."""
    found: list[str] = []
    try:
        for entry in entries:
            found.append(f"image {prefix}{entry['name']} in the trash")  # noqa: PERF401  what came before an error counts
    except IndexError:  # librbd's Python module has no words for an image whose removal is under way
        found.append(f"images {prefix}* in the trash, one of which is being removed")
    return found


def valuables(objects: Iterable[str]) -> tuple[str, ...]:
    """What of value is in a pool that lists no image, in words, by the names of its objects; the first find counts."""
    for name in objects:
        if name.startswith("rbd_data."):
            return ("data of images that another pool lists",)
        if not name.startswith(BOOKKEEPING):
            return (f"objects that are not an image's, such as {name}",)
    return ()
