"""Calls to librbd about volumes' images: in the cluster that each is in, in worker threads, with deadlines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from controller.ceph.access.rados import CephError
from controller.ceph.access.threads import Lane
from controller.ceph.rbd.images import Changes, with_ioctx
from controller.ceph.rbd.volumes import check, named
from controller.volumes.backend import BackendError

if TYPE_CHECKING:
    from collections.abc import Callable

    from controller.ceph.access.rados import Connections, RadosCluster
    from controller.ceph.csi.drivers import Drivers
    from controller.ceph.rbd.places import Places
    from controller.volumes.backend import Volume

_CALL_SECONDS = 60.0

_LONG_SECONDS = 540.0
"""A large image is removed, or copied as a whole, in minutes, object by object; that goes on where it was cut off."""


class Calls:
    """Makes calls about images.

    Args:
        connections: Ways to the clusters, by namespace.
        drivers: Which clusters are served.
        places: Finds where volumes are.

    Attributes:
        changes: Images that are being changed.
        places: Finds where volumes are.
    """

    def __init__(self, connections: Connections, drivers: Drivers, places: Places) -> None:
        self.changes = Changes()
        self.places = places
        self._connections = connections
        self._drivers = drivers

    def cluster(self, volume: Volume) -> RadosCluster:
        """The cluster of a volume.

        Raises:
            GoneError: It does not exist.
            BackendError: It has not been reached yet.
        """
        namespace = self.places.namespace_of(volume.attributes.get("clusterID", ""))
        beside = ", and no CephBlockPoolRadosNamespace of that clusterID"
        return self._drivers.cluster(namespace, f"image {named(volume)}", self._connections, beside=beside)

    async def on_pool[T](
        self, volume: Volume, work: Callable[[Any, Any], T], *, lane: Lane = Lane.IMAGES, kind: str = "image"
    ) -> T:
        """Runs `work` in a worker thread, with the connection and an I/O context of the volume's pool and namespace.

        Args:
            volume: The volume.
            work: What is done.
            lane: Which threads do it.
            kind: What errors call that which has the volume's image name.

        Raises:
            PoolMissingError: There is no such pool.
            BackendError: It failed, or did not end in time; then its thread goes on.
        """
        check(volume)
        cluster, volume = self.cluster(volume), self.places.resolve(volume)
        seconds = _LONG_SECONDS if lane is Lane.LONG else _CALL_SECONDS
        try:
            return await cluster.use(lambda handle: with_ioctx(handle, volume, work), lane=lane, seconds=seconds)
        except CephError as error:
            raise BackendError(f"{kind} {named(volume)}: {error}") from error
