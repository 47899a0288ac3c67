"""Metrics of Cassandra clusters that their status has, for alerts on what nobody did."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client import Metric

    from controller.apis.cassandra import CassandraCluster
    from informers import Informer


class Repairs(Collector):
    """When keyspaces were last repaired.

    Args:
        clusters: The cache of Clusters.
    """

    def __init__(self, clusters: Informer[CassandraCluster]) -> None:
        self._clusters = clusters

    def collect(self) -> Iterator[Metric]:
        """A series for each keyspace of each Cluster that an Operation has repaired."""
        last = GaugeMetricFamily(
            "rook_cassandra_last_repair_timestamp_seconds",
            "When the last repair of all members that succeeded was begun, in seconds since the epoch",
            labels=("namespace", "cluster", "keyspace"),
        )
        for cluster in self._clusters.list():
            for keyspace, time in sorted(cluster.status.repairs.items()):
                labels = (cluster.metadata.namespace, cluster.metadata.name, keyspace)
                last.add_metric(labels, datetime.fromisoformat(time).timestamp())
        yield last
