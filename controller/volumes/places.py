"""Where volumes are reached from: places, told apart by labels of nodes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from informers import JsonObject

type Place = Mapping[str, str]
"""Labels that a node has to have, all of them, to be at a place; none: every node is there."""


def is_at(labels: Mapping[str, str], place: Place) -> bool:
    """Whether a node with these labels is at a place. Pure."""
    return all(labels.get(key) == value for key, value in place.items())


def in_words(place: Place) -> str:
    """A place for a message: "topology.kubernetes.io/zone=a". Pure."""
    return ",".join(f"{key}={value}" for key, value in sorted(place.items()))


def node_affinity(place: Place) -> JsonObject:
    """`spec.nodeAffinity` of the PersistentVolume of a volume that is reached from a place. Pure."""
    labels = [{"key": key, "operator": "In", "values": [value]} for key, value in sorted(place.items())]
    return {"required": {"nodeSelectorTerms": [{"matchExpressions": labels}]}}
