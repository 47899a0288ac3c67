"""Whose client has a volume open: told by what the nodes' agents report, else by a node's own address.

Each agent reports the clients by which its node uses volumes, by the address and nonce that the storage system has for
them: no two clients ever have the same. Addresses alone tell less. They may be translated on the way, and what a host
sends to a pod elsewhere has the address of a tunnel, which may lie in the range of pod addresses of any node
(`spec.podCIDRs` is no help: what hands out the addresses of pods need not follow it). So an address counts only if
exactly one node says that it is its own, as with the host network.

The name of its host, which a client itself tells, proves the least: any pod may be called like a node. It counts where
the node's agent has the volume by a client that it does not know, as one of the kernel's, and no other client of the
volume tells the same.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from controller.apis.rook.node_report import NodeReport
    from controller.runtime.kube import Node, PersistentVolume
    from controller.volumes.backend import Holder
    from informers import Informer

BY_ADDRESS = "address"
"""The index of nodes by their own addresses."""

BY_CLIENT = "client"
"""The index of reports by the clients in them, as the storage system calls those."""

BY_MAPPED = "mapped"
"""The index of reports by the volumes that the nodes have mapped: by `handle_of`."""


def addresses_of(node: Node) -> tuple[str, ...]:
    """A node's own addresses."""
    return tuple(address.address for address in node.status.addresses)


def clients_of(report: NodeReport) -> tuple[str, ...]:
    """The clients that a report names; the agent does not know each by its address."""
    return tuple(client.address for client in report.clients if client.address)


def handle_of(volume: PersistentVolume) -> str:
    """How `BY_MAPPED` names a volume; empty for one that no CSI driver serves."""
    csi = volume.spec.csi
    return f"{csi.driver} {csi.volume_handle}" if csi is not None else ""


def mapped_by(report: NodeReport) -> tuple[str, ...]:
    """The volumes that a report names, as `handle_of` names them."""
    return tuple(f"{client.driver} {client.volume_handle}" for client in report.clients)


def reported_for(volume: PersistentVolume | None, report: NodeReport) -> tuple[str, ...]:
    """The clients by which the report's node uses a volume; empty for one that its agent does not know."""
    csi = volume.spec.csi if volume is not None else None
    if csi is None:
        return ()
    this = (csi.driver, csi.volume_handle)
    return tuple(client.address for client in report.clients if (client.driver, client.volume_handle) == this)


def vague_about(volume: PersistentVolume | None, reports: Iterable[NodeReport]) -> frozenset[str]:
    """The nodes whose agents have a volume by a client that they do not know."""
    return frozenset(report.metadata.name for report in reports if "" in reported_for(volume, report))


def around(
    holders: Collection[Holder], nodes: Informer[Node], reports: Informer[NodeReport]
) -> tuple[list[Node], list[NodeReport]]:
    """The nodes and reports that `locate` needs, by caches with the indexes `BY_ADDRESS` and `BY_CLIENT`."""
    clients = {holder.client for holder in holders}
    addresses = {address for holder in holders for address in (holder.address, holder.host) if address}
    return (
        [node for address in sorted(addresses) for node in nodes.by_index(BY_ADDRESS, address)],
        [report for client in sorted(clients) for report in reports.by_index(BY_CLIENT, client)],
    )


def locate(
    holders: Iterable[Holder], reports: Iterable[NodeReport], nodes: Iterable[Node], vague: Collection[str] = ()
) -> tuple[Holder, ...]:
    """The holders with the nodes that they are on. Pure.

    Args:
        holders: All clients of a volume.
        reports: Every report that has one of them; others do no harm.
        nodes: Every node that has the address of one of them, or is called like its host; others do no harm.
        vague: The nodes that have the volume by clients that their agents do not know.
    """
    holders = tuple(holders)
    reporting: dict[str, set[str]] = {}
    for report in reports:
        for client in report.clients:
            reporting.setdefault(client.address, set()).add(report.metadata.name)
    owning: dict[str, set[str]] = {}
    for node in nodes:
        for address in node.status.addresses:
            owning.setdefault(address.address, set()).add(node.metadata.name)

    def by_address(holder: Holder) -> frozenset[str]:
        owners = owning.get(holder.address, set())
        return frozenset(reporting.get(holder.client) or (owners if len(owners) == 1 else ()))

    alike = Counter(holder.host for holder in holders if not by_address(holder))

    def found(holder: Holder) -> frozenset[str]:
        called = owning.get(holder.host, set())
        by_host = len(called) == 1 and called <= set(vague) and alike[holder.host] == 1
        return by_address(holder) or frozenset(called if by_host else ())

    return tuple(replace(holder, nodes=found(holder)) for holder in holders)
