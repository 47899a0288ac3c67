"""PersistentVolumes by the `clusterID` in their attributes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from controller.framework.aside import aside
from controller.runtime.kube import PV, PersistentVolume
from informers import IncompleteIndexError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from informers import Client, InformerFactory, JsonObject

BY_CLUSTER = "cluster"
"""The index of PersistentVolumes by their clusterID."""


class ClusterVolumes:
    """Finds the PersistentVolumes of a clusterID. There is one for an informer, whose index it adds.

    Args:
        informers: Of which it takes the cache of PersistentVolumes.
    """

    def __init__(self, informers: InformerFactory) -> None:
        self._volumes = informers.informer(PV, PersistentVolume)
        self._volumes.add_index(BY_CLUSTER, clusters_of)

    def known(self, cluster_id: str) -> list[str]:
        """Their names by the cache; where it cannot tell, why, in parentheses."""
        try:
            return [name for _, name in self._volumes.keys_by_index(BY_CLUSTER, cluster_id, complete=True)]
        except IncompleteIndexError as error:
            return [f"({error})"]

    async def asked(self, client: Client, cluster_id: str) -> list[str]:
        """Their names by the API server."""
        return await aside(_of_cluster, cluster_id, await client.list(PV))


def clusters_of(volume: PersistentVolume) -> tuple[str, ...]:
    """The clusterID of a volume, if it has one; `BY_CLUSTER` indexes by it."""
    found = volume.spec.csi.volume_attributes.get("clusterID") if volume.spec.csi is not None else None
    return (found,) if found else ()


def _of_cluster(cluster_id: str, found: Iterable[JsonObject]) -> list[str]:
    views = (msgspec.convert(volume, PersistentVolume) for volume in found)
    return [volume.metadata.name for volume in views if cluster_id in clusters_of(volume)]
