"""The storage system Ceph: registers its controllers with a manager."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio

from controller.apis.ceph import (
    CEPH_CLUSTER,
    CEPH_OBJECT_STORE,
    CephBlockPoolRadosNamespace,
    CephCluster,
    CephObjectStore,
)
from controller.ceph.access.locator import Locator
from controller.ceph.access.rados import Connections
from controller.ceph.access.rados_namespaces import RadosNamespaces
from controller.ceph.access.volumes import ClusterVolumes
from controller.ceph.bucketclaim import kind as bucketclaim
from controller.ceph.cephfs import backend as cephfs
from controller.ceph.cephfs.volumes import SUFFIX as CEPHFS_SUFFIX
from controller.ceph.client import kind as client
from controller.ceph.cluster import kind as cluster
from controller.ceph.cluster import v1beta1 as cluster_v1beta1
from controller.ceph.csi import drivers as csi
from controller.ceph.filesystem import kind as filesystem
from controller.ceph.filesystem.dependents import volumes as volumes_in
from controller.ceph.fsmirror import kind as fsmirror
from controller.ceph.nfs import dependents as nfs_dependents
from controller.ceph.nfs import kind as nfs
from controller.ceph.objectuser import kind as objectuser
from controller.ceph.pool import kind as pool
from controller.ceph.radosnamespace import kind as radosnamespace
from controller.ceph.radosnamespace.act import NAMESPACES
from controller.ceph.rbd import backend as rbd
from controller.ceph.rbd.volumes import SUFFIX as RBD_SUFFIX
from controller.ceph.rbdmirror import kind as rbdmirror
from controller.ceph.rgw.stores import Stores
from controller.ceph.subvolumegroup import kind as subvolumegroup
from controller.runtime import resource_of
from controller.runtime.kube import CONFIG_MAP, SECRET, ConfigMap, Secret

if TYPE_CHECKING:
    from collections.abc import Mapping

    from controller.framework.settings import Settings
    from controller.runtime import Manager
    from controller.volumes.capabilities import Capabilities
    from controller.volumes.system import VolumeControllers


CSI_DRIVERS: Mapping[str, Capabilities] = {RBD_SUFFIX: rbd.CAPABILITIES, CEPHFS_SUFFIX: cephfs.CAPABILITIES}
"""Ceph's kinds of volumes: what the names of their CSI drivers end in, and what they can be."""


def register(manager: Manager, settings: Settings, volumes: VolumeControllers) -> None:
    """Has `manager` serve every kind of Ceph's, and volumes; connections to clusters are closed when it stops."""
    informers = manager.informers
    locate = Locator(
        informers.informer(resource_of(CEPH_CLUSTER), CephCluster),
        informers.informer(SECRET, Secret),
        informers.informer(CONFIG_MAP, ConfigMap),
    )
    connections = Connections(timeout=settings.ceph_timeout, locate=locate)
    kinds = (pool, radosnamespace, filesystem, subvolumegroup, client, nfs_dependents, rbdmirror, fsmirror)
    using = tuple(kind.dependents(informers) for kind in kinds)
    found = ClusterVolumes(informers)
    namespaces = RadosNamespaces(informers.informer(NAMESPACES, CephBlockPoolRadosNamespace))
    stores = Stores(
        informers.informer(resource_of(CEPH_OBJECT_STORE), CephObjectStore), informers.informer(SECRET, Secret)
    )
    cluster.register(manager, settings, connections, found, dependents=using)
    cluster_v1beta1.register(manager, settings)
    of_pool = (radosnamespace.of_pool(informers), nfs_dependents.of_pool(informers))
    pool.register(manager, settings, connections, dependents=of_pool)
    radosnamespace.register(manager, settings, connections, namespaces, found)
    users = (subvolumegroup.of_filesystem(informers), volumes_in(found))
    filesystem.register(manager, settings, connections, dependents=users)
    subvolumegroup.register(manager, settings, connections)
    client.register(manager, settings, connections)
    rbdmirror.register(manager, settings, connections)
    fsmirror.register(manager, settings, connections)
    objectuser.register(manager, settings, stores)
    bucketclaim.register(manager, settings, stores)
    nfs.register(manager, settings, connections, dependents=(nfs_dependents.volumes(found),))
    csi.register(manager, volumes)
    rbd.register(manager, settings, connections, volumes, namespaces)
    cephfs.register(manager, settings, connections, volumes)

    async def close_connections() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await connections.close_all()

    manager.add_runnable(close_connections)
