"""Where a volume is made, where its class leaves several places to choose from."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.runtime.kube import Node, ObjectMeta, StorageClass, TopologyExpression, TopologyTerm
from controller.volumes.backend import Choice, Volume
from controller.volumes.places import is_at, node_affinity
from controller.volumes.topology import NowhereError, choose
from tests.unit.volumes.objects import storage_class

ZONE, RACK = "topology.rook-ceph.rbd.csi.ceph.com/zone", "topology.rook-ceph.rbd.csi.ceph.com/rack"
HOST = "kubernetes.io/hostname"


def a_node(name: str, zone: str = "", rack: str = "") -> Node:
    labels = {key: value for key, value in ((HOST, name), (ZONE, zone), (RACK, rack)) if value}
    return Node(metadata=ObjectMeta(name=name, labels=labels))


def choice(pool: str, **place: str) -> Choice:
    keys = {"zone": ZONE, "rack": RACK}
    volume = Volume(driver="d", attributes={"pool": pool})
    return Choice(volume=volume, place={keys[key]: value for key, value in place.items()})


def allowing(*terms: dict[str, tuple[str, ...]]) -> StorageClass:
    found = [
        TopologyTerm(match_label_expressions=tuple(TopologyExpression(key=k, values=v) for k, v in term.items()))
        for term in terms
    ]
    return storage_class(allowed_topologies=tuple(found))


A, B, ANY = choice("a", zone="a"), choice("b", zone="b"), choice("any")
A1 = choice("a1", zone="a", rack="1")
NODES = (a_node("n1", "a", "1"), a_node("n2", "b", "2"), a_node("n3"))


@pytest.mark.parametrize(
    ("choices", "selected", "expected"),
    [
        ((A, B), NODES[0], A),
        ((A, B), NODES[1], B),
        ((A1, A), NODES[0], A1),  # the first that fits, in the class' order
        ((A1, A), a_node("n4", "a", "2"), A),
        ((A, B, ANY), NODES[2], ANY),
    ],
)
def test_the_place_of_the_first_pod(choices: tuple[Choice, ...], selected: Node, expected: Choice) -> None:
    assert choose(choices, storage_class(), (), "data", selected=selected) is expected


@pytest.mark.parametrize(
    ("selected", "told"),
    [
        (a_node("n4", "c"), f"node n4, which the scheduler selected, reaches no volume of it, as it has {ZONE}=c"),
        (NODES[2], f"has no label {ZONE}: expected {ZONE}=a or {ZONE}=b"),
    ],
)
def test_a_node_that_reaches_none_is_named(selected: Node, told: str) -> None:
    with pytest.raises(NowhereError, match=f"StorageClass rook-ceph-block: .*{told}"):
        choose((A, B), storage_class(), (), "data", selected=selected)


def test_the_claims_of_a_stateful_set_follow_one_another() -> None:
    chosen = [choose((A, B), storage_class(), NODES, f"data-db-{number}") for number in range(4)]
    assert chosen in ([A, B, A, B], [B, A, B, A])


@pytest.mark.parametrize(
    ("allowed", "expected"),
    [
        (allowing({ZONE: ("b", "c")}), B),
        (allowing({HOST: ("n1",)}), A),
        (allowing({ZONE: ("a",), RACK: ("2",)}, {HOST: ("n2",)}), B),
    ],
)
def test_a_class_that_binds_at_once_goes_by_its_allowed_topologies(allowed: StorageClass, expected: Choice) -> None:
    assert {choose((A, B), allowed, NODES, name).volume.attributes["pool"] for name in ("x", "y", "z")} == {
        expected.volume.attributes["pool"]
    }


def test_without_a_node_that_reaches_it_no_volume_is_made() -> None:
    with pytest.raises(NowhereError, match=f"no node reaches a volume of it: expected one with {ZONE}=c"):
        choose((choice("c", zone="c"),), storage_class(), NODES, "data")
    with pytest.raises(NowhereError, match="no node that its allowedTopologies allow reaches"):
        choose((A,), allowing({ZONE: ("b",)}), NODES, "data")


def test_what_was_begun_stays_while_it_can_be_reached() -> None:
    assert choose((A1, A), storage_class(), (), "data", selected=NODES[0], begun=A.volume) is A
    assert choose((A, B), storage_class(), (), "data", selected=NODES[1], begun=A.volume) is B


_VALUES = st.sampled_from(["", "a", "b", "c"])
_NODES = st.lists(st.tuples(_VALUES, _VALUES), max_size=4).map(
    lambda found: [a_node(f"n{number}", zone, rack) for number, (zone, rack) in enumerate(found)]
)
_PLACES = st.dictionaries(st.sampled_from(["zone", "rack"]), st.sampled_from("abc"))
_CHOICES = st.lists(st.tuples(st.sampled_from("pqr"), _PLACES), min_size=1, max_size=4).map(
    lambda found: tuple(choice(pool, **place) for pool, place in found)
)


@given(_NODES, _CHOICES, st.integers(0, 9), st.booleans())
def test_a_volume_is_reached_from_where_it_is_needed_and_stays_there(
    nodes: list[Node], choices: tuple[Choice, ...], number: int, delayed: bool
) -> None:
    selected = nodes[number % len(nodes)] if delayed and nodes else None
    needed = [selected] if selected is not None else nodes
    reached = [c for c in choices if any(is_at(node.metadata.labels, c.place) for node in needed)]
    try:
        chosen = choose(choices, storage_class(), nodes, f"data-{number}", selected=selected)
    except NowhereError:
        assert reached == []
        return
    assert chosen in reached
    if selected is not None:
        assert chosen.place.items() <= selected.metadata.labels.items()
    again = choose(choices, storage_class(), nodes, f"data-{number}", selected=selected, begun=chosen.volume)
    assert again.volume == chosen.volume
    more = [*nodes, a_node("new", "a", "b")]
    assert (
        choose(choices, storage_class(), more, "another", selected=selected, begun=chosen.volume).volume
        == chosen.volume
    )


def test_a_volume_is_for_nodes_with_all_labels_of_its_place() -> None:
    assert node_affinity({ZONE: "a", RACK: "1"}) == {
        "required": {
            "nodeSelectorTerms": [
                {
                    "matchExpressions": [
                        {"key": RACK, "operator": "In", "values": ["1"]},
                        {"key": ZONE, "operator": "In", "values": ["a"]},
                    ]
                }
            ]
        }
    }
