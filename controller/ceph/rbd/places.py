"""Which cluster a volume is of, and which RADOS namespace it is in: both may be told by its `clusterID` alone.

As by Ceph's CSI driver, whose volumes have no other trace of their RADOS namespace.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from controller.ceph.access.rados_namespaces import address_of, name_of
from controller.volumes.backend import BackendError, Volume

if TYPE_CHECKING:
    from controller.apis.ceph import CephBlockPoolRadosNamespace, CephCluster
    from controller.ceph.access.rados_namespaces import RadosNamespaces
    from informers import Informer


class Places:
    """Finds where volumes are.

    Args:
        clusters: The cache of CephClusters.
        rados: The RADOS namespaces.
    """

    def __init__(self, clusters: Informer[CephCluster], rados: RadosNamespaces) -> None:
        self._clusters, self._rados = clusters, rados

    def find(self, cluster_id: str) -> CephBlockPoolRadosNamespace | None:
        """The RADOS namespace that a clusterID stands for; None: it is the Kubernetes namespace of a cluster."""
        if not cluster_id or self._clusters.keys(cluster_id):
            return None
        return self._rados.holder(cluster_id)

    def namespace_of(self, cluster_id: str) -> str:
        """The Kubernetes namespace of the cluster of a clusterID."""
        found = self.find(cluster_id)
        return found.metadata.namespace if found is not None else cluster_id

    def resolve(self, volume: Volume) -> Volume:
        """The volume, with the Kubernetes namespace of its cluster as clusterID, and its RADOS namespace."""
        found = self.find(volume.attributes.get("clusterID", ""))
        if found is None:
            return volume
        place = {"clusterID": found.metadata.namespace, "radosNamespace": name_of(found)}
        return replace(volume, attributes={**volume.attributes, **place})

    def check_new(self, volume: Volume) -> None:
        """Refuses a volume that is not to be made now.

        Raises:
            BackendError: Its RADOS namespace is to go, or came after the volume was described.
        """
        found = self.find(volume.attributes.get("clusterID", ""))
        if found is None:
            return
        name = f"CephBlockPoolRadosNamespace {address_of(found)}"
        if found.metadata.deletion_timestamp is not None:
            raise BackendError(f"{name} is being deleted")
        if "radosNamespace" not in volume.attributes:
            raise BackendError(f"{name} came a moment ago: the StorageClass is looked at again")
