"""CRUSH: where an OSD is in the tree that data is spread over, and the rules by which pools spread it.

Levels, labels and names are upstream's: https://rook.io/docs/rook/latest/CRDs/Cluster/ceph-cluster-crd/#osd-topology
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from controller.framework.placement import HOSTNAME_LABEL, ZONE_LABEL

if TYPE_CHECKING:
    from collections.abc import Mapping

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

_DEFAULT_CLASS_SEPARATOR = "~"


def normalized(name: str) -> str:
    """A name as CRUSH takes it: it has no dots in names of buckets."""
    return name.replace(".", "-")


def location(labels: Mapping[str, str], root: str = "") -> dict[str, str]:
    """Where the OSDs of a node with these labels are: names by level, from the root down."""
    found = {level: normalized(labels[label]) for level, label in LEVELS.items() if labels.get(label)}
    return {"root": root or DEFAULT_ROOT, **found}


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
