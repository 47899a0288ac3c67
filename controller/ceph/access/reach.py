"""Whether the cluster of a namespace can be asked, for the kinds whose objects are in a cluster."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from controller.framework.changes import changed
from controller.runtime import find_condition

if TYPE_CHECKING:
    from controller.apis.ceph import CephCluster
    from controller.ceph.access.rados import Connections, RadosCluster
    from informers import Informer


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """The cluster of a namespace.

    Attributes:
        cluster: The CephCluster; None where there is none.
        ceph: The way to it; None where it cannot be asked.
        waits_for: What has to happen before it can be asked; empty where it can.
    """

    cluster: CephCluster | None = None
    ceph: RadosCluster | None = None
    waits_for: str = ""


def reach(clusters: Informer[CephCluster], connections: Connections, namespace: str) -> Reach:
    """Whether the cluster of a namespace can be asked, by what its status shows.

    Args:
        clusters: The cache of CephClusters.
        connections: Ways to the clusters.
        namespace: Where the cluster is.
    """
    found = clusters.list(namespace)
    if not found:
        return Reach(waits_for=f"a CephCluster in namespace {namespace}")
    cluster, ceph = found[0], connections.get(namespace)
    if ceph is None or not answers(cluster):
        return Reach(cluster=cluster, waits_for=f"CephCluster {cluster.metadata.name} to answer")
    return Reach(cluster=cluster, ceph=ceph)


def answers(cluster: CephCluster) -> bool:
    """Whether a cluster has answered, and its mons did when they were asked last.

    One that does not is asked by its CephCluster alone: objects in it by the dozen, each of which waits for an answer
    until its time is up, would keep those of other clusters from their turn.
    """
    connected = find_condition(cluster.status.conditions, "Connected")
    return bool(cluster.status.ceph.health) and (connected is None or connected.status != "False")


answers_otherwise = changed(answers)
"""Whether a CephCluster came, went, or can be asked now when it could not before, or the other way round."""
