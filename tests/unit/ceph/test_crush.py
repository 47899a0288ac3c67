"""CRUSH: locations from node labels, and rules read back from Ceph."""

from __future__ import annotations

from typing import Any

import pytest

from controller.ceph.crush import Rule, location, parse_rule, place, places, spelled


def test_location() -> None:
    labels = {
        "kubernetes.io/hostname": "n1.example.org",
        "topology.kubernetes.io/region": "eu",
        "topology.kubernetes.io/zone": "eu.1",
        "topology.rook.io/rack": "r1",
        "other": "x",
    }
    assert list(location(place(labels)).items()) == [
        ("root", "default"),
        ("region", "eu"),
        ("zone", "eu-1"),
        ("rack", "r1"),
        ("host", "n1-example-org"),
    ]
    assert location({}, "fast") == {"root": "fast"}
    assert spelled(location({"host": "a"}, "fast")) == "root=fast host=a"


def test_places() -> None:
    """As `osd tree` lists buckets: each names its children. What is below no host is nowhere."""
    tree = {
        "nodes": [
            {"id": -1, "type": "root", "name": "default", "children": [-3, -5, 4]},
            {"id": -5, "type": "custom", "name": "c", "children": [-6]},
            {"id": -6, "type": "host", "name": "b", "children": [2]},
            {"id": -3, "type": "zone", "name": "z1", "children": [-4]},
            {"id": -4, "type": "host", "name": "a", "children": [1, 0]},
            *({"id": n, "type": "osd", "name": f"osd.{n}"} for n in range(5)),
        ],
        "stray": [{"id": 3, "type": "osd"}],
    }
    assert places(tree) == {0: {"zone": "z1", "host": "a"}, 1: {"zone": "z1", "host": "a"}, 2: {"host": "b"}}


def dump(*steps: dict[str, Any]) -> dict[str, Any]:
    return {"rule_id": 1, "rule_name": "p1", "steps": [*steps, {"op": "emit"}]}


TAKE = {"op": "take", "item": -1, "item_name": "default"}
LEAF = {"op": "chooseleaf_firstn", "num": 0, "type": "host"}


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (dump(TAKE, LEAF), Rule("default", "host")),
        (
            dump({**TAKE, "item_name": "fast~ssd"}, {**LEAF, "op": "choose_firstn", "type": "osd"}),
            Rule("fast", "osd", "ssd"),
        ),
        (
            dump({"op": "set_chooseleaf_tries", "num": 5}, TAKE, {**LEAF, "op": "chooseleaf_indep"}),
            Rule("default", "host"),
        ),
        (dump(TAKE, {**LEAF, "op": "choose_firstn", "type": "zone"}, LEAF), None),
        (dump(TAKE, LEAF, {"op": "emit"}, TAKE, LEAF), None),
        (dump(), None),
    ],
)
def test_rules(found: dict[str, Any], expected: Rule | None) -> None:
    assert parse_rule(found) == expected
