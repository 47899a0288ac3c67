"""The Kubernetes objects of a Cassandra cluster as a whole. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from controller.cassandra.member.containers import PORTS
from controller.cassandra.member.record import key, text
from controller.cassandra.member.roster import KEY, Roster, encoded
from controller.cassandra.pods import CQL_PORT, account, labels, owner, roster_name, selector
from controller.framework import disruption
from controller.framework.monitoring import POD_MONITOR, monitor, scrape_annotations

if TYPE_CHECKING:
    from collections.abc import Mapping

    from controller.apis.cassandra import CassandraCluster
    from controller.cassandra.member.record import Record
    from informers import JsonObject


def members_service(cluster: CassandraCluster, *, annotated: bool = False) -> JsonObject:
    """The headless Service that gives pods their names. `annotated`: Prometheus finds their metrics by that."""
    more = {"annotations": scrape_annotations(PORTS["metrics"])} if annotated else {}
    return _headless(cluster, f"{cluster.metadata.name}-members", not_ready=True, **more)


def pod_monitor(cluster: CassandraCluster) -> JsonObject:
    """The PodMonitor of all members, with the user's labels, by which a Prometheus chooses what it collects."""
    meta = owner(cluster).metadata(cluster.metadata.name, {**cluster.spec.labels, **labels(cluster)})
    return monitor(POD_MONITOR, meta, selector(cluster), "metrics")


def client_service(cluster: CassandraCluster) -> JsonObject:
    """The headless Service by which clients find members that serve; its name is of 2018."""
    return _headless(cluster, f"{cluster.metadata.name}-client", not_ready=False)


def _headless(cluster: CassandraCluster, name: str, *, not_ready: bool, **meta: Any) -> JsonObject:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": owner(cluster).metadata(name, labels(cluster), **meta),
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": not_ready,
            "selector": selector(cluster),
            "ports": [{"name": "cql", "port": CQL_PORT}],
        },
    }


def service_account(cluster: CassandraCluster) -> JsonObject:
    """The members' service account, by which they have no access to the API."""
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": owner(cluster).metadata(account(cluster), labels(cluster)),
        "automountServiceAccountToken": False,
    }


def budget(cluster: CassandraCluster, *, allowed: int) -> JsonObject:
    """How many members a drain of nodes may take down at once: none while the ring changes.

    One that is not ready then may be the one that joins or is replaced; at other times it serves nobody.
    """
    pods = {"matchLabels": selector(cluster)}
    name, settled = cluster.metadata.name, allowed > 0
    return disruption.budget(
        owner(cluster), name, labels(cluster), pods, unready_may_go=settled, maxUnavailable=allowed
    )


def roster_config_map(cluster: CassandraCluster, roster: Roster, records: Mapping[str, Record]) -> JsonObject:
    """The roster of the ring, and what each member is told. It stays with the data when the Cluster goes."""
    told = {key(name): text(record) for name, record in sorted(records.items())}
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": owner(cluster).metadata(roster_name(cluster), labels(cluster), owned=False),
        "data": {KEY: encoded(roster), **told},
    }
