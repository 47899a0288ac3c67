"""PersistentVolumes as what uses a cluster: those whose attribute `clusterID` names its namespace."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from controller.framework.aside import aside
from controller.framework.deletion import Dependent
from controller.runtime.kube import PV, PersistentVolume
from informers import IncompleteIndexError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from controller.apis.ceph import CephCluster
    from informers import Client, InformerFactory, JsonObject

BY_CLUSTER = "cluster"
"""The index of PersistentVolumes by the namespace of their cluster."""


def volumes(informers: InformerFactory) -> Dependent[CephCluster]:
    """PersistentVolumes; none for a cluster that may be deleted before them (`allowUninstallWithVolumes`)."""
    found = informers.informer(PV, PersistentVolume)
    found.add_index(BY_CLUSTER, clusters_of)

    def known(cluster: CephCluster) -> list[str]:
        if cluster.spec.cleanup_policy.allow_uninstall_with_volumes:
            return []
        try:
            keys = found.keys_by_index(BY_CLUSTER, cluster.metadata.namespace, complete=True)
            return [name for _, name in keys]
        except IncompleteIndexError as error:
            return [f"({error})"]

    async def asked(client: Client, cluster: CephCluster) -> list[str]:
        if cluster.spec.cleanup_policy.allow_uninstall_with_volumes:
            return []
        return await aside(_of_cluster, cluster.metadata.namespace, await client.list(PV))

    return Dependent(kind=PV.kind, known=known, asked=asked)


def clusters_of(volume: PersistentVolume) -> tuple[str, ...]:
    """The namespace of the cluster that a volume is of, if it is of one; `BY_CLUSTER` indexes by it."""
    found = volume.spec.csi.volume_attributes.get("clusterID") if volume.spec.csi is not None else None
    return (found,) if found else ()


def _of_cluster(namespace: str, found: Iterable[JsonObject]) -> list[str]:
    """The names of the PersistentVolumes of the cluster in a namespace."""
    views = (msgspec.convert(volume, PersistentVolume) for volume in found)
    return [volume.metadata.name for volume in views if namespace in clusters_of(volume)]
