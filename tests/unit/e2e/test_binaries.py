"""Programs from Go modules: what is built how, and when it is built anew."""

import re
import shutil
from pathlib import Path

import pytest

from e2e import binaries

KUBERNETES = next(recipe for recipe in binaries.RECIPES if recipe.directory == "kubernetes")


def test_every_recipe_builds_what_its_module_pins_as_tools() -> None:
    for recipe in binaries.RECIPES:
        text = (binaries.RECIPES_DIRECTORY / recipe.directory / "go.mod").read_text()
        tools = re.findall(r"^(?:tool)?\s+([\w.-]+/\S+)$", text, re.MULTILINE)
        if tools:
            assert sorted(tools) == sorted(recipe.programs.values()), recipe.directory


def test_no_two_recipes_make_the_same_program() -> None:
    names = [name for recipe in binaries.RECIPES for name in recipe.programs]
    assert len(names) == len(set(names))


def test_the_version_that_programs_report_is_the_one_that_go_mod_pins() -> None:
    version = binaries.module_version("kubernetes", "k8s.io/kubernetes")
    major, minor, _ = version.split(".")
    flags = binaries.link_flags(KUBERNETES)
    assert f"version.gitVersion=v{version}" in flags
    assert f"version.gitMajor={major}" in flags
    assert f"version.gitMinor={minor}" in flags


def test_the_conformance_suite_is_of_the_version_that_the_cluster_runs() -> None:
    assert binaries.module_version("kubernetes-test", "k8s.io/kubernetes") == binaries.module_version(
        "kubernetes", "k8s.io/kubernetes"
    )


def test_a_module_that_is_not_required_is_named_in_the_error() -> None:
    with pytest.raises(ValueError, match=r"etcd/go\.mod does not require example\.com/absent"):
        binaries.module_version("etcd", "example.com/absent")


def test_an_unknown_program_is_named_in_the_error() -> None:
    with pytest.raises(ValueError, match="builds no-such-program"):
        binaries.ensure("etcd", "no-such-program")


@pytest.mark.parametrize(
    ("package", "file"),
    [
        ("go.etcd.io/etcd/server/v3", "server"),
        ("k8s.io/kubernetes/cmd/kubelet", "kubelet"),
        ("github.com/onsi/ginkgo/v2/ginkgo", "ginkgo"),
        ("github.com/containerd/containerd/v2/cmd/ctr", "ctr"),
    ],
)
def test_the_file_that_go_build_makes(package: str, file: str) -> None:
    assert binaries.program_file(package) == file


def test_a_key_follows_the_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(binaries.RECIPES_DIRECTORY, tmp_path / "gobuild")
    monkeypatch.setattr(binaries, "RECIPES_DIRECTORY", tmp_path / "gobuild")
    before = {name: binaries.key(KUBERNETES, name) for name in KUBERNETES.programs}
    assert len(set(before.values())) == len(before)
    with (tmp_path / "gobuild" / "kubernetes" / "go.sum").open("a") as sums:
        sums.write("example.com/new v1.0.0 h1:abc=\n")
    assert all(binaries.key(KUBERNETES, name) != before[name] for name in before)
