"""The Go programs that the environment needs, built from pinned modules.

Each directory below `gobuild/` is a recipe: a Go module with `tool` lines and a `go.sum`. Its programs are built with
the machine's own Go, through whatever module proxy the machine is set up for, and kept in the cache.
"""

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

from e2e import cache as store
from e2e.progress import step

RECIPES_DIRECTORY = Path(__file__).parent / "gobuild"


@dataclass(frozen=True)
class Recipe:
    """One Go module below `gobuild/` and the programs to build in it."""

    directory: str
    programs: Mapping[str, str]
    """The file name wanted for each program, and the Go package that it is built from: one in `.test` of its tests."""
    versioned_by: str | None = None
    """The module in go.mod whose version the programs should report as theirs."""
    version_flags: str = ""
    """Linker flags that set that version: `{version}` without the leading v, `{major}`, `{minor}`."""
    usual: bool = True
    """Whether the environment and its tests need them; others take minutes, and are built where they are named."""


_KUBERNETES_VERSION = (
    "-X k8s.io/component-base/version.gitVersion=v{version} -X k8s.io/component-base/version.gitMajor={major} "
    "-X k8s.io/component-base/version.gitMinor={minor} -X k8s.io/client-go/pkg/version.gitVersion=v{version}"
)
_CNI = "github.com/containernetworking/plugins/plugins"
_CONTAINERD = "github.com/containerd/containerd/v2"

RECIPES = (
    Recipe("etcd", {"etcd": "go.etcd.io/etcd/server/v3", "etcdctl": "go.etcd.io/etcd/etcdctl/v3"}),
    Recipe(
        "kubernetes",
        {
            name: f"k8s.io/kubernetes/cmd/{name}"
            for name in (
                "kube-apiserver",
                "kube-controller-manager",
                "kube-proxy",
                "kube-scheduler",
                "kubeadm",
                "kubectl",
                "kubelet",
            )
        },
        versioned_by="k8s.io/kubernetes",
        version_flags=_KUBERNETES_VERSION,
    ),
    Recipe(
        "containerd",
        {name: f"{_CONTAINERD}/cmd/{name}" for name in ("containerd", "containerd-shim-runc-v2", "ctr")},
        versioned_by=_CONTAINERD,
        version_flags=f"-X {_CONTAINERD}/version.Version=v{{version}}",
    ),
    Recipe("kind", {"kind": "sigs.k8s.io/kind"}),
    Recipe(
        "crictl",
        {"crictl": "sigs.k8s.io/cri-tools/cmd/crictl"},
        versioned_by="sigs.k8s.io/cri-tools",
        version_flags="-X sigs.k8s.io/cri-tools/pkg/version.Version=v{version}",
    ),
    Recipe("coredns", {"coredns": "github.com/coredns/coredns"}),
    Recipe(
        "cni-plugins",
        {
            "bridge": f"{_CNI}/main/bridge",
            "host-local": f"{_CNI}/ipam/host-local",
            "loopback": f"{_CNI}/main/loopback",
            "portmap": f"{_CNI}/meta/portmap",
            "ptp": f"{_CNI}/main/ptp",
        },
    ),
    Recipe(
        "helm",
        {"helm": "helm.sh/helm/v3/cmd/helm"},
        versioned_by="helm.sh/helm/v3",
        version_flags="-X helm.sh/helm/v3/internal/version.version=v{version}",
    ),
    # A test engine only: its licence is the AGPL, and no image of it is published.
    Recipe("minio", {"minio": "github.com/minio/minio"}),
    Recipe(
        "snapshotter",
        {"snapshot-controller": "github.com/kubernetes-csi/external-snapshotter/v8/cmd/snapshot-controller"},
    ),
    Recipe("csi-sanity", {"csi-sanity": "github.com/kubernetes-csi/csi-test/v5/cmd/csi-sanity"}),
    # Beside the cluster's own programs, which are not built anew when this changes.
    Recipe(
        "kubernetes-test",
        {
            "e2e.test": "k8s.io/kubernetes/test/e2e",
            "agnhost": "k8s.io/kubernetes/test/images/agnhost",
            "ginkgo": "github.com/onsi/ginkgo/v2/ginkgo",
        },
        versioned_by="k8s.io/kubernetes",
        version_flags=_KUBERNETES_VERSION,
        usual=False,
    ),
    Recipe("node", {"pause": "rook.example/e2e/node/pause", "podnet": "rook.example/e2e/node/podnet"}),
)


