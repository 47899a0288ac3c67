"""What the objects of a Cassandra cluster have in common: names and labels of 2018, owner, ports."""

from __future__ import annotations

from typing import TYPE_CHECKING

from controller.apis.cassandra import CASSANDRA_CLUSTER
from controller.framework.labels import recommended
from controller.framework.workload import Owner

if TYPE_CHECKING:
    from collections.abc import Mapping

    from controller.apis.cassandra import CassandraCluster

APP = "rook-cassandra"
CLUSTER_LABEL = "cassandra.rook.io/cluster"
DATACENTER_LABEL = "cassandra.rook.io/datacenter"
RACK_LABEL = "cassandra.rook.io/rack"
SEED_LABEL = "cassandra.rook.io/seed"
MEMBER_LABEL = "cassandra.rook.io/member"
POD_NAME_LABEL = "statefulset.kubernetes.io/pod-name"
"""The label by which a StatefulSet's controller names each pod."""

CQL_PORT, PEER_PORT, PEER_TLS_PORT = 9042, 7000, 7001


def owner(cluster: CassandraCluster) -> Owner:
    """The cluster as the owner of its objects."""
    return Owner.of(CASSANDRA_CLUSTER, cluster.metadata)


def prefix(cluster: CassandraCluster) -> str:
    """What names of racks' objects begin with."""
    return f"{cluster.metadata.name}-{cluster.spec.datacenter.name}"


def rack_name(cluster: CassandraCluster, rack: str) -> str:
    """The name of a rack's StatefulSet; with a number, that of a member."""
    return f"{prefix(cluster)}-{rack}"


def roster_name(cluster: CassandraCluster) -> str:
    """The ConfigMap with the roster of the ring."""
    return f"{cluster.metadata.name}-members"


def admin_secret(cluster: CassandraCluster) -> str:
    """The Secret with what the members' programs let the operator in by."""
    return f"{cluster.metadata.name}-admin"


def authority_name(cluster: CassandraCluster) -> str:
    """The Secret with the authority that signs the members' certificates, and the ConfigMap with who is trusted."""
    return f"{cluster.metadata.name}-ca"


def common_name(cluster: CassandraCluster) -> str:
    """The DNS name that every member's certificate has."""
    return f"{cluster.metadata.name}-members.{cluster.metadata.namespace}.svc"


def tls_secret(cluster: CassandraCluster, rack: str) -> str:
    """The Secret with the certificate of a rack's members."""
    return f"{rack_name(cluster, rack)}-tls"


def superuser_secret(cluster: CassandraCluster) -> str:
    """The Secret with the superuser."""
    return cluster.spec.authentication.superuser_secret_name or f"{cluster.metadata.name}-superuser"


def account(cluster: CassandraCluster) -> str:
    """The members' service account; its name is of 2018."""
    return f"{cluster.metadata.name}-member"


def selector(cluster: CassandraCluster, rack: str = "") -> dict[str, str]:
    """The labels that find the cluster's pods, or those of a rack; they never change."""
    found = {
        "app": APP,
        CLUSTER_LABEL: cluster.metadata.name,
        DATACENTER_LABEL: cluster.spec.datacenter.name,
    }
    return {**found, RACK_LABEL: rack} if rack else found


def is_ours(labels: Mapping[str, str], cluster: str) -> bool:
    """Whether an object with these labels is of the cluster of this name."""
    return labels.get("app") == APP and labels.get(CLUSTER_LABEL) == cluster


def labels(cluster: CassandraCluster, rack: str = "") -> dict[str, str]:
    """The labels of an object of the cluster, or of a rack."""
    own = recommended(
        name="cassandra",
        instance=cluster.metadata.name,
        component="clusters.cassandra.rook.io",
        part_of=cluster.metadata.name,
    )
    return {**own, **selector(cluster, rack)}
