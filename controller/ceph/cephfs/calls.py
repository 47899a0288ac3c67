"""Where the cluster of a subvolume is, and whether its file system is served."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from controller.ceph.access.filesystems import parse
from controller.ceph.access.rados import CephError
from controller.volumes.backend import BackendError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from controller.ceph.access.filesystems import FilesystemState
    from controller.ceph.access.rados import Connections, RadosCluster
    from controller.ceph.csi.drivers import Drivers


class FilesystemMissingError(BackendError):
    """There is no file system of that name, and so nothing in it."""


class Calls:
    """Finds clusters and file systems.

    Args:
        connections: Ways to the clusters, by namespace.
        drivers: Which clusters are served.
    """

    def __init__(self, connections: Connections, drivers: Drivers) -> None:
        self._connections = connections
        self._drivers = drivers

    def cluster(self, namespace: str, what: str) -> RadosCluster:
        """A cluster; `what`: what is asked about, in words.

        Raises:
            GoneError: It does not exist.
            BackendError: It has not been reached yet.
        """
        return self._drivers.cluster(namespace, what, self._connections)

    async def served(self, namespace: str, filesystem: str, what: str) -> tuple[RadosCluster, FilesystemState]:
        """A cluster, and the state of a file system of it, which is served: else the mgr would wait for that.

        Args:
            namespace: The cluster's.
            filesystem: The file system.
            what: What is asked about, in words.

        Raises:
            FilesystemMissingError: There is no such file system.
            GoneError: The cluster does not exist.
            BackendError: No MDS daemon serves it, or the mons do not answer.
        """
        cluster = self.cluster(namespace, what)
        with told(what):
            state = parse(await cluster.mon("fs dump")).filesystems.get(filesystem)
        if state is None:
            raise FilesystemMissingError(f"{what}: file system {filesystem!r} (fsName) does not exist")
        if not state.active:
            raise BackendError(f"{what}: no MDS daemon of file system {filesystem} is active")
        return cluster, state


@contextmanager
def told(what: str) -> Iterator[None]:
    """Errors of Ceph's name what was asked about."""
    try:
        yield
    except CephError as error:
        raise BackendError(f"{what}: {error}") from error
