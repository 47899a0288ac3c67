"""PersistentVolumes by the `clusterID` in their attributes, by the file system, and by the NFS servers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from controller.framework.aside import aside
from controller.runtime.kube import PV, PersistentVolume
from informers import IncompleteIndexError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from informers import Client, InformerFactory, JsonObject

BY_CLUSTER = "cluster"
"""The index of PersistentVolumes by their clusterID."""

BY_FILESYSTEM = "filesystem"
"""The index of PersistentVolumes by their clusterID and the name of their file system."""

BY_EXPORTER = "exporter"
"""The index of PersistentVolumes by their clusterID and the CephNFS that exports them."""


class ClusterVolumes:
    """Finds the PersistentVolumes of a clusterID. There is one for an informer, whose indexes it adds.

    Args:
        informers: Of which it takes the cache of PersistentVolumes.
    """

    def __init__(self, informers: InformerFactory) -> None:
        self._volumes = informers.informer(PV, PersistentVolume)
        self._volumes.add_index(BY_CLUSTER, clusters_of)
        self._volumes.add_index(BY_FILESYSTEM, filesystems_of)
        self._volumes.add_index(BY_EXPORTER, exporters_of)

    def known(self, cluster_id: str) -> list[str]:
        """Their names by the cache; where it cannot tell, why, in parentheses."""
        return self._known(BY_CLUSTER, cluster_id)

    async def asked(self, client: Client, cluster_id: str) -> list[str]:
        """Their names by the API server."""
        return await aside(_among, clusters_of, cluster_id, await client.list(PV))

    def known_in(self, cluster_id: str, filesystem: str) -> list[str]:
        """The names of those in a file system by the cache; where it cannot tell, why, in parentheses."""
        return self._known(BY_FILESYSTEM, _place(cluster_id, filesystem))

    async def asked_in(self, client: Client, cluster_id: str, filesystem: str) -> list[str]:
        """The names of those in a file system by the API server."""
        return await aside(_among, filesystems_of, _place(cluster_id, filesystem), await client.list(PV))

    def known_exported(self, cluster_id: str, nfs: str) -> list[str]:
        """The names of those that a CephNFS exports by the cache; where it cannot tell, why, in parentheses."""
        return self._known(BY_EXPORTER, _place(cluster_id, nfs))

    async def asked_exported(self, client: Client, cluster_id: str, nfs: str) -> list[str]:
        """The names of those that a CephNFS exports by the API server."""
        return await aside(_among, exporters_of, _place(cluster_id, nfs), await client.list(PV))

    def _known(self, index: str, value: str) -> list[str]:
        try:
            return [name for _, name in self._volumes.keys_by_index(index, value, complete=True)]
        except IncompleteIndexError as error:
            return [f"({error})"]


def clusters_of(volume: PersistentVolume) -> tuple[str, ...]:
    """The clusterID of a volume, if it has one; `BY_CLUSTER` indexes by it."""
    found = volume.spec.csi.volume_attributes.get("clusterID") if volume.spec.csi is not None else None
    return (found,) if found else ()


def filesystems_of(volume: PersistentVolume) -> tuple[str, ...]:
    """The clusterID and file system of a volume, if it has both; `BY_FILESYSTEM` indexes by them."""
    return _places(volume, "fsName")


def exporters_of(volume: PersistentVolume) -> tuple[str, ...]:
    """The clusterID and CephNFS of a volume, if it has both; `BY_EXPORTER` indexes by them."""
    return _places(volume, "nfsCluster")


def _places(volume: PersistentVolume, attribute: str) -> tuple[str, ...]:
    found = volume.spec.csi.volume_attributes.get(attribute) if volume.spec.csi is not None else None
    return tuple(_place(cluster, found) for cluster in clusters_of(volume)) if found else ()


def _place(cluster_id: str, name: str) -> str:
    return f"{cluster_id}/{name}"


def _among(
    values: Callable[[PersistentVolume], tuple[str, ...]], wanted: str, found: Iterable[JsonObject]
) -> list[str]:
    views = (msgspec.convert(volume, PersistentVolume) for volume in found)
    return [volume.metadata.name for volume in views if wanted in values(volume)]
