"""Placement: the scheduler's rules, with the reason against every node."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from controller.framework.placement import (
    eligible,
    labelled,
    merged,
    pod_fields,
    rejection,
    spread,
    tolerates,
    within,
)
from controller.runtime.kube import Node, Taint


def node(labels: dict[str, str] | None = None, **spec: Any) -> Node:
    return msgspec.convert({"metadata": {"name": "n", "labels": labels or {}}, "spec": spec}, Node)


def affinity(*terms: dict[str, Any]) -> dict[str, Any]:
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": list(terms)}}}


def expression(key: str, operator: str, *values: str) -> dict[str, Any]:
    return {"matchExpressions": [{"key": key, "operator": operator, "values": list(values)}]}


@pytest.mark.parametrize(
    ("labels", "term", "matches"),
    [
        ({"disk": "ssd"}, expression("disk", "In", "ssd", "nvme"), True),
        ({"disk": "hdd"}, expression("disk", "In", "ssd"), False),
        ({}, expression("disk", "In", "ssd"), False),
        ({"disk": "hdd"}, expression("disk", "NotIn", "ssd"), True),
        ({}, expression("disk", "NotIn", "ssd"), True),
        ({"disk": "ssd"}, expression("disk", "NotIn", "ssd"), False),
        ({"disk": ""}, expression("disk", "Exists"), True),
        ({}, expression("disk", "Exists"), False),
        ({}, expression("disk", "DoesNotExist"), True),
        ({"disk": "x"}, expression("disk", "DoesNotExist"), False),
        ({"cores": "8"}, expression("cores", "Gt", "4"), True),
        ({"cores": "4"}, expression("cores", "Gt", "4"), False),
        ({"cores": "2"}, expression("cores", "Lt", "4"), True),
        ({"cores": "many"}, expression("cores", "Gt", "4"), False),
        ({}, expression("cores", "Lt", "4"), False),
        ({"disk": "ssd"}, expression("disk", "Unknown", "ssd"), False),
        ({}, {}, False),
        ({}, {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n"]}]}, True),
        ({}, {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["m"]}]}, False),
    ],
)
def test_node_affinity(labels: dict[str, str], term: dict[str, Any], matches: bool) -> None:
    reason = rejection(node(labels), affinity(term))
    assert reason == ("" if matches else "does not match the required node affinity")


def test_one_matching_term_is_enough() -> None:
    both = affinity(expression("a", "Exists"), expression("b", "Exists"))
    assert rejection(node({"b": "1"}), both) == ""


@pytest.mark.parametrize(
    ("toleration", "tolerated"),
    [
        ({"operator": "Exists"}, True),
        ({"key": "gpu", "operator": "Exists"}, True),
        ({"key": "cpu", "operator": "Exists"}, False),
        ({"key": "gpu", "value": "yes"}, True),
        ({"key": "gpu", "value": "no"}, False),
        ({"key": "gpu", "value": "yes", "effect": "NoSchedule"}, True),
        ({"key": "gpu", "value": "yes", "effect": "NoExecute"}, False),
    ],
)
def test_tolerations(toleration: dict[str, str], tolerated: bool) -> None:
    taint = Taint(key="gpu", value="yes", effect="NoSchedule")
    assert tolerates(toleration, taint) is tolerated
    tainted = node(taints=[{"key": "gpu", "value": "yes", "effect": "NoSchedule"}])
    assert (rejection(tainted, {"tolerations": [toleration]}) == "") is tolerated


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ({"unschedulable": True}, "is cordoned"),
        ({"taints": [{"key": "a", "effect": "PreferNoSchedule"}]}, ""),
        ({"taints": [{"key": "a", "effect": "NoSchedule"}]}, "has taint a=:NoSchedule, which is not tolerated"),
        ({"taints": [{"key": "node.kubernetes.io/not-ready", "effect": "NoExecute"}]}, "is unhealthy (not-ready)"),
    ],
)
def test_reasons(spec: dict[str, Any], reason: str) -> None:
    assert rejection(node(**spec), {}) == reason


def test_nodes_are_sorted_into_fit_and_rejected() -> None:
    good = msgspec.convert({"metadata": {"name": "good"}}, Node)
    fit, rejected = eligible([node(unschedulable=True), good], {})
    assert [n.metadata.name for n in fit] == ["good"]
    assert rejected == {"n": "is cordoned"}


def test_the_specific_placement_goes_before_the_general_and_tolerations_add_up() -> None:
    a, b = {"key": "a"}, {"key": "b"}
    placements = {
        "all": {"nodeAffinity": {"x": 1}, "tolerations": [a], "podAffinity": {"kept": True}},
        "mon": {"nodeAffinity": {"y": 2}, "tolerations": [b, a]},
    }
    assert merged(placements, "mon") == {
        "nodeAffinity": {"y": 2},
        "podAffinity": {"kept": True},
        "tolerations": [a, b],
    }
    assert merged(placements, "mgr") == placements["all"]
    assert merged({}, "mgr") == {}


BY_NAME = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["abc"]}]}


@pytest.mark.parametrize(
    ("general", "specific", "fit"),
    [
        (affinity(expression("a", "Exists")), affinity(expression("b", "Exists")), ["ab", "abc"]),
        (affinity(expression("a", "Exists")), {}, ["a", "ab", "abc"]),
        ({}, affinity(expression("b", "Exists")), ["ab", "abc", "b"]),
        (
            affinity(expression("a", "Exists"), expression("c", "Exists")),
            affinity(expression("b", "Exists")),
            ["ab", "abc"],
        ),
        (affinity(expression("b", "Exists")), affinity(BY_NAME), ["abc"]),
        (affinity(expression("a", "Exists")), {"nodeAffinity": {"preferred": []}}, ["a", "ab", "abc"]),
        ({}, {}, ["a", "ab", "abc", "b"]),
    ],
)
def test_what_two_placements_require_holds_both(
    general: dict[str, Any], specific: dict[str, Any], fit: list[str]
) -> None:
    meta = [{"name": name, "labels": dict.fromkeys(name, "true")} for name in ("a", "ab", "abc", "b")]
    nodes = msgspec.convert([{"metadata": m} for m in meta], list[Node])
    found, _ = eligible(nodes, within(general, specific))
    assert [node.metadata.name for node in found] == fit


def test_fields_of_a_pod() -> None:
    placement = {"nodeAffinity": {"x": 1}, "tolerations": [{"key": "a"}], "podAffinity": {}, "unknown": 1}
    assert pod_fields(placement) == {"affinity": {"nodeAffinity": {"x": 1}}, "tolerations": [{"key": "a"}]}


def test_a_placement_by_label_is_kept_beside_what_the_user_requires() -> None:
    own = affinity(expression("disk", "In", "ssd"), expression("disk", "In", "nvme"))
    both = within(own, labelled("zone", ["y", "x"]))
    for disk, zone, reason in (("ssd", "x", ""), ("nvme", "y", ""), ("ssd", "z", "no"), ("hdd", "x", "no")):
        assert bool(rejection(node({"disk": disk, "zone": zone}), both)) is bool(reason)


@pytest.mark.parametrize(("strictly", "action"), [(True, "DoNotSchedule"), (False, "ScheduleAnyway")])
def test_pods_are_spread_unless_the_user_says_how(strictly: bool, action: str) -> None:
    pod: dict[str, Any] = {}
    spread(pod, {"app": "x"}, "zone", strictly=strictly)
    (rule,) = pod["topologySpreadConstraints"]
    assert (rule["topologyKey"], rule["whenUnsatisfiable"]) == ("zone", action)
    users = {"topologySpreadConstraints": [{"topologyKey": "zone", "maxSkew": 2}]}
    spread(users, {"app": "x"}, "zone", strictly=strictly)
    assert users == {"topologySpreadConstraints": [{"topologyKey": "zone", "maxSkew": 2}]}
