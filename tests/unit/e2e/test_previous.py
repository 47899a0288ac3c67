"""The release before this one: which commit it is, and its sources."""

import subprocess
from pathlib import Path

import pytest

from e2e import images, previous
from e2e.previous import NoHistoryError

GENERATOR = "from pathlib import Path\nPath(__file__).with_name('made_pb2.py').write_text('')\n"


class Checkout:
    """A repository with the files of a release, and commits."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.git("init", "--quiet", "--initial-branch=main")
        self.write("controller/agent/node/generate.py", GENERATOR)
        self.write("charts/rook/Chart.yaml", "first")
        self.first = self.commit()

    def git(self, *arguments: str) -> str:
        identity = ("-c", "user.name=a", "-c", "user.email=a@example.com", "-c", "commit.gpgsign=false")
        command = ["git", *identity, "-C", str(self.directory), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    def write(self, path: str, text: str) -> None:
        file = self.directory / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def commit(self) -> str:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message=state")
        return self.git("rev-parse", "HEAD")


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Checkout:
    directory = tmp_path / "checkout"
    directory.mkdir()
    monkeypatch.setattr(previous, "CHECKOUT", directory)
    monkeypatch.setattr(previous, "RELEASED", ("charts", "controller"))
    monkeypatch.setenv("ROOK_CACHE", str(tmp_path / "cache"))
    return Checkout(directory)


def test_the_newest_state_that_differs_is_the_release_before(checkout: Checkout) -> None:
    checkout.write("controller/code.py", "second")
    second = checkout.commit()
    assert previous.commit() == checkout.first
    checkout.write("docs/page.md", "no part of a release")
    with_docs = checkout.commit()
    assert previous.commit() == checkout.first
    checkout.write("controller/code.py", "not committed")
    assert previous.commit() == with_docs
    checkout.commit()
    assert previous.commit() == with_docs != second


def test_commits_of_a_branch_that_was_merged_are_no_releases(checkout: Checkout) -> None:
    checkout.git("checkout", "--quiet", "-b", "branch")
    for text in ("half", "whole"):
        checkout.write("controller/code.py", text)
        checkout.commit()
    checkout.git("checkout", "--quiet", "main")
    checkout.git("merge", "--quiet", "--no-ff", "--message=merge", "branch")
    assert previous.commit() == checkout.first


def test_without_enough_history_it_says_how_to_get_more(checkout: Checkout) -> None:
    assert previous.has_history()
    with pytest.raises(NoHistoryError, match=r"same in all 1 commits .*git fetch --deepen"):
        previous.commit()


def test_its_sources_are_those_of_the_commit_with_what_is_generated_of_them(checkout: Checkout) -> None:
    checkout.write("charts/rook/Chart.yaml", "second")
    tree = previous.tree()
    assert (tree / "charts/rook/Chart.yaml").read_text() == "first"
    assert (tree / "controller/agent/node/made_pb2.py").exists()
    assert not (tree / "archive.tar").exists()
    assert previous.tree() == tree


def test_operator_and_agent_of_the_release_before_have_recipes_like_those_of_this() -> None:
    for name in ("operator", "agent"):
        recipe, before = images.RECIPES[name], images.RECIPES[f"{name}-previous"]
        assert (before.files, before.base, before.version) == (recipe.files, recipe.base, recipe.version)
