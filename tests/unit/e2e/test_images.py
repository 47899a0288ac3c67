"""Container images: the order in which they are made, and when they are made anew."""

import shutil
from pathlib import Path

import pytest

from e2e import image_recipe, images
from e2e.image_recipe import Recipe, key


def test_an_image_comes_in_a_later_wave_than_the_one_it_stands_on() -> None:
    assert images.waves(["agent", "postgres"]) == [["debian"], ["base", "postgres"], ["agent-base"], ["agent"]]


def test_no_names_no_waves() -> None:
    assert images.waves([]) == []


def test_every_base_is_a_recipe_and_every_built_image_has_a_containerfile() -> None:
    for one in images.RECIPES.values():
        if one.base is not None:
            assert one.base in images.RECIPES
            assert (one.files / "Containerfile").is_file()


def test_an_unknown_image_is_named_in_the_error() -> None:
    with pytest.raises(ValueError, match="makes no-such-image"):
        images.ensure("ceph", "no-such-image")


def test_a_key_follows_the_recipe_its_base_and_what_is_added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(image_recipe.RECIPES_DIRECTORY, tmp_path / "images")
    monkeypatch.setattr(image_recipe, "RECIPES_DIRECTORY", tmp_path / "images")
    added = tmp_path / "source.py"
    added.write_text("one = 1\n")
    ceph = Recipe("ceph", "v18.2", inputs=lambda: (added,))
    keys = [key(ceph, "base:1"), key(ceph, "base:2")]
    added.write_text("one = 2\n")
    keys.append(key(ceph, "base:1"))
    (tmp_path / "images" / "ceph" / "bcrypt.py").write_text("")
    keys.append(key(ceph, "base:1"))
    assert len(set(keys)) == len(keys)


def test_the_daemon_images_hold_all_that_their_entry_points_import() -> None:
    for name in ("operator", "agent"):
        text = (image_recipe.RECIPES_DIRECTORY / name / "Containerfile").read_text()
        for package in images.SOURCE_PACKAGES:
            assert f"dist-packages/{package}" in text
            assert (images.CHECKOUT / package).is_dir()
