"""The storage system Ceph: registers its controllers with a manager."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio

from controller.apis.ceph import (
    CEPH_BUCKET_NOTIFICATION,
    CEPH_BUCKET_TOPIC,
    CEPH_CLUSTER,
    CEPH_OBJECT_STORE,
    CEPH_OBJECT_STORE_USER,
    CephBlockPoolRadosNamespace,
    CephCluster,
    CephObjectStore,
    CephObjectZone,
    CephObjectZoneGroup,
)
from controller.apis.ceph.v1beta1 import CEPH_V1BETA1_CLUSTER
from controller.ceph import pods
from controller.ceph.access.locator import Locator
from controller.ceph.access.rados import Connections
from controller.ceph.access.rados_namespaces import RadosNamespaces
from controller.ceph.access.volumes import ClusterVolumes
from controller.ceph.bucketclaim import kind as bucketclaim
from controller.ceph.cephfs import backend as cephfs
from controller.ceph.cephfs.sessions import of_all
from controller.ceph.cephfs.volumes import SUFFIX as CEPHFS_SUFFIX
from controller.ceph.client import kind as client
from controller.ceph.cluster import kind as cluster
from controller.ceph.cluster import v1beta1 as cluster_v1beta1
from controller.ceph.cosi import kind as cosi
from controller.ceph.csi import drivers as csi
from controller.ceph.exports import backend as exports
from controller.ceph.exports.volumes import SUFFIX as NFS_SUFFIX
from controller.ceph.filesystem import kind as filesystem
from controller.ceph.filesystem.dependents import volumes as volumes_in
from controller.ceph.fsmirror import kind as fsmirror
from controller.ceph.multisite.gateways import Gateways
from controller.ceph.multisite.ground import Caches as MultisiteCaches
from controller.ceph.multisite.ground import Grounds
from controller.ceph.multisite.zones import KnownZones
from controller.ceph.networkfence import kind as networkfence
from controller.ceph.nfs import dependents as nfs_dependents
from controller.ceph.nfs import kind as nfs
from controller.ceph.notification import kind as notification
from controller.ceph.nvmeof import dependents as nvmeof_dependents
from controller.ceph.nvmeof import kind as nvmeof
from controller.ceph.objectaccount import kind as objectaccount
from controller.ceph.objectstore import kind as objectstore
from controller.ceph.objectuser import kind as objectuser
from controller.ceph.pool import kind as pool
from controller.ceph.radosnamespace import kind as radosnamespace
from controller.ceph.radosnamespace.act import NAMESPACES
from controller.ceph.rbd import backend as rbd
from controller.ceph.rbd.places import Places
from controller.ceph.rbd.volumes import SUFFIX as RBD_SUFFIX
from controller.ceph.rbdmirror import kind as rbdmirror
from controller.ceph.realm import kind as realm
from controller.ceph.rgw.stores import Stores
from controller.ceph.subvolumegroup import kind as subvolumegroup
from controller.ceph.topic import kind as topic
from controller.ceph.zone import kind as zone
from controller.ceph.zone.act import ZONES
from controller.ceph.zonegroup import kind as zonegroup
from controller.ceph.zonegroup.act import ZONE_GROUPS
from controller.runtime import resource_of
from controller.runtime.kube import CONFIG_MAP, SECRET, ConfigMap, Secret

if TYPE_CHECKING:
    from collections.abc import Mapping

    from controller.framework.settings import Settings
    from controller.runtime import Manager
    from controller.volumes.capabilities import Capabilities
    from controller.volumes.system import VolumeControllers


CSI_DRIVERS: Mapping[str, Capabilities] = {
    RBD_SUFFIX: rbd.CAPABILITIES,
    CEPHFS_SUFFIX: cephfs.CAPABILITIES,
    NFS_SUFFIX: exports.CAPABILITIES,
}
"""Ceph's kinds of volumes: what the names of their CSI drivers end in, and what they can be."""

HOMES = (
    CEPH_CLUSTER,
    CEPH_V1BETA1_CLUSTER,
    CEPH_OBJECT_STORE_USER,
    CEPH_BUCKET_TOPIC,
    CEPH_BUCKET_NOTIFICATION,
)
"""The kinds of which one object makes its namespace one to be served, where all are: clusters, and what may be in
another namespace than its cluster.
"""

