"""What NFS servers use, and what uses them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from controller.apis.ceph import CephNFS
from controller.ceph.access.ganesha import POOL
from controller.ceph.nfs.act import SERVERS
from controller.framework.deletion import Dependent, of_namespace, where
from controller.runtime.kube import PV

if TYPE_CHECKING:
    from controller.apis.ceph import CephBlockPool
    from controller.ceph.access.volumes import ClusterVolumes
    from controller.runtime.kube import HasMetadata
    from informers import Client, InformerFactory


def dependents(informers: InformerFactory) -> Dependent[HasMetadata]:
    """CephNFSs as what uses the cluster of their namespace."""
    return of_namespace(informers.informer(SERVERS, CephNFS))


def of_pool(informers: InformerFactory) -> Dependent[CephBlockPool]:
    """CephNFSs as what uses the CephBlockPool of the pool that they share."""
    return where(dependents(informers), lambda pool: pool.spec.name == POOL)


def volumes(found: ClusterVolumes) -> Dependent[CephNFS]:
    """PersistentVolumes as what uses the servers that export them."""

    def known(nfs: CephNFS) -> list[str]:
        return found.known_exported(nfs.metadata.namespace, nfs.metadata.name)

    async def asked(client: Client, nfs: CephNFS) -> list[str]:
        return await found.asked_exported(client, nfs.metadata.namespace, nfs.metadata.name)

    return Dependent(kind=PV.kind, known=known, asked=asked)
