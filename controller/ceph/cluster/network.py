"""The network that a cluster's mons have, which outlasts changes of the spec: their addresses are in every monmap.

A daemon in another network than the mons' may not reach them, and a mon at another address is none. So once there are
mons, the cluster keeps their network, and what the spec has otherwise is said.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from controller.ceph.pods import host_network

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from controller.apis.ceph import CephCluster
    from controller.ceph.access.mons import Mon
    from controller.runtime.kube import Node, Service


@dataclass(frozen=True, slots=True)
class Network:
    """The network of mons.

    Attributes:
        host: Whether it is that of their nodes.
        family: "IPv4" or "IPv6".
        example: A mon that has it, with its address.
    """

    host: bool
    family: str
    example: str


def network_of(
    mons: Iterable[Mon], services: Mapping[str, Service | None], nodes: Mapping[str, Node | None]
) -> Network | None:
    """The network of the first mon that can be told; None where none can.

    Args:
        mons: The members.
        services: The mons' Services, by name.
        nodes: The nodes that mons are bound to, by name.
    """
    for mon in mons:
        service, node = services.get(mon.daemon.name), nodes.get(mon.node)
        of_service = service is not None and service.spec.cluster_ip == mon.address
        of_node = node is not None and any(a.address == mon.address for a in node.status.addresses)
        # A Service that a change of the spec brought about has another address.
        if of_service or of_node or not mon.node:
            family = "IPv6" if ":" in mon.address else "IPv4"
            return Network(of_node and not of_service, family, f"mon {mon.id}: {mon.address}")
    return None


def kept(cluster: CephCluster, network: Network | None) -> tuple[CephCluster, tuple[str, ...]]:
    """The cluster with the network that its mons have, and what its spec has otherwise, in words.

    Args:
        cluster: As the user wants it.
        network: That of its mons; None: there are none, or it is not known, and the spec counts.
    """
    spec = cluster.spec.network
    if network is None:
        return cluster, ()
    found: list[str] = []
    why = f"which cannot be changed while they run ({network.example})"
    if host_network(spec) != network.host:
        path = "network.hostNetwork" if spec.host_network else "network.provider"
        asked = "true" if spec.host_network else repr(spec.provider)
        have, right = ("the network of their nodes", "'host'") if network.host else ("the pod network", "empty")
        right = f"network.provider {right}" + (" and network.hostNetwork false" if spec.host_network else "")
        found.append(f"{path}: it is {asked}, but the mons have {have}, {why}: set {right}")
    if spec.ip_family != network.family:
        asked = f"network.ipFamily: it is {spec.ip_family}, but the mons have addresses of {network.family}, {why}"
        found.append(f"{asked}: set {network.family}")
    if not found:
        return cluster, ()
    # Multus is not served, which is said as of every field that a cluster is nothing without.
    provider = "host" if network.host else ("multus" if spec.provider == "multus" else "")
    changed = msgspec.structs.replace(spec, provider=provider, host_network=False, ip_family=network.family)
    return msgspec.structs.replace(cluster, spec=msgspec.structs.replace(cluster.spec, network=changed)), tuple(found)
