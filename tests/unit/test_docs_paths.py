"""Files and folders that the documentation names exist."""

import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = (*ROOT.glob("docs/**/*.md"), *ROOT.glob("*.md"), ROOT / "charts/rook/README.md")
FOLDERS = ("bench", "charts", "controller", "docs", "e2e", "informers", "manifests", "tests", "tools", "workqueue")
BUILT = ("docs/reference",)
"""Made of docstrings, which name modules as Python does."""
WRITTEN = ("bench/cluster.json",)
"""What a command writes, and the repository does not keep."""
FENCE = re.compile(r"^( *```).*?^\1", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\]\(([^)\s]+)\)")
PATH = re.compile(r"[\w.*-]+(/[\w.*-]+)*/?")
MODULE = re.compile(r"`(?:controller\.)?framework\.(\w+)")
BASE = re.compile(r"[Pp]aths are below `([^`]+)`")


def missing_links(page: Path, text: str) -> list[str]:
    """Links to files that do not exist."""
    links = (link.partition("#")[0] for link in LINK.findall(text) if "://" not in link)
    return [link for link in links if link and not (page.parent / link).exists()]


def missing_paths(text: str) -> list[str]:
    """Code spans that look like a path of the repository, by its first folder or as a Python file, and are none."""
    spans = [span for span in SPAN.findall(text) if PATH.fullmatch(span)]
    named = [span for span in spans if span.startswith(tuple(f"{folder}/" for folder in FOLDERS))]
    files = [span for span in spans if span.endswith(".py") and span not in named]
    return [path for path in named if path not in WRITTEN and not any(ROOT.glob(path))] + [
        name for name in files if not any(file.match(name) for file in python_files())
    ]


def missing_modules(text: str) -> list[str]:
    """Modules of the framework that are named and do not exist."""
    return [name for name in MODULE.findall(text) if name not in framework()]


def missing_rows(text: str) -> list[str]:
    """Paths of tables that say below which folder they are; a bare name is in the folder of the path before it."""
    missing = []
    for section in re.split(r"^## ", text, flags=re.MULTILINE):
        base = BASE.search(section)
        for row in section.splitlines() if base else ():
            folder = ROOT / base[1] if base else ROOT
            for span in SPAN.findall(row) if row.startswith("|") else ():
                if not PATH.fullmatch(span) or not span.endswith(("/", ".py")):
                    continue
                path = ROOT / base[1] / span if base and "/" in span else folder / span
                folder = path if span.endswith("/") else path.parent
                missing += [] if path.exists() else [span]
    return missing


def framework() -> set[str]:
    """The framework's modules."""
    return {file.stem for file in (ROOT / "controller/framework").glob("*.py")} - {"__init__"}


@cache
def python_files() -> tuple[Path, ...]:
    """The repository's, without those of an environment in it."""
    return tuple(file for folder in FOLDERS for file in (ROOT / folder).rglob("*.py"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_a_page_names_exists(page: Path) -> None:
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    assert missing_links(page, text) == []
    if not str(page.relative_to(ROOT)).startswith(BUILT):
        assert missing_paths(text) == []
        assert missing_rows(text) == []
        assert missing_modules(text) == []


def test_the_architecture_names_every_module_of_the_framework() -> None:
    text = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    table = text.partition("The framework, by what a system does not write itself.")[2].partition("\n\n[Adding")[0]
    named = [name for row in table.splitlines() for name in SPAN.findall(row.split("|")[1] if "|" in row else "")]
    assert sorted(named) == sorted(framework())


def test_what_does_not_exist_is_found() -> None:
    page = ROOT / "docs/README.md"
    assert missing_links(page, "[a](architecture.md#b), [c](nowhere.md), [d](https://example.com)") == ["nowhere.md"]
    assert missing_paths("`controller/ceph/pods.py`, `e2e/test_*.py`, `ceph/part.py`, `cluster/part.py`") == [
        "cluster/part.py"
    ]
    assert missing_paths("`controller/nowhere/`, `tests/unit/`") == ["controller/nowhere/"]
    rows = (
        "Paths are below `controller/`.\n\n| 1 | `ceph/mon/part.py`, `analyze.py`, `script.py`; `framework/plan.py` |\n"
    )
    assert missing_rows(rows) == ["script.py"]
    assert missing_modules("`framework.rollout`, `controller.framework.nowhere`") == ["nowhere"]
