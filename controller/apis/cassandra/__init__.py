"""The `cassandra.rook.io/v1alpha1` kinds. A Cluster has the fields of 2018 and further ones, all optional."""

from controller.apis.cassandra.cluster import CASSANDRA_CLUSTER, CassandraCluster, ClusterSpec, RackSpec
from controller.apis.cassandra.operation import (
    CASSANDRA_OPERATION,
    CASSANDRA_OPERATION_SCHEDULE,
    CassandraOperation,
    CassandraOperationSchedule,
    CassandraOperationStatus,
    OperationScheduleSpec,
    OperationSpec,
)
from controller.apis.cassandra.status import ClusterStatus, MemberStatus, RackStatus

__all__ = [
    "CASSANDRA_CLUSTER",
    "CASSANDRA_OPERATION",
    "CASSANDRA_OPERATION_SCHEDULE",
    "CassandraCluster",
    "CassandraOperation",
    "CassandraOperationSchedule",
    "CassandraOperationStatus",
    "ClusterSpec",
    "ClusterStatus",
    "MemberStatus",
    "OperationScheduleSpec",
    "OperationSpec",
    "RackSpec",
    "RackStatus",
]
