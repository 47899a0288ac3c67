"""The cache: keys follow content, artifacts appear whole or not at all, once, and old ones go."""

import os
import threading
from pathlib import Path

import pytest

from e2e import cache


@pytest.fixture(autouse=True)
def _root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROOK_CACHE", str(tmp_path / "cache"))


def test_the_root_is_in_the_home_directory_unless_the_environment_names_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cache.root() == tmp_path / "cache"
    monkeypatch.delenv("ROOK_CACHE")
    monkeypatch.setenv("HOME", "/home/user")
    assert cache.root() == Path("/home/user/.cache/rook")


def test_a_key_tells_how_the_parts_are_divided() -> None:
    assert cache.digest("ab", "c") != cache.digest("a", "bc")
    assert cache.digest("ab", "c") == cache.digest(b"ab", "c")


def recipe(directory: Path) -> Path:
    (directory / "sub").mkdir(parents=True)
    (directory / "Containerfile").write_text("FROM scratch\n")
    (directory / "sub" / "script").write_text("true\n")
    return directory


def test_a_directory_counts_by_what_is_in_it_and_not_by_where_it_is(tmp_path: Path) -> None:
    assert cache.digest(recipe(tmp_path / "one")) == cache.digest(recipe(tmp_path / "two"))


def test_bytecode_does_not_count(tmp_path: Path) -> None:
    directory = recipe(tmp_path / "recipe")
    before = cache.digest(directory)
    (directory / "__pycache__").mkdir()
    (directory / "__pycache__" / "module.pyc").write_text("compiled")
    assert cache.digest(directory) == before


@pytest.mark.parametrize("change", ["content", "name", "mode", "addition"])
def test_every_change_to_a_recipe_changes_its_key(tmp_path: Path, change: str) -> None:
    directory = recipe(tmp_path / "recipe")
    before = cache.digest(directory)
    script = directory / "sub" / "script"
    match change:
        case "content":
            script.write_text("false\n")
        case "name":
            script.rename(directory / "sub" / "other")
        case "mode":
            script.chmod(0o755)
        case "addition":
            (directory / "new").touch()
    assert cache.digest(directory) != before


def test_an_artifact_is_built_once() -> None:
    calls = []

    def build(directory: Path) -> None:
        calls.append(directory)
        (directory / "program").write_text("built")

    first = cache.artifact("tool", "k1", build)
    assert cache.artifact("tool", "k1", build) == first == cache.location("tool", "k1")
    assert (first / "program").read_text() == "built"
    assert len(calls) == 1


def test_a_failed_build_leaves_nothing_and_the_next_one_starts_afresh() -> None:
    def broken(directory: Path) -> None:
        (directory / "half").touch()
        raise RuntimeError("no compiler")

    with pytest.raises(RuntimeError, match="no compiler"):
        cache.artifact("tool", "k1", broken)
    assert cache.entries() == []
    assert list((cache.root() / "artifacts" / "tool").iterdir()) == []
    path = cache.artifact("tool", "k1", lambda directory: (directory / "whole").touch())
    assert [file.name for file in path.iterdir()] == ["whole"]


def test_what_a_killed_build_left_is_removed_by_the_next_one() -> None:
    abandoned = cache.root() / "artifacts" / "tool" / ".building-x"
    abandoned.mkdir(parents=True)
    cache.artifact("tool", "k1", lambda directory: None)
    assert not abandoned.exists()


def test_callers_at_the_same_time_build_it_once_and_all_get_it() -> None:
    building, proceed = threading.Event(), threading.Event()
    calls, results = [], []

    def build(directory: Path) -> None:
        calls.append(directory)
        building.set()
        assert proceed.wait(60)

    def call() -> None:
        results.append(cache.artifact("tool", "k1", build))

    threads = [threading.Thread(target=call) for _ in range(4)]
    for thread in threads:
        thread.start()
    assert building.wait(60)
    proceed.set()
    for thread in threads:
        thread.join(60)
    assert len(calls) == 1
    assert results == [cache.location("tool", "k1")] * 4


def used(name: str, key: str, at: float) -> cache.Entry:
    return cache.Entry(name, key, Path(name) / key, at)


def test_of_each_name_the_last_used_keys_are_no_surplus() -> None:
    found = [used("a", "old", 1), used("b", "only", 0), used("a", "new", 3), used("a", "middle", 2)]
    assert [entry.key for entry in cache.surplus(found, keep=2)] == ["old"]


def test_publishing_a_new_key_prunes_the_longest_unused_one() -> None:
    for age, key in enumerate(["k3", "k2", "k1"]):
        path = cache.artifact("tool", key, lambda directory: None)
        os.utime(path, (1000 - age, 1000 - age))
    cache.artifact("other", "k1", lambda directory: None)
    cache.artifact("tool", "k4", lambda directory: None)
    kept = [(entry.name, entry.key) for entry in cache.entries()]
    assert kept == [("other", "k1"), ("tool", "k4"), ("tool", "k3"), ("tool", "k2")]


def test_using_an_artifact_saves_it_from_the_next_prune() -> None:
    for age, key in enumerate(["k1", "k2"]):
        os.utime(cache.artifact("tool", key, lambda directory: None), (1000 + age, 1000 + age))
    cache.artifact("tool", "k1", lambda directory: pytest.fail("it is there"))
    removed = cache.prune(keep=1)
    assert [entry.key for entry in removed] == ["k2"]
    assert not cache.location("tool", "k2").exists()


def test_a_sparse_file_counts_for_what_it_holds(tmp_path: Path) -> None:
    with (tmp_path / "disk.img").open("wb") as file:
        file.truncate(1 << 30)
    assert cache.size(tmp_path) < 1 << 20
