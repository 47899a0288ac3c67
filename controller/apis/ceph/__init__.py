"""The `ceph.rook.io/v1` kinds, with upstream's fields.

What each field means to upstream is in its CRD reference:
https://rook.io/docs/rook/latest-release/CRDs/specification/
"""

from controller.apis.ceph.client import CEPH_CLIENT, CephClient, CephClientSpec, CephClientStatus
from controller.apis.ceph.cluster import CEPH_CLUSTER, CephCluster, CephClusterSpec
from controller.apis.ceph.filesystem import (
    CEPH_FILESYSTEM,
    CEPH_FILESYSTEM_SUBVOLUME_GROUP,
    CephFilesystem,
    CephFilesystemSpec,
    CephFilesystemSubVolumeGroup,
    CephFilesystemSubVolumeGroupSpec,
)
from controller.apis.ceph.filesystem_status import CephFilesystemStatus, SubVolumeGroupStatus
from controller.apis.ceph.object_store import CEPH_OBJECT_STORE, CephObjectStore, CephObjectStoreSpec
from controller.apis.ceph.object_store_status import CephObjectStoreStatus
from controller.apis.ceph.pool import CEPH_BLOCK_POOL, CephBlockPool, NamedBlockPoolSpec, PoolSpec
from controller.apis.ceph.rados_namespace import (
    CEPH_BLOCK_POOL_RADOS_NAMESPACE,
    CephBlockPoolRadosNamespace,
    CephBlockPoolRadosNamespaceSpec,
    CephBlockPoolRadosNamespaceStatus,
)
from controller.apis.ceph.status import CephBlockPoolStatus, CephClusterStatus
from controller.apis.ceph.storage import StorageScopeSpec

__all__ = [
    "CEPH_BLOCK_POOL",
    "CEPH_BLOCK_POOL_RADOS_NAMESPACE",
    "CEPH_CLIENT",
    "CEPH_CLUSTER",
    "CEPH_FILESYSTEM",
    "CEPH_FILESYSTEM_SUBVOLUME_GROUP",
    "CEPH_OBJECT_STORE",
    "CephBlockPool",
    "CephBlockPoolRadosNamespace",
    "CephBlockPoolRadosNamespaceSpec",
    "CephBlockPoolRadosNamespaceStatus",
    "CephBlockPoolStatus",
    "CephClient",
    "CephClientSpec",
    "CephClientStatus",
    "CephCluster",
    "CephClusterSpec",
    "CephClusterStatus",
    "CephFilesystem",
    "CephFilesystemSpec",
    "CephFilesystemStatus",
    "CephFilesystemSubVolumeGroup",
    "CephFilesystemSubVolumeGroupSpec",
    "CephObjectStore",
    "CephObjectStoreSpec",
    "CephObjectStoreStatus",
    "NamedBlockPoolSpec",
    "PoolSpec",
    "StorageScopeSpec",
    "SubVolumeGroupStatus",
]
