"""Jars: what a recipe asks for, and that nothing else is taken."""

import hashlib
from pathlib import Path

import pytest

from e2e import images, jars


def test_every_recipe_has_a_project_and_the_sums_of_its_jars() -> None:
    for recipe in jars.RECIPES_DIRECTORY.iterdir():
        assert (recipe / "pom.xml").is_file()
        assert all(len(line.split()[0]) == 64 for line in (recipe / jars.SUMS).read_text().splitlines())


def test_the_version_of_an_image_is_that_of_its_jars() -> None:
    assert images.RECIPES["cassandra-41"].version == jars.version("cassandra-41", "cassandra-all")
    with pytest.raises(ValueError, match="does not ask for nothing"):
        jars.version("agents", "nothing")


def test_the_operators_image_names_every_agent() -> None:
    lines = (jars.RECIPES_DIRECTORY / "agents" / jars.SUMS).read_text().splitlines()
    assert {line.split()[1].partition("-")[0] for line in lines} == images.AGENTS.keys()


@pytest.mark.parametrize("change", ["other", "more", "fewer"])
def test_another_jar_than_the_recipes_is_not_taken(tmp_path: Path, change: str) -> None:
    recipe, found = tmp_path / "recipe", tmp_path / "found"
    recipe.mkdir()
    found.mkdir()
    (recipe / jars.SUMS).write_text(f"{hashlib.sha256(b'one').hexdigest()} one-1.jar\n")
    (found / "one-1.jar").write_bytes(b"one")
    jars.check(recipe, found)
    match change:
        case "other":
            (found / "one-1.jar").write_bytes(b"two")
        case "more":
            (found / "two-1.jar").write_bytes(b"two")
        case "fewer":
            (found / "one-1.jar").unlink()
    with pytest.raises(RuntimeError, match=r"not as recipe/SHA256SUMS has them: (one|two)-1\.jar"):
        jars.check(recipe, found)
