"""What counts as a difference between what is wanted and what is there."""

import copy
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.runtime.difference import difference, quantity


def container(**fields: Any) -> dict[str, Any]:
    return {"kind": "Deployment", "spec": {"template": {"spec": {"containers": [{"name": "a", **fields}]}}}}


SAME: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "equal": ({"spec": {"a": 1}}, {"spec": {"a": 1}}),
    "more in the live object": ({"spec": {"a": 1}}, {"spec": {"a": 1, "b": 2}, "status": {}}),
    "zero and missing": ({"spec": {"a": 0, "b": False, "c": "", "d": [], "e": {}, "f": None}}, {}),
    "type and status are not compared": (
        {"apiVersion": "a/v1", "kind": "A", "status": {"x": 1}},
        {"apiVersion": "a/v2"},
    ),
    "quantities": (
        container(resources={"limits": {"cpu": "1000m", "memory": "1024Mi", "x": 2}}),
        container(resources={"limits": {"cpu": "1", "memory": "1Gi", "x": "2"}}),
    ),
    "a quantity by itself": (
        {"spec": {"volumes": [{"name": "a", "emptyDir": {"sizeLimit": "1024Ki"}}]}},
        {"spec": {"volumes": [{"name": "a", "emptyDir": {"sizeLimit": "1Mi"}}]}},
    ),
    "another container": (
        container(image="x"),
        {"spec": {"template": {"spec": {"containers": [{"name": "sidecar"}, {"name": "a", "image": "x"}]}}}},
    ),
    "order of variables": (
        container(env=[{"name": "A", "value": "1"}, {"name": "B", "value": ""}]),
        container(env=[{"name": "B"}, {"name": "A", "value": "1"}]),
    ),
    "default protocol": (
        container(ports=[{"containerPort": 80}, {"containerPort": 80, "protocol": "UDP"}]),
        container(ports=[{"containerPort": 80, "protocol": "UDP"}, {"containerPort": 80, "protocol": "TCP"}]),
    ),
    "service ports": (
        {"spec": {"ports": [{"port": 80}]}},
        {"spec": {"ports": [{"port": 80, "protocol": "TCP", "targetPort": 80, "nodePort": 30000}]}},
    ),
    "defaults in a list without keys": (
        {"spec": {"items": [{"key": "a"}, {"key": "b"}]}},
        {"spec": {"items": [{"key": "a", "mode": 420}, {"key": "b", "mode": 420}]}},
    ),
    "finalizers of others": (
        {"metadata": {"finalizers": ["ours"]}},
        {"metadata": {"finalizers": ["theirs", "ours"]}},
    ),
}

DIFFERENT: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "a value": ({"spec": {"replicas": 0}}, {"spec": {"replicas": 1}}, "spec.replicas is 1, wanted 0"),
    "missing": ({"spec": {"a": "x"}}, {"spec": {}}, "spec.a is missing, wanted 'x'"),
    "a boolean that is off": ({"spec": {"a": False}}, {"spec": {"a": True}}, "spec.a is True, wanted False"),
    "a key with dots": (
        {"metadata": {"labels": {"a.b/c": "x"}}},
        {"metadata": {"labels": {"a.b/c": "y"}}},
        "metadata.labels['a.b/c'] is 'y', wanted 'x'",
    ),
    "a quantity": (
        container(resources={"limits": {"cpu": "1000m"}}),
        container(resources={"limits": {"cpu": "2"}}),
        "spec.template.spec.containers[a].resources.limits.cpu is '2', wanted '1000m'",
    ),
    "no quantity": ({"spec": {"a": "1000m"}}, {"spec": {"a": "1"}}, "spec.a is '1', wanted '1000m'"),
    "a container": (
        container(image="x"),
        {"spec": {"template": {"spec": {"containers": [{"name": "b", "image": "x"}]}}}},
        "spec.template.spec.containers[a] is missing, wanted {'name': 'a', 'image': 'x'}",
    ),
    "a port's protocol": (
        container(ports=[{"containerPort": 80, "protocol": "UDP"}]),
        container(ports=[{"containerPort": 80, "protocol": "TCP"}]),
        "spec.template.spec.containers[a].ports[80/UDP] is missing, wanted {'containerPort': 80, 'protocol': 'UDP'}",
    ),
    "an element of a list": (
        container(args=["a", "b"]),
        container(args=["a", "c"]),
        "spec.template.spec.containers[a].args[1] is 'c', wanted 'b'",
    ),
    "a list's length": (
        container(args=["a"]),
        container(args=["a", "c"]),
        "spec.template.spec.containers[a].args has 2 elements, wanted 1",
    ),
    "a list that should be empty": ({"spec": {"a": []}}, {"spec": {"a": ["x"]}}, "spec.a has 1 elements, wanted 0"),
    "another type": ({"spec": {"a": {"b": 1}}}, {"spec": {"a": "x"}}, "spec.a is 'x', wanted {'b': 1}"),
    "a secret is not shown": (
        {"kind": "Secret", "data": {"key": "YQ=="}},
        {"kind": "Secret", "data": {"key": "Yg=="}},
        "data.key differs",
    ),
    "nor where it is missing": ({"kind": "Secret", "data": {"key": "YQ=="}}, {}, "data is missing"),
    "a finalizer": (
        {"metadata": {"finalizers": ["ours"]}},
        {"metadata": {"finalizers": ["theirs"]}},
        "metadata.finalizers is missing, wanted 'ours'",
    ),
    "a long value is cut": (
        {"spec": {"a": "x" * 200}},
        {"spec": {"a": "y"}},
        f"spec.a is 'y', wanted '{'x' * 78}…",
    ),
}


@pytest.mark.parametrize(("desired", "live"), SAME.values(), ids=SAME)
def test_same(desired: dict[str, Any], live: dict[str, Any]) -> None:
    assert difference(desired, live) is None


@pytest.mark.parametrize(("desired", "live", "words"), DIFFERENT.values(), ids=DIFFERENT)
def test_different(desired: dict[str, Any], live: dict[str, Any], words: str) -> None:
    assert difference(desired, live) == words


json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(st.text(max_size=5), json, max_size=4))
def test_nothing_differs_from_itself(obj: dict[str, Any]) -> None:
    assert difference(obj, copy.deepcopy(obj)) is None


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0.5", "0.5"),
        (".5", "0.5"),
        ("100m", "0.1"),
        ("1k", "1000"),
        ("1Ki", "1024"),
        ("1e3", "1000"),
        ("1E3", "1000"),
        ("1E", "1e18"),
        ("10Gi", "10737418240"),
        ("-1", "-1"),
        (7, "7"),
        ("x", None),
        ("1e", None),
        ("1i", None),
        ("1.2.3", None),
        ("", None),
    ],
)
def test_quantity(text: str | int, number: str | None) -> None:
    assert quantity(text) == (None if number is None else Decimal(number))
