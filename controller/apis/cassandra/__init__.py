"""The `cassandra.rook.io/v1alpha1` kinds, with the fields that they had in 2018 and further ones, all optional."""

from controller.apis.cassandra.cluster import CASSANDRA_CLUSTER, CassandraCluster, ClusterSpec, RackSpec
from controller.apis.cassandra.status import ClusterStatus, MemberStatus, RackStatus

__all__ = [
    "CASSANDRA_CLUSTER",
    "CassandraCluster",
    "ClusterSpec",
    "ClusterStatus",
    "MemberStatus",
    "RackSpec",
    "RackStatus",
]
