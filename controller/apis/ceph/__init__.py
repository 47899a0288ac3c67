"""The `ceph.rook.io/v1` kinds, with upstream's fields.

What each field means to upstream is in its CRD reference:
https://rook.io/docs/rook/latest-release/CRDs/specification/
"""

from controller.apis.ceph.bucket_notification import (
    CEPH_BUCKET_NOTIFICATION,
    CEPH_BUCKET_TOPIC,
    BucketNotificationStatus,
    BucketTopicStatus,
    CephBucketNotification,
    CephBucketTopic,
)
from controller.apis.ceph.client import CEPH_CLIENT, CephClient, CephClientSpec, CephClientStatus
from controller.apis.ceph.cluster import CEPH_CLUSTER, CephCluster, CephClusterSpec
from controller.apis.ceph.cosi import CEPH_COSI_DRIVER, CephCOSIDriver, CephCOSIDriverSpec
from controller.apis.ceph.filesystem import (
    CEPH_FILESYSTEM,
    CEPH_FILESYSTEM_SUBVOLUME_GROUP,
    CephFilesystem,
    CephFilesystemSpec,
    CephFilesystemSubVolumeGroup,
    CephFilesystemSubVolumeGroupSpec,
)
from controller.apis.ceph.filesystem_status import CephFilesystemStatus, SubVolumeGroupStatus
from controller.apis.ceph.mirror import (
    CEPH_FILESYSTEM_MIRROR,
    CEPH_RBD_MIRROR,
    CephFilesystemMirror,
    CephRBDMirror,
    CephRBDMirrorSpec,
    MirrorDaemonSpec,
    MirrorDaemonStatus,
)
from controller.apis.ceph.nfs import CEPH_NFS, CephNFS, CephNFSSpec, CephNFSStatus
from controller.apis.ceph.nvmeof import (
    CEPH_NVMEOF_GATEWAY,
    CephNVMeOFGateway,
    CephNVMeOFGatewaySpec,
    CephNVMeOFGatewayStatus,
)
from controller.apis.ceph.object_multisite import (
    CEPH_OBJECT_REALM,
    CEPH_OBJECT_ZONE,
    CEPH_OBJECT_ZONE_GROUP,
    CephObjectRealm,
    CephObjectRealmSpec,
    CephObjectZone,
    CephObjectZoneGroup,
    CephObjectZoneGroupSpec,
    CephObjectZoneSpec,
)
from controller.apis.ceph.object_multisite_status import (
    CephObjectRealmStatus,
    CephObjectZoneGroupStatus,
    CephObjectZoneStatus,
)
from controller.apis.ceph.object_store import CEPH_OBJECT_STORE, CephObjectStore, CephObjectStoreSpec
from controller.apis.ceph.object_store_status import CephObjectStoreStatus
from controller.apis.ceph.object_user import (
    CEPH_OBJECT_STORE_ACCOUNT,
    CEPH_OBJECT_STORE_USER,
    CephObjectStoreAccount,
    CephObjectStoreUser,
    ObjectStoreAccountStatus,
    ObjectStoreUserStatus,
)
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
    "CEPH_BUCKET_NOTIFICATION",
    "CEPH_BUCKET_TOPIC",
    "CEPH_CLIENT",
    "CEPH_CLUSTER",
    "CEPH_COSI_DRIVER",
    "CEPH_FILESYSTEM",
    "CEPH_FILESYSTEM_MIRROR",
    "CEPH_FILESYSTEM_SUBVOLUME_GROUP",
    "CEPH_NFS",
    "CEPH_NVMEOF_GATEWAY",
    "CEPH_OBJECT_REALM",
    "CEPH_OBJECT_STORE",
    "CEPH_OBJECT_STORE_ACCOUNT",
    "CEPH_OBJECT_STORE_USER",
    "CEPH_OBJECT_ZONE",
    "CEPH_OBJECT_ZONE_GROUP",
    "CEPH_RBD_MIRROR",
    "BucketNotificationStatus",
    "BucketTopicStatus",
    "CephBlockPool",
    "CephBlockPoolRadosNamespace",
    "CephBlockPoolRadosNamespaceSpec",
    "CephBlockPoolRadosNamespaceStatus",
    "CephBlockPoolStatus",
    "CephBucketNotification",
    "CephBucketTopic",
    "CephCOSIDriver",
    "CephCOSIDriverSpec",
    "CephClient",
    "CephClientSpec",
    "CephClientStatus",
    "CephCluster",
    "CephClusterSpec",
    "CephClusterStatus",
    "CephFilesystem",
    "CephFilesystemMirror",
    "CephFilesystemSpec",
    "CephFilesystemStatus",
    "CephFilesystemSubVolumeGroup",
    "CephFilesystemSubVolumeGroupSpec",
    "CephNFS",
    "CephNFSSpec",
    "CephNFSStatus",
    "CephNVMeOFGateway",
    "CephNVMeOFGatewaySpec",
    "CephNVMeOFGatewayStatus",
    "CephObjectRealm",
    "CephObjectRealmSpec",
    "CephObjectRealmStatus",
    "CephObjectStore",
    "CephObjectStoreAccount",
    "CephObjectStoreSpec",
    "CephObjectStoreStatus",
    "CephObjectStoreUser",
    "CephObjectZone",
    "CephObjectZoneGroup",
    "CephObjectZoneGroupSpec",
    "CephObjectZoneGroupStatus",
    "CephObjectZoneSpec",
    "CephObjectZoneStatus",
    "CephRBDMirror",
    "CephRBDMirrorSpec",
    "MirrorDaemonSpec",
    "MirrorDaemonStatus",
    "NamedBlockPoolSpec",
    "ObjectStoreAccountStatus",
    "ObjectStoreUserStatus",
    "PoolSpec",
    "StorageScopeSpec",
    "SubVolumeGroupStatus",
]
