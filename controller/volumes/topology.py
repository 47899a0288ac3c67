"""Where volumes are reached from: places, told apart by labels of nodes (Kubernetes, "Allowed topologies").

A place is a value for each key of `Capabilities.topology_keys`. A class may allow some places only; a class that binds
when the first pod is scheduled prefers the place of the node that was selected for it.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from controller.volumes.backend import BackendError, ParameterError
from controller.volumes.places import Place, Topology

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from controller.runtime.kube import Node, StorageClass, TopologyTerm
    from informers import JsonObject


def wanted(storage_class: StorageClass, keys: Collection[str], node: Node | None) -> Topology:
    """What a class and the node that was selected for the first pod ask for. Pure.

    Args:
        storage_class: The class.
        keys: The labels that tell places apart.
        node: The node; None: the class does not wait for one.

    Raises:
        ParameterError: The class names a label that tells no places apart.
        BackendError: The node lacks one that does.
    """
    allowed = [place for term in storage_class.allowed_topologies for place in _places(storage_class, term, keys)]
    if node is None:
        return Topology(tuple(allowed))
    labels = node.metadata.labels
    for key in keys:
        if not labels.get(key):
            raise BackendError(f"node {node.metadata.name} has no label {key}: expected it to tell where the node is")
    return Topology(tuple(allowed), {key: labels[key] for key in keys})


def node_affinity(places: Sequence[Place]) -> JsonObject:
    """`spec.nodeAffinity` of the PersistentVolume of a volume that is reached from these places. Pure."""
    terms = [
        {"matchExpressions": [{"key": key, "operator": "In", "values": [place[key]]} for key in sorted(place)]}
        for place in places
    ]
    return {"required": {"nodeSelectorTerms": terms}}


def _places(storage_class: StorageClass, term: TopologyTerm, keys: Collection[str]) -> list[Place]:
    """A term's labels all have to be, each with one of its values."""
    for expression in term.match_label_expressions:
        if expression.key not in keys:
            raise ParameterError(
                f"StorageClass {storage_class.metadata.name}: allowedTopologies has the label {expression.key!r}: "
                f"expected {' or '.join(sorted(keys))}"
            )
    values = [[(e.key, value) for value in e.values] for e in term.match_label_expressions]
    return [dict(place) for place in itertools.product(*values)]
