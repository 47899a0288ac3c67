"""What counts as a difference between what is wanted and what is there."""

import copy
import itertools
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.runtime.difference import difference
from controller.runtime.quantities import quantity


def container(**fields: Any) -> dict[str, Any]:
    return {"kind": "Deployment", "spec": {"template": {"spec": {"containers": [{"name": "a", **fields}]}}}}


SAME: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "equal": ({"spec": {"a": 1}}, {"spec": {"a": 1}}),
    "more in the live object": ({"spec": {"a": 1}}, {"spec": {"a": 1, "b": 2}, "status": {}}),
    "zero and missing": ({"spec": {"a": 0, "b": False, "c": "", "d": [], "e": None}}, {"spec": {}}),
    "an empty map and none": (
        {"metadata": {"labels": {}, "annotations": {}}, "spec": {"nodeSelector": {}, "resources": {"limits": {}}}},
        {"metadata": {}, "spec": {"resources": {}}},
    ),
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
        {"spec": {"items": [{"path": "a", "fieldRef": {"fieldPath": "x"}}], "ingress": [{"ports": [{"port": 1}]}]}},
        {
            "spec": {
                "items": [{"path": "a", "fieldRef": {"fieldPath": "x", "apiVersion": "v1"}}],
                "ingress": [{"ports": [{"port": 1, "protocol": "TCP"}]}],
            }
        },
    ),
    "zeros in a list without keys": (
        {"spec": {"tolerations": [{"key": "a"}]}},
        {"spec": {"tolerations": [{"key": "a", "effect": "", "tolerationSeconds": None}]}},
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
    "a secret's variable is not shown": (
        container(env=[{"name": "DB_PASSWORD", "value": "hunter2"}]),
        container(env=[{"name": "DB_PASSWORD", "value": "old"}]),
        "spec.template.spec.containers[a].env[DB_PASSWORD].value differs",
    ),
    "nor where all of it is missing": (
        container(env=[{"name": "DB_PASSWORD", "value": "hunter2"}]),
        container(),
        "spec.template.spec.containers[a].env is missing, wanted [{'name': 'DB_PASSWORD', 'value': '[redacted]'}]",
    ),
    "nor in a field of such a name": (
        {"spec": {"auth": {"token": "abc"}}},
        {"spec": {"auth": {"token": "old"}}},
        "spec.auth.token differs",
    ),
    "nor as a flag": (
        container(args=["--admin-password=hunter2"]),
        container(args=["--admin-password=old"]),
        "spec.template.spec.containers[a].args[0] differs",
    ),
    "where a secret is, is shown": (
        {"spec": {"volumes": [{"name": "a", "secret": {"secretName": "x"}}]}},
        {"spec": {"volumes": [{"name": "a", "secret": {"secretName": "y"}}]}},
        "spec.volumes[a].secret.secretName is 'y', wanted 'x'",
    ),
    "a finalizer": (
        {"metadata": {"finalizers": ["ours"]}},
        {"metadata": {"finalizers": ["theirs"]}},
        "metadata.finalizers is missing, wanted 'ours'",
    ),
    "an empty object that is missing": ({"spec": {"a": {}}}, {"spec": {}}, "spec.a is missing, wanted {}"),
    "a label without a value that is missing": (
        {"metadata": {"labels": {"x": ""}}},
        {"metadata": {"labels": {}}},
        "metadata.labels.x is missing, wanted ''",
    ),
    "pods of this namespace, then of all": (
        {"spec": {"ingress": [{"from": [{"podSelector": {}}]}]}},
        {"spec": {"ingress": [{"from": [{"namespaceSelector": {}}]}]}},
        "spec.ingress[0].from[0].podSelector is missing, wanted {}",
    ),
    "more in an element of a list without keys": (
        {"spec": {"ingress": [{}]}},
        {"spec": {"ingress": [{"from": [{"podSelector": {}}]}]}},
        "spec.ingress[0].from is [{'podSelector': {}}], not wanted",
    ),
    "an effect for a toleration": (
        {"spec": {"tolerations": [{"key": "a"}]}},
        {"spec": {"tolerations": [{"key": "a", "effect": "NoExecute"}]}},
        "spec.tolerations[0].effect is 'NoExecute', not wanted",
    ),
    "one port more in an element of a list without keys": (
        {"spec": {"ingress": [{"ports": [{"port": 1}]}]}},
        {"spec": {"ingress": [{"ports": [{"port": 1}, {"port": 2}]}]}},
        "spec.ingress[0].ports has 2 elements, wanted 1",
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


VOLUMES: dict[str, dict[str, Any]] = {
    "emptyDir": {},
    "hostPath": {"path": "/"},
    "secret": {"secretName": "x"},
    "configMap": {"name": "x"},
    "persistentVolumeClaim": {"claimName": "x"},
    "projected": {"sources": []},
    "downwardAPI": {},
    "csi": {"driver": "x"},
    "ephemeral": {},
}


@pytest.mark.parametrize(("wanted", "found"), list(itertools.permutations(VOLUMES, 2)))
def test_another_source_of_a_volume_is_different(wanted: str, found: str) -> None:
    def pod(source: str) -> dict[str, Any]:
        return {"spec": {"volumes": [{"name": "data", source: VOLUMES[source]}]}}

    assert difference(pod(wanted), pod(wanted)) is None
    assert difference(pod(wanted), pod(found)) is not None


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
