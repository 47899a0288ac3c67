"""Where mons are: on nodes that may have them, far from each other, at addresses that do not change."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from controller.ceph.access.mons import Mon, id_number
from controller.ceph.pods import Daemon
from controller.framework.placement import eligible

if TYPE_CHECKING:
    from collections.abc import Mapping, Set

    from controller.apis.ceph.mon import MonSpec
    from controller.ceph.access.mons import Endpoints
    from controller.ceph.mon.observe import MonObservation
    from controller.ceph.pods import Context
    from controller.framework.children import Live
    from controller.runtime.kube import Node


def choose_node(spec: MonSpec, context: Context, endpoints: Endpoints, seen: MonObservation) -> tuple[Node | None, str]:
    """The node for the next mon (None when it is bound to none: the scheduler decides), or why there is none.

    One on a claim is bound to its node only where its address is the node's.
    """
    if spec.volume_claim_template is not None and not context.host_network:
        return None, ""
    fit, rejected = eligible(seen.nodes.values(), context.pods.placement_of("mon"))
    label = context.zone_label
    zones = {zone.name for zone in spec.zones}
    if zones:
        rejected |= {n.metadata.name: f"is in none of mon.zones by its label {label}" for n in fit}
        fit = [n for n in fit if n.metadata.labels.get(label) in zones]
        rejected = {name: reason for name, reason in rejected.items() if name not in {n.metadata.name for n in fit}}
    taken = Counter(m.node for m in endpoints.mons if m.node)
    if not spec.allow_multiple_per_node:
        rejected |= {n.metadata.name: "has a mon already" for n in fit if n.metadata.name in taken}
        fit = [n for n in fit if n.metadata.name not in taken]
    rejected |= {n.metadata.name: seen.occupied[n.metadata.name] for n in fit if n.metadata.name in seen.occupied}
    fit = [n for n in fit if n.metadata.name not in seen.occupied]
    if not fit:
        reasons = "; ".join(f"{name} {reason}" for name, reason in sorted(rejected.items())) or "there are no nodes"
        return None, f"a node for it: {reasons}"
    in_zone = Counter(seen.nodes[m.node].metadata.labels.get(label, "") for m in endpoints.mons if m.node in seen.nodes)
    return min(
        fit,
        key=lambda n: (
            not n.ready,
            in_zone[n.metadata.labels.get(label, "")],
            taken[n.metadata.name],
            n.metadata.name,
        ),
    ), ""


def address_for(context: Context, mon_id: str, node: Node | None, live: Live) -> str:
    """The address of a new mon: its node's with host networking, else its Service's; empty while there is none."""
    if context.host_network:
        return "" if node is None else internal_address(node, context.network.ip_family)
    found = live.get(("Service", Daemon(type="mon", id=mon_id).name), {})
    address = found.get("spec", {}).get("clusterIP", "")
    return "" if address == "None" else str(address)


def internal_address(node: Node, family: str = "IPv4") -> str:
    """The node's own address of that IP family; empty when it has none."""
    addresses = [a.address for a in node.status.addresses if a.type == "InternalIP"]
    return next((a for a in addresses if (":" in a) == (family == "IPv6")), "")


def surplus(context: Context, endpoints: Endpoints, nodes: Mapping[str, Node], healthy: Set[str]) -> str:
    """Which of too many healthy mons to let go: of the fullest zone, then of the fullest node, then the newest."""
    label = context.zone_label

    def zone(mon: Mon) -> str:
        node = nodes.get(mon.node)
        return "" if node is None else node.metadata.labels.get(label, "")

    zones = Counter(zone(m) for m in endpoints.mons)
    shared = Counter(m.node for m in endpoints.mons if m.node)
    among = [m for m in endpoints.mons if m.id in healthy]
    return max(among, key=lambda m: (zones[zone(m)], shared[m.node], id_number(m.id))).id
