"""The kinds that have a CustomResourceDefinition, each with the type of its objects."""

from collections.abc import Mapping
from types import MappingProxyType

import msgspec

from controller.apis.cassandra import (
    CASSANDRA_CLUSTER,
    CASSANDRA_OPERATION,
    CASSANDRA_OPERATION_SCHEDULE,
    CassandraCluster,
    CassandraOperation,
    CassandraOperationSchedule,
)
from controller.apis.cassandra import served as cassandra
from controller.apis.ceph import (
    CEPH_BLOCK_POOL,
    CEPH_BLOCK_POOL_RADOS_NAMESPACE,
    CEPH_BUCKET_NOTIFICATION,
    CEPH_BUCKET_TOPIC,
    CEPH_CLIENT,
    CEPH_CLUSTER,
    CEPH_COSI_DRIVER,
    CEPH_FILESYSTEM,
    CEPH_FILESYSTEM_MIRROR,
    CEPH_FILESYSTEM_SUBVOLUME_GROUP,
    CEPH_NFS,
    CEPH_NVMEOF_GATEWAY,
    CEPH_OBJECT_REALM,
    CEPH_OBJECT_STORE,
    CEPH_OBJECT_STORE_ACCOUNT,
    CEPH_OBJECT_STORE_USER,
    CEPH_OBJECT_ZONE,
    CEPH_OBJECT_ZONE_GROUP,
    CEPH_RBD_MIRROR,
    CephBlockPool,
    CephBlockPoolRadosNamespace,
    CephBucketNotification,
    CephBucketTopic,
    CephClient,
    CephCluster,
    CephCOSIDriver,
    CephFilesystem,
    CephFilesystemMirror,
    CephFilesystemSubVolumeGroup,
    CephNFS,
    CephNVMeOFGateway,
    CephObjectRealm,
    CephObjectStore,
    CephObjectStoreAccount,
    CephObjectStoreUser,
    CephObjectZone,
    CephObjectZoneGroup,
    CephRBDMirror,
    served,
)
from controller.apis.ceph.v1beta1 import CEPH_V1BETA1_CLUSTER, Cluster
from controller.apis.meta import Kind
from controller.apis.objectbucket import OBJECT_BUCKET, OBJECT_BUCKET_CLAIM, ObjectBucket, ObjectBucketClaim
from controller.apis.rook.node_report import NODE_REPORT, NodeReport
from controller.apis.served import Honoured

KINDS: Mapping[Kind, type[msgspec.Struct]] = MappingProxyType(
    {
        CEPH_CLUSTER: CephCluster,
        CEPH_BLOCK_POOL: CephBlockPool,
        CEPH_BLOCK_POOL_RADOS_NAMESPACE: CephBlockPoolRadosNamespace,
        CEPH_FILESYSTEM: CephFilesystem,
        CEPH_FILESYSTEM_SUBVOLUME_GROUP: CephFilesystemSubVolumeGroup,
        CEPH_CLIENT: CephClient,
        CEPH_RBD_MIRROR: CephRBDMirror,
        CEPH_FILESYSTEM_MIRROR: CephFilesystemMirror,
        CEPH_OBJECT_STORE_USER: CephObjectStoreUser,
        CEPH_OBJECT_STORE_ACCOUNT: CephObjectStoreAccount,
        CEPH_BUCKET_TOPIC: CephBucketTopic,
        CEPH_BUCKET_NOTIFICATION: CephBucketNotification,
        CEPH_NFS: CephNFS,
        CEPH_NVMEOF_GATEWAY: CephNVMeOFGateway,
        CEPH_OBJECT_STORE: CephObjectStore,
        CEPH_OBJECT_REALM: CephObjectRealm,
        CEPH_OBJECT_ZONE_GROUP: CephObjectZoneGroup,
        CEPH_OBJECT_ZONE: CephObjectZone,
        CEPH_V1BETA1_CLUSTER: Cluster,
        CEPH_COSI_DRIVER: CephCOSIDriver,
        OBJECT_BUCKET_CLAIM: ObjectBucketClaim,
        OBJECT_BUCKET: ObjectBucket,
        NODE_REPORT: NodeReport,
        CASSANDRA_CLUSTER: CassandraCluster,
        CASSANDRA_OPERATION: CassandraOperation,
        CASSANDRA_OPERATION_SCHEDULE: CassandraOperationSchedule,
    }
)

SERVED: Mapping[Kind, Mapping[str, Honoured]] = MappingProxyType(
    {
        CEPH_CLUSTER: served.CLUSTER,
        CEPH_BLOCK_POOL: served.POOL,
        CEPH_BLOCK_POOL_RADOS_NAMESPACE: served.RADOS_NAMESPACE,
        CEPH_FILESYSTEM: served.FILESYSTEM,
        CEPH_FILESYSTEM_SUBVOLUME_GROUP: served.SUBVOLUME_GROUP,
        CEPH_CLIENT: served.CLIENT,
        CEPH_COSI_DRIVER: served.COSI_DRIVER,
        CEPH_RBD_MIRROR: served.RBD_MIRROR,
        CEPH_FILESYSTEM_MIRROR: served.FILESYSTEM_MIRROR,
        CEPH_NFS: served.NFS,
        CEPH_NVMEOF_GATEWAY: served.NVMEOF_GATEWAY,
        CEPH_OBJECT_STORE: served.OBJECT_STORE,
        CEPH_OBJECT_ZONE: served.OBJECT_ZONE,
        CASSANDRA_CLUSTER: cassandra.CLUSTER,
        CASSANDRA_OPERATION: cassandra.OPERATION,
        CASSANDRA_OPERATION_SCHEDULE: cassandra.SCHEDULE,
    },
)
"""The fields of a kind's spec that are served; of a kind that is not here, all."""
