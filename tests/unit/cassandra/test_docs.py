"""What a Cluster's status tells is in its documentation: each type and reason of its conditions, each state."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

import pytest
import yaml

from controller.cassandra.cluster import certificates, conditions, repairs, status
from controller.cassandra.member.ring import Problem
from controller.framework.status import FAILED, INVALID

ROOT = Path(__file__).parents[3]
PAGES = [ROOT / "docs/operations.md", *sorted((ROOT / "docs/cassandra").glob("*.md"))]
MODULES = (status, conditions, certificates, repairs)
"""Where conditions are made."""
CRD = ROOT / "manifests/crds/cassandra.rook.io_clusters.yaml"


def told(keyword: str) -> set[str]:
    """What conditions are made with, by name of the argument: texts, and constants of their module."""
    found: set[str] = set()
    for module in MODULES:
        path = Path(str(module.__file__))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Condition":
                value = next(argument.value for argument in node.keywords if argument.arg == keyword)
                if isinstance(value, ast.Constant):
                    found.add(str(value.value))
                elif isinstance(value, ast.Name):
                    found.add(getattr(importlib.import_module(module.__name__), value.id))
                else:  # the reason is that of what was found
                    assert ast.unparse(value) == "found[0].problem"
                    found.update(Problem)
    return found


@pytest.mark.parametrize("reason", sorted(told("reason")))
def test_each_reason_of_a_condition_is_explained(reason: str) -> None:
    assert any(f"`{reason}`" in page.read_text(encoding="utf-8") for page in PAGES)


@pytest.mark.parametrize("problem", [*Problem, "AuthUnsafe", INVALID, FAILED, certificates.FAILED])
def test_what_a_person_may_have_to_act_on_has_a_row(problem: str) -> None:
    rows = [line for line in PAGES[0].read_text(encoding="utf-8").splitlines() if line.startswith("| Cassandra: ")]
    assert any(f"`{problem}`" in row.split(" | ")[0] for row in rows)


def test_the_kind_names_each_condition_and_each_state() -> None:
    (version,) = yaml.safe_load(CRD.read_text(encoding="utf-8"))["spec"]["versions"]
    fields = version["schema"]["openAPIV3Schema"]["properties"]["status"]["properties"]
    text = " ".join(fields["conditions"]["description"].split())
    assert [name for name in told("type") if name not in text] == []
    described = fields["members"]["additionalProperties"]["properties"]["state"]["description"]
    named = described.replace("(by other members)", "").replace(" or ", ", ").rstrip(".").split(",")
    states = {"Pending", "Normal", "Unseen", *status._COMING.values(), *status._BROKEN.values()}
    assert {name.strip() for name in named} == states