ACCOUNTS = tuple(dict.fromkeys((pods.ACCOUNT, *pods.ACCOUNTS.values())))
"""The ServiceAccounts that pods of clusters run under, in the cluster's namespace."""


def register(manager: Manager, settings: Settings, volumes: VolumeControllers) -> None:
    """Has `manager` serve every kind of Ceph's, and volumes; connections to clusters are closed when it stops."""
    informers = manager.informers
    locate = Locator(
        informers.informer(resource_of(CEPH_CLUSTER), CephCluster),
        informers.informer(SECRET, Secret),
        informers.informer(CONFIG_MAP, ConfigMap),
    )
    connections = Connections(timeout=settings.ceph_timeout, locate=locate)
    of_objects = (objectstore, realm, zonegroup, zone)
    mirrors = (rbdmirror, fsmirror)
    services = (nfs_dependents, nvmeof_dependents)
    kinds = (pool, radosnamespace, filesystem, subvolumegroup, client, *services, *mirrors, *of_objects)
    using = tuple(kind.dependents(informers) for kind in kinds)
    found = ClusterVolumes(informers)
    namespaces = RadosNamespaces(informers.informer(NAMESPACES, CephBlockPoolRadosNamespace))
    stores = Stores(
        informers.informer(resource_of(CEPH_OBJECT_STORE), CephObjectStore), informers.informer(SECRET, Secret)
    )
    cluster.register(manager, settings, connections, found, dependents=using)
    cluster_v1beta1.register(manager, settings)
    of_pool = (radosnamespace.of_pool(informers), *(service.of_pool(informers) for service in services))
    pool.register(manager, settings, connections, dependents=of_pool)
    radosnamespace.register(manager, settings, connections, namespaces, found)
    users = (subvolumegroup.of_filesystem(informers), volumes_in(found))
    filesystem.register(manager, settings, connections, dependents=users)
    subvolumegroup.register(manager, settings, connections)
    client.register(manager, settings, connections)
    rbdmirror.register(manager, settings, connections)
    fsmirror.register(manager, settings, connections)
    of_store = (objectuser.of_store(informers), objectaccount.of_store(informers), bucketclaim.of_store(informers))
    zones = KnownZones(informers.informer(ZONES, CephObjectZone), informers.informer(ZONE_GROUPS, CephObjectZoneGroup))
    objectstore.register(manager, settings, connections, stores, zones=zones, dependents=of_store)
    clusters = informers.informer(resource_of(CEPH_CLUSTER), CephCluster)
    grounds = Grounds(MultisiteCaches(informers), clusters, connections, manager.applier)
    realm.register(manager, settings, connections, grounds, dependents=(zonegroup.of_realm(informers),))
    zonegroup.register(manager, settings, connections, grounds, dependents=(zone.of_group(informers),))
    zone.register(manager, settings, connections, grounds, Gateways(stores))
    objectuser.register(manager, settings, stores, dependents=(cosi.of_user(informers),))
    topic.register(manager, settings, stores, dependents=(notification.of_topic(informers),))
    notification.register(manager, settings, stores)
    objectaccount.register(manager, settings, stores, dependents=(objectuser.of_account(informers),))
    bucketclaim.register(manager, settings, stores)
    cosi.register(manager, settings, stores)
    nfs.register(manager, settings, connections, dependents=(nfs_dependents.volumes(found),))
    nvmeof.register(manager, settings, connections)
    csi.register(manager, volumes)
    rbd.register(manager, settings, connections, volumes, namespaces)
    cephfs.register(manager, settings, connections, volumes)
    exports.register(manager, settings, connections, volumes)
    home = settings.operator_namespace
    namespaces_served = csi.served(clusters, settings)
    drivers = tuple(csi.Drivers(suffix, clusters, namespaces_served, home) for suffix in (RBD_SUFFIX, CEPHFS_SUFFIX))

    async def serve_fences() -> None:
        await networkfence.serve(
            manager,
            connections,
            home,
            serves=lambda driver: any(found.serves(driver) for found in drivers),
            namespace_of=Places(clusters, namespaces).namespace_of,
            has_cluster=lambda namespace: drivers[0].has(namespace) and bool(clusters.keys(namespace)),
            sessions=of_all,
        )

    manager.add_runnable(serve_fences)

    async def close_connections() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await connections.close_all()

    manager.add_runnable(close_connections)