def ensure(*names: str) -> Path:
    """A directory in which every named program is, built first where it is missing.

    The directory is one for all programs of this checkout, so a later call may add to it; it never loses one.
    Raises `ValueError` for a name that no recipe makes and `RuntimeError` when Go cannot build it.
    """
    wanted = set(names)
    if unknown := wanted - {name for recipe in RECIPES for name in recipe.programs}:
        raise ValueError(f"no recipe in {RECIPES_DIRECTORY} builds {', '.join(sorted(unknown))}")
    keys = {name: key(recipe, name) for recipe in RECIPES for name in recipe.programs}
    for recipe in RECIPES:
        if asked := {name: keys[name] for name in recipe.programs if name in wanted}:
            _build(recipe, asked)
    return store.artifact("bin", store.digest(*sorted(keys.values())), lambda path: _link(path, keys))


def _link(directory: Path, keys: Mapping[str, str]) -> None:
    """Link every program's place in the cache; the links of programs not built yet dangle until they are."""
    for name, value in keys.items():
        (directory / name).symlink_to(store.location(f"bin-{name}", value) / name)


def key(recipe: Recipe, name: str) -> str:
    """What decides the content of a program: its recipe, package, linker flags, compiler and platform."""
    return store.digest(
        RECIPES_DIRECTORY / recipe.directory, recipe.programs[name], link_flags(recipe), *_go_environment()
    )


@cache
def _go_environment() -> tuple[str, ...]:
    if shutil.which("go") is None:
        raise RuntimeError("go is not on PATH: the environment's programs are built from Go modules")
    output = subprocess.run(["go", "env", "GOVERSION", "GOOS", "GOARCH"], check=True, capture_output=True, text=True)
    return tuple(output.stdout.split())


def _build(recipe: Recipe, keys: Mapping[str, str]) -> None:
    """Build those of the recipe's programs that the cache lacks, in one call so that they are linked in parallel."""
    with store.lock(f"gobuild-{recipe.directory}"):
        missing = [name for name, value in keys.items() if not store.location(f"bin-{name}", value).is_dir()]
        with tempfile.TemporaryDirectory(prefix="rook-gobuild-") as scratch:
            if missing:
                with step(f"build {', '.join(missing)} from Go modules"):
                    programs = [recipe.programs[name] for name in missing if not _is_test(name)]
                    if programs:
                        _go(recipe, "build", *_flags(recipe), "-o", f"{scratch}/", *programs)
                    for name in filter(_is_test, missing):
                        output = f"{scratch}/{program_file(recipe.programs[name])}"
                        _go(recipe, "test", "-c", *_flags(recipe), "-o", output, recipe.programs[name])
            for name, value in keys.items():
                built = Path(scratch) / program_file(recipe.programs[name])
                store.artifact(f"bin-{name}", value, partial(_take, built, name))


def _take(built: Path, name: str, directory: Path) -> None:
    shutil.move(built, directory / name)


def _is_test(name: str) -> bool:
    return name.endswith(".test")


def _flags(recipe: Recipe) -> tuple[str, ...]:
    return ("-trimpath", "-ldflags", link_flags(recipe))


def _go(recipe: Recipe, *arguments: str) -> None:
    command = ["go", *arguments]
    result = subprocess.run(
        command,
        cwd=RECIPES_DIRECTORY / recipe.directory,
        env={**os.environ, "CGO_ENABLED": "0"},
        capture_output=True,
        text=True,
    )
    if result.returncode:
        raise RuntimeError(f"{' '.join(command)} in {recipe.directory} failed:\n{result.stderr[-4000:]}")


def program_file(package: str) -> str:
    """The file name that `go build` gives to a package's program: the last path element that is no major version."""
    return next(part for part in reversed(package.split("/")) if not re.fullmatch(r"v\d+", part))


def link_flags(recipe: Recipe) -> str:
    """The linker flags of a recipe: no symbol tables, and the version that its programs report."""
    if recipe.versioned_by is None:
        return "-s -w"
    version = module_version(recipe.directory, recipe.versioned_by)
    major, minor, _ = version.split(".", 2)
    return "-s -w " + recipe.version_flags.format(version=version, major=major, minor=minor)


def module_version(directory: str, module: str) -> str:
    """The version, without the leading v, that a recipe's go.mod requires of a module."""
    text = (RECIPES_DIRECTORY / directory / "go.mod").read_text()
    found = re.search(rf"^(?:require)?\s+{re.escape(module)} v(\S+)", text, re.MULTILINE)
    if found is None:
        raise ValueError(f"{directory}/go.mod does not require {module}")
    return found.group(1)


def module_directory(directory: str, module: str) -> Path:
    """Where the module cache keeps a recipe's module, downloaded first where it is missing."""
    working = RECIPES_DIRECTORY / directory
    subprocess.run(["go", "mod", "download", module], cwd=working, check=True)
    output = subprocess.run(
        ["go", "list", "-m", "-f", "{{.Dir}}", module], cwd=working, check=True, capture_output=True, text=True
    )
    return Path(output.stdout.strip())
