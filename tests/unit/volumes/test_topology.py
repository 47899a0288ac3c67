"""Where volumes are reached from: what a class and a node ask for, and what the PersistentVolume says."""

from __future__ import annotations

import pytest

from controller.runtime.kube import Node, ObjectMeta, TopologyExpression, TopologyTerm
from controller.volumes.backend import BackendError, ParameterError
from controller.volumes.places import Topology
from controller.volumes.topology import node_affinity, wanted
from tests.unit.volumes.objects import storage_class

ZONE, RACK = "topology.kubernetes.io/zone", "topology.rook.io/rack"
KEYS = (ZONE, RACK)
IN_A1 = Node(metadata=ObjectMeta(name="n1", labels={ZONE: "a", RACK: "1", "kubernetes.io/hostname": "n1"}))


def term(**values: tuple[str, ...]) -> TopologyTerm:
    keys = {"zone": ZONE, "rack": RACK, "host": "kubernetes.io/hostname"}
    return TopologyTerm(
        match_label_expressions=tuple(TopologyExpression(key=keys[k], values=found) for k, found in values.items())
    )


def test_a_class_that_says_nothing_is_served_anywhere() -> None:
    assert wanted(storage_class(), KEYS, None) == Topology()


def test_each_combination_of_a_terms_values_is_a_place() -> None:
    allowed = (term(zone=("a", "b"), rack=("1",)), term(zone=("c",)))
    assert wanted(storage_class(allowed_topologies=allowed), KEYS, None).allowed == (
        {ZONE: "a", RACK: "1"},
        {ZONE: "b", RACK: "1"},
        {ZONE: "c"},
    )


def test_the_place_of_the_first_pod_is_preferred() -> None:
    assert wanted(storage_class(), KEYS, IN_A1) == Topology((), {ZONE: "a", RACK: "1"})


def test_what_tells_no_places_apart_is_named() -> None:
    other = storage_class(allowed_topologies=(term(host=("n1",)),))
    with pytest.raises(ParameterError, match=r"has the label 'kubernetes.io/hostname': expected topology\.kub.* or"):
        wanted(other, KEYS, None)
    with pytest.raises(BackendError, match=f"node n2 has no label {RACK}"):
        wanted(storage_class(), KEYS, Node(metadata=ObjectMeta(name="n2", labels={ZONE: "a"})))


def test_a_volume_is_for_nodes_of_one_of_its_places() -> None:
    assert node_affinity(({ZONE: "a", RACK: "1"}, {ZONE: "b"})) == {
        "required": {
            "nodeSelectorTerms": [
                {
                    "matchExpressions": [
                        {"key": ZONE, "operator": "In", "values": ["a"]},
                        {"key": RACK, "operator": "In", "values": ["1"]},
                    ]
                },
                {"matchExpressions": [{"key": ZONE, "operator": "In", "values": ["b"]}]},
            ]
        }
    }
