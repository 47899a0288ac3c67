"""No module imports itself in a circle, not even for types alone: whoever reads them can begin somewhere."""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROOT = Path(__file__).parents[2]
PACKAGES = ("workqueue", "informers", "controller", "e2e", "tests", "bench", "tools", "charts")

type Graph = Mapping[str, set[str]]
"""For each module those that it imports, wherever in its text it does so."""


def modules(root: Path, packages: tuple[str, ...]) -> dict[str, Path]:
    """The files of the packages below a directory, by the names of their modules."""
    found = {}
    for package in packages:
        for path in (root / package).rglob("*.py"):
            parts = path.relative_to(root).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(name: str, path: Path, known: Mapping[str, Path]) -> Iterator[str]:
    """The known modules that a module imports."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _nearest(alias.name, known)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            source = ".".join([*above, *filter(None, [node.module])])
            for alias in node.names:
                yield from _nearest(f"{source}.{alias.name}", known)


def _nearest(name: str, known: Mapping[str, Path]) -> Iterator[str]:
    """The module of that name, or the one that defines what has the name."""
    while name and name not in known:
        name = name.rpartition(".")[0]
    if name:
        yield name


def graph(root: Path, packages: tuple[str, ...]) -> Graph:
    """Who imports whom among the modules of the packages."""
    known = modules(root, packages)
    return {name: set(imports(name, path, known)) - {name} for name, path in known.items()}


def cycle(found: Graph) -> str:
    """A circle of imports in words; "" if there is none."""
    try:
        TopologicalSorter(found).prepare()
    except CycleError as error:
        return " is imported by ".join(error.args[1])
    return ""


def test_there_is_no_cycle_of_imports() -> None:
    found = graph(ROOT, PACKAGES)
    assert len(found) > 400, "the packages were looked for in the wrong place"
    assert cycle(found) == ""


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("import p.a", "p.a"),
        ("from p import a", "p.a"),
        ("from p.a import name", "p.a"),
        ("from . import a", "p.a"),
        ("from .a import name", "p.a"),
        ("if TYPE_CHECKING:\n    from p.a import name", "p.a"),
        ("def function():\n    import p.a", "p.a"),
        ("import os", ""),
        ("from p import name", "p"),
    ],
)
def test_whatever_form_an_import_has(tmp_path: Path, statement: str, expected: str) -> None:
    write(tmp_path, __init__="", a="from p.b import name", b=statement)
    found = graph(tmp_path, ("p",))
    assert found["p.b"] == {expected} - {""}
    assert (cycle(found) != "") is (expected == "p.a")


def write(root: Path, **texts: str) -> None:
    (root / "p").mkdir()
    for name, text in texts.items():
        (root / "p" / f"{name}.py").write_text(text, encoding="utf-8")


def test_a_cycle_is_named(tmp_path: Path) -> None:
    write(tmp_path, __init__="", a="import p.b", b="import p.c", c="import p.a")
    assert set(cycle(graph(tmp_path, ("p",))).split(" is imported by ")) == {"p.a", "p.b", "p.c"}
