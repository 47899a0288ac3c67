"""The runtimes that are compared: how the program of each is built, started and called, and what it can do."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from bench.runtime.protocol import Peer
from e2e import cache as store
from e2e.progress import step

if TYPE_CHECKING:
    from collections.abc import Callable

CHECKOUT = Path(__file__).parents[2]
PEERS = Path(__file__).parent / "peers"
REQUIREMENTS = CHECKOUT / "requirements-bench.txt"
PYTHON = str(Path(sys.base_prefix) / "bin" / f"python{sys.version_info.major}.{sys.version_info.minor}")
"""Not the one of the virtual environment that this runs in, whose packages no image has."""
SOURCE = re.compile(r'^source = "(.+)"$', re.MULTILINE)


@dataclass(frozen=True)
class Runtime:
    """One runtime of the comparison.

    Attributes:
        name: As in the results.
        command: Builds what is missing, and returns the command without the options of the protocol.
        version: Of the library.
        passes: Whether all objects can be put into its queue again.
        limits_workers: Whether the number of reconciles at the same time can be set.
        lists: Whether its reconciler can read other objects of the copy.
        needs: Program that it is built with, beyond Go and Python.
        measures: Those that make sense for it; empty: all.
    """

    name: str
    command: Callable[[], list[str]]
    version: Callable[[], str]
    passes: bool = True
    limits_workers: bool = True
    lists: bool = False
    needs: str = ""
    measures: tuple[str, ...] = ()

    def peer(self, kubeconfig: Path, resource: str, objects: int, *options: str) -> Peer:
        """Its program, not yet started."""
        arguments = ["--kubeconfig", str(kubeconfig), "--resource", resource, "--objects", str(objects), *options]
        return Peer([*self.command(), *arguments], environment(), CHECKOUT)


def environment() -> dict[str, str]:
    """What the peers in Python need: exactly the pinned packages, and this checkout."""
    return {"PYTHONPATH": f"{packages()}:{CHECKOUT}"}


def compile_python() -> None:
    """Compile this checkout's modules, as pip does with those that it installs, so that no start has to."""
    _run([PYTHON, "-m", "compileall", "-q", "workqueue", "informers", "controller", "bench"], CHECKOUT)


@cache
def packages() -> Path:
    """A directory with the packages that requirements-bench.txt pins."""

    def install(directory: Path) -> None:
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes"]
        command += ["--no-deps", "--only-binary=:all:", f"--target={directory}", f"--requirement={REQUIREMENTS}"]
        with step("Python packages of the bench"):
            _run(command, CHECKOUT)

    return store.artifact("bench-site-packages", store.digest(sys.version, REQUIREMENTS), install)


def _python(module: str) -> Callable[[], list[str]]:
    # Without what the machine's own site-packages would run at each start.
    return lambda: [PYTHON, "-S", "-m", f"bench.runtime.peers.{module}"]


@cache
def _go() -> list[str]:
    source = PEERS / "controller-runtime"
    version = subprocess.run(["go", "env", "GOVERSION", "GOARCH"], check=True, capture_output=True, text=True).stdout

    def build(directory: Path) -> None:
        with step("build the bench's program on controller-runtime"):
            output = str(directory / "bench")
            _run(["go", "build", "-trimpath", "-ldflags", "-s -w", "-o", output, "."], source, CGO_ENABLED="0")

    return [str(store.artifact("bench-controller-runtime", store.digest(version, source), build) / "bench")]


@cache
def _rust() -> list[str]:
    source = PEERS / "kube-rs"
    version = subprocess.run(["rustc", "--version"], check=True, capture_output=True, text=True).stdout

    def build(directory: Path) -> None:
        with step("build the bench's program on kube-rs"), tempfile.TemporaryDirectory() as scratch:
            crate = Path(scratch) / "crate"
            shutil.copytree(source, crate)
            _run(["cargo", "generate-lockfile"], crate)
            lock = crate / "Cargo.lock"
            lock.write_text(with_source(lock.read_text(), (source / "crates.lock").read_text()))
            target = store.root() / "bench-cargo"
            _run(["cargo", "build", "--release", "--locked"], crate, CARGO_TARGET_DIR=str(target))
            shutil.copy2(target / "release" / "bench-kube-rs", directory / "bench")

    return [str(store.artifact("bench-kube-rs", store.digest(version, source), build) / "bench")]


def with_source(fresh: str, pinned: str) -> str:
    """The pinned crates as a Cargo.lock of this machine.

    A Cargo.lock names the registry of each crate. The pins are kept without, versions and checksums alone, so that they
    hold for any mirror; which one it is here stands in a lock file that cargo has just made.
    """
    found = SOURCE.search(fresh)
    if found is None:
        raise ValueError("cargo's lock file names no source")
    return re.sub(r"^(?=checksum = )", f'source = "{found.group(1)}"\n', pinned, flags=re.MULTILINE)


def _run(command: list[str], directory: Path, **variables: str) -> None:
    result = subprocess.run(command, cwd=directory, env={**os.environ, **variables}, capture_output=True, text=True)
    if result.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{result.stderr[-4000:]}")


def _pinned(file: Path, pattern: str) -> str:
    found = re.search(pattern, file.read_text(), re.MULTILINE)
    if found is None:
        raise ValueError(f"{file}: nothing matches {pattern}")
    return found.group(1)


def _go_version() -> str:
    return _pinned(PEERS / "controller-runtime" / "go.mod", r"sigs\.k8s\.io/controller-runtime v(\S+)")


def _rust_version() -> str:
    return _pinned(PEERS / "kube-rs" / "Cargo.toml", r'^kube = \{ version = "=([^"]+)"')


def _package_version(name: str) -> Callable[[], str]:
    return lambda: _pinned(REQUIREMENTS, rf"^{name}==(\S+)")


def _our_version() -> str:
    """The last commit of the code; "dirty" if the code differs from it. What a bench writes is no code."""
    code = ["workqueue", "informers", "controller", "bench", ":!bench/*.json"]
    last = ["git", "log", "--max-count=1", "--no-merges", "--format=%h", "--", *code]
    commit = subprocess.run(last, cwd=CHECKOUT, capture_output=True, text=True)
    if commit.returncode or not commit.stdout:
        return "unknown"
    same = subprocess.run(["git", "diff", "--quiet", "HEAD", "--", *code], cwd=CHECKOUT)
    return commit.stdout.strip() + ("-dirty" if same.returncode else "")


RUNTIMES = (
    Runtime("ours", _python("ours"), _our_version, lists=True),
    Runtime("controller-runtime", _go, _go_version, lists=True),
    Runtime("controller-runtime-unstructured", lambda: [*_go(), "--typed=false"], _go_version),
    Runtime("kube-rs", _rust, _rust_version, needs="cargo"),
    Runtime("kopf", _python("kopf_peer"), _package_version("kopf"), passes=False, limits_workers=False),
    Runtime("kubernetes-asyncio", _python("kubernetes_asyncio_peer"), _package_version("kubernetes-asyncio")),
    Runtime("bytes-json", _python("bytes"), _our_version, measures=("sync", "sync-custom", "latency", "burst")),
    Runtime(
        "bytes-protobuf",
        lambda: [*_python("bytes")(), "--protobuf"],
        _our_version,
        measures=("sync", "latency", "burst"),
    ),
)
