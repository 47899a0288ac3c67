"""What the cluster says of a CephBlockPool's pool, and of what is in it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import structlog

from controller.ceph.access.health import HEALTH_ERR, obstacles
from controller.ceph.access.rados import CephError
from controller.ceph.access.reach import reach
from controller.ceph.access.threads import Lane
from controller.ceph.pool.spec import pool_name
from controller.ceph.pools.observe import PoolObservation, observe

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from controller.apis.ceph import CephBlockPool, CephCluster
    from controller.ceph.access.rados import Connections, RadosCluster
    from controller.framework.deletion import Dependents
    from informers import Informer

log = structlog.get_logger(__name__)

BOOKKEEPING = ("rbd_", "csi.", "journal.", "journal_data.")
"""How the names of objects begin that are of no value without images: RBD's own, and those of Ceph's CSI driver."""
LISTING_TIMEOUT = 60.0
"""Seconds that it may take to see what is in a pool."""


class Observer:
    """Observes pools.

    Args:
        clusters: The cache of CephClusters.
        connections: Ways to the clusters.
        dependents: What uses pools.
    """

    def __init__(
        self, clusters: Informer[CephCluster], connections: Connections, dependents: Dependents[CephBlockPool]
    ) -> None:
        self._clusters, self._connections, self._dependents = clusters, connections, dependents

    async def observe(self, pool: CephBlockPool, _: float) -> PoolObservation:
        """What the cluster says of a pool, or why it cannot be asked."""
        namespace = pool.metadata.namespace
        way = reach(self._clusters, self._connections, namespace)
        cluster, ceph = way.cluster, way.ceph
        if cluster is None or ceph is None:
            return PoolObservation(waits_for=way.waits_for, cluster_gone=cluster is None)
        name = f"CephCluster {cluster.metadata.name}"
        codes = ", ".join(obstacles(cluster.status.ceph))
        try:
            seen = await observe(ceph, pool_name(pool), pool.spec)
            if codes:
                seen = replace(seen, hold=f"{name} to leave {HEALTH_ERR} ({codes})")
            if pool.metadata.deletion_timestamp is not None and seen.state is not None and not pool.spec.name:
                seen = replace(seen, contents=await contents_of(ceph, pool_name(pool)))
        except CephError as error:
            log.info("Cluster does not answer", pool=pool.metadata.name, namespace=namespace, error=str(error))
            return PoolObservation(waits_for=f"{name} to answer")
        return replace(seen, users=self._dependents.known(pool))


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
