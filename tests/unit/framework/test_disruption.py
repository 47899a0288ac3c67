"""Disruption budgets: what they allow, and that a change of them is never too lax on its way."""

from __future__ import annotations

from typing import Any

import pytest

from controller.apis.meta import Kind
from controller.framework.children import Apply, Delete
from controller.framework.disruption import budget, keep, spare
from controller.framework.plan import Step
from controller.framework.workload import Owner
from tests.unit.framework.applied import as_applied

OWNER = Owner(kind=Kind(group="a.io", version="v1", kind="Store", plural="stores"), namespace="ns", name="s", uid="s1")


@pytest.mark.parametrize("members", range(1, 12))
def test_a_majority_stays_when_as_many_are_drained_as_may_be(members: int) -> None:
    assert members - spare(members) > members // 2
    assert spare(members) == min((members - 1) // 2, 2)


def a_budget(name: str, allowed: int = 1, owner: Owner = OWNER, app: str = "store") -> dict[str, Any]:
    return budget(owner, name, {"app": app}, {"matchLabels": {"app": app}}, maxUnavailable=allowed)


def live(*objects: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    found = {}
    for obj in objects:
        there = as_applied(obj)
        there["metadata"]["uid"] = f"uid-{obj['metadata']['name']}"
        found[obj["kind"], obj["metadata"]["name"]] = there
    return found


def steps(present: list[dict[str, Any]], wanted: list[dict[str, Any]]) -> list[str]:
    """What is done, in order, to which budget."""

    def said(step: Step) -> str:
        assert isinstance(step.action, Apply | Delete)
        name = step.action.name if isinstance(step.action, Delete) else step.action.obj["metadata"]["name"]
        return f"{step.title} {name}"

    found = tuple(keep(live(*present), wanted, owner=OWNER, app="store", subject="stores", lane="pdb", why_gone="gone"))
    assert {step.lane for step in found} <= {"pdb"}, "in one lane, so that they come one after the other"
    return [said(step) for step in found]


def test_those_that_are_wanted_are_there_before_others_go() -> None:
    assert steps([a_budget("all")], [a_budget("rack-b", 0), a_budget("rack-a", 0)]) == [
        "Apply rack-a",
        "Apply rack-b",
        "Delete all",
    ]


def test_what_is_as_wanted_needs_nothing() -> None:
    assert steps([a_budget("all")], [a_budget("all")]) == []
    assert steps([a_budget("all")], [a_budget("all", 0)]) == ["Apply all"]


def test_budgets_that_somebody_else_made_stay() -> None:
    stranger = Owner(kind=OWNER.kind, namespace="ns", name="t", uid="t1")
    by_hand = a_budget("by-hand")
    del by_hand["metadata"]["ownerReferences"]
    assert steps([a_budget("a", owner=stranger), a_budget("b", app="else"), by_hand], []) == []


def test_one_that_is_being_deleted_is_not_deleted_again() -> None:
    going = a_budget("all")
    going["metadata"]["deletionTimestamp"] = "2027-01-15T08:00:00Z"
    assert steps([going], []) == []


@pytest.mark.parametrize(("may_go", "policy"), [(True, "AlwaysAllow"), (False, "IfHealthyBudget")])
def test_a_pod_that_is_not_ready_may_be_kept_from_eviction(may_go: bool, policy: str) -> None:
    made = budget(OWNER, "a", {}, {"matchLabels": {}}, unready_may_go=may_go, minAvailable=2)
    assert made["spec"] == {
        "minAvailable": 2,
        "selector": {"matchLabels": {}},
        "unhealthyPodEvictionPolicy": policy,
    }
