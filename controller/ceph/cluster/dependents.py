"""PersistentVolumes as what uses a cluster: those whose attribute `clusterID` names its namespace."""

from __future__ import annotations

from typing import TYPE_CHECKING

from controller.framework.deletion import Dependent
from controller.runtime.kube import PV

if TYPE_CHECKING:
    from controller.apis.ceph import CephCluster
    from controller.ceph.access.volumes import ClusterVolumes
    from informers import Client


def volumes(found: ClusterVolumes) -> Dependent[CephCluster]:
    """PersistentVolumes; none for a cluster that may be deleted before them (`allowUninstallWithVolumes`)."""

    def known(cluster: CephCluster) -> list[str]:
        if cluster.spec.cleanup_policy.allow_uninstall_with_volumes:
            return []
        return found.known(cluster.metadata.namespace)

    async def asked(client: Client, cluster: CephCluster) -> list[str]:
        if cluster.spec.cleanup_policy.allow_uninstall_with_volumes:
            return []
        return await found.asked(client, cluster.metadata.namespace)

    return Dependent(kind=PV.kind, known=known, asked=asked)
