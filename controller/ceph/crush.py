"""CRUSH: where an OSD is in the tree that data is spread over, and the rules by which pools spread it.

Levels, labels and names are upstream's: https://rook.io/docs/rook/latest/CRDs/Cluster/ceph-cluster-crd/#osd-topology
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from controller.framework.placement import HOSTNAME_LABEL, ZONE_LABEL

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

DEFAULT_ROOT = "default"

LEVELS: Mapping[str, str] = {
    "region": "topology.kubernetes.io/region",
    "zone": ZONE_LABEL,
    "datacenter": "topology.rook.io/datacenter",
    "room": "topology.rook.io/room",
    "pod": "topology.rook.io/pod",
    "pdu": "topology.rook.io/pdu",
    "row": "topology.rook.io/row",
    "rack": "topology.rook.io/rack",
    "chassis": "topology.rook.io/chassis",
    "host": HOSTNAME_LABEL,
}
"""Node labels by CRUSH level, from the highest to the lowest."""

_UPWARDS = ("osd", *reversed(tuple(LEVELS)))

SYSTEM_POOLS = frozenset({".mgr", "device_health_metrics"})
"""Pools that Ceph makes for itself: they say nothing of how the user's data is spread, where there are others."""

_DEFAULT_CLASS_SEPARATOR = "~"


def normalized(name: str) -> str:
    """A name as CRUSH takes it: it has no dots in names of buckets."""
    return name.replace(".", "-")


def place(labels: Mapping[str, str]) -> dict[str, str]:
    """Where the OSDs of a node with these labels belong: names by level, from the highest down, without the root."""
    return {level: normalized(labels[label]) for level, label in LEVELS.items() if labels.get(label)}


def location(below: Mapping[str, str], root: str = "") -> dict[str, str]:
    """A place and its root: names by level, from the root down."""
    return {"root": root or DEFAULT_ROOT, **below}


def spelled(where: Mapping[str, str]) -> str:
    """A location as Ceph's options take it."""
    return " ".join(f"{level}={name}" for level, name in where.items())


def places(tree: Mapping[str, Any]) -> dict[int, dict[str, str]]:
    """Where each OSD is, as `place` says it, by an answer to `osd tree`. One that is below no host is left out."""
    nodes = {node["id"]: node for node in tree.get("nodes", ())}
    above = {child: parent for parent, node in nodes.items() for child in node.get("children", ())}
    buckets: dict[int, dict[str, str]] = {}

    def chain(bucket: int) -> dict[str, str]:
        if bucket not in buckets:
            node = nodes[bucket]
            own = {node["type"]: node["name"]} if node.get("type") in LEVELS else {}
            buckets[bucket] = {**(chain(above[bucket]) if bucket in above else {}), **own}
        return buckets[bucket]

    found = {osd_id: chain(above[osd_id]) for osd_id in nodes if osd_id >= 0 and osd_id in above}
    return {osd_id: where for osd_id, where in found.items() if "host" in where}


@dataclass(frozen=True, slots=True)
class Rule:
    """What a rule with a single choice says: below which root, over which level, on which device class (empty: any)."""

    root: str
    failure_domain: str
    device_class: str = ""


def parse_rule(dump: Mapping[str, Any]) -> Rule | None:
    """The rule in an entry of `osd crush rule dump`; None for one that says more than `Rule` can."""
    takes = [step for step in dump.get("steps", ()) if step.get("op") == "take"]
    chooses = [step for step in dump.get("steps", ()) if step.get("op", "").startswith("choose")]
    if len(takes) != 1 or len(chooses) != 1:
        return None
    root, _, device_class = takes[0].get("item_name", "").partition(_DEFAULT_CLASS_SEPARATOR)
    return Rule(root=root, failure_domain=chooses[0].get("type", ""), device_class=device_class)


def failure_domain(pools: Iterable[Mapping[str, Any]], rules: Iterable[Mapping[str, Any]]) -> str:
    """The lowest level over which the rules of pools spread data, which may be "osd"; empty: there is no pool.

    Args:
        pools: As an answer to `osd dump` has them.
        rules: An answer to `osd crush rule dump`.
    """
    found = list(pools)
    by_id = {rule.get("rule_id"): _spreads_over(rule) for rule in rules}
    theirs = [pool for pool in found if pool.get("pool_name") not in SYSTEM_POOLS] or found
    levels = {by_id.get(pool.get("crush_rule"), "host") for pool in theirs}
    return min(levels, key=_UPWARDS.index, default="")


def _spreads_over(rule: Mapping[str, Any]) -> str:
    """The level that may fail by a rule. One that chooses OSDs within hosts is about hosts."""
    chosen = [step.get("type", "") for step in rule.get("steps", ()) if step.get("op", "").startswith("choose")]
    known = [level for level in chosen if level in LEVELS]
    return min(known, key=_UPWARDS.index) if known else ("osd" if "osd" in chosen else "host")
