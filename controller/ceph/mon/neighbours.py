"""Mons of other clusters: nodes where they have what a mon of this cluster would need for itself.

Two clusters with the same `dataDirHostPath` would have mons of the same ids in the same directories, and mons on the
network of a node need the same ports.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from controller.ceph.pods import host_network

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from controller.apis.ceph import CephCluster
    from controller.ceph.access.mons import Endpoints


def occupied(cluster: CephCluster, others: Iterable[tuple[CephCluster, Endpoints]]) -> Mapping[str, str]:
    """The nodes on which no new mon of a cluster may be, and why. Pure.

    Args:
        cluster: The cluster.
        others: The clusters of other namespaces, with their mons.
    """
    found: dict[str, str] = {}
    directory, ports = _directory(cluster), host_network(cluster.spec.network)
    for other, endpoints in others:
        whose = f"of the cluster in namespace {other.metadata.namespace}"
        for mon in endpoints.mons:
            if mon.node and directory and not mon.has_claim and _directory(other) == directory:
                found[mon.node] = f"has mon {mon.id} {whose} in the same dataDirHostPath, {directory}"
            elif mon.node and ports and host_network(other.spec.network):
                found[mon.node] = f"has mon {mon.id} {whose} on its own network, where both need the same ports"
    return found


def _directory(cluster: CephCluster) -> str:
    """Where a cluster's mons have their data on nodes; empty: nowhere."""
    on_claims = cluster.spec.mon.volume_claim_template is not None
    return "" if on_claims else cluster.spec.data_dir_host_path.rstrip("/")
