"""Generates the gRPC stubs of this package: `python -m controller.agent.node.generate`.

The protocol definitions are taken from Go modules, where their owners publish them, pinned by version and content. The
stubs are build products: they are not kept in the repository.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import msgspec

PACKAGE = Path(__file__).parent
ROOT = PACKAGE.parents[2]


@dataclass(frozen=True, slots=True)
class Definition:
    """A .proto file in a Go module.

    Attributes:
        module: The module's path and version, as `go mod download` takes it.
        sum: The checksum of the module's content, as go.sum files have it.
        path: The file in the module.
        name: The name of the stubs: `<name>_pb2`.
    """

    module: str
    sum: str
    path: str
    name: str


DEFINITIONS = (
    Definition(
        module="github.com/container-storage-interface/spec@v1.11.0",
        sum="h1:H/YKTOeUZwHtyPOr9raR+HgFmGluGCklulxDYxSdVNM=",
        path="csi.proto",
        name="csi",
    ),
    Definition(
        module="k8s.io/kubelet@v0.36.3",
        sum="h1:dRzEnhHk35Opy6wjWR4YBcN5RI9lB2npUY37TghFuPU=",
        path="pkg/apis/pluginregistration/v1/api.proto",
        name="registration",
    ),
)


class _Download(msgspec.Struct, rename="pascal"):
    dir: str = ""
    sum: str = ""
    error: str = ""


def fetch(definition: Definition) -> Path:
    """The .proto file of `definition`, from the module cache or by the `go` command.

    Raises:
        RuntimeError: It cannot be had, or it is not the content that is pinned here.
    """
    go = shutil.which("go")
    if go is None:
        raise RuntimeError(
            f"cannot fetch {definition.module}: the command 'go' is not in PATH; install Go 1.21 or newer"
        )
    done = subprocess.run(  # noqa: S603
        [go, "mod", "download", "-json", definition.module], cwd=tempfile.gettempdir(), capture_output=True, check=False
    )
    if not done.stdout:
        raise RuntimeError(f"cannot fetch {definition.module}: {done.stderr.decode().strip()}")
    download = msgspec.json.decode(done.stdout, type=_Download)
    if download.error:
        raise RuntimeError(f"cannot fetch {definition.module}: {download.error}")
    if download.sum != definition.sum:
        raise RuntimeError(f"{definition.module} has checksum {download.sum}, not the pinned {definition.sum}")
    return Path(download.dir) / definition.path


def are_there() -> bool:
    """Whether every definition has its stubs beside this module."""
    names = (f"{definition.name}_pb2{part}.py" for definition in DEFINITIONS for part in ("", "_grpc"))
    return all((PACKAGE / name).exists() for name in names)


def generate() -> None:
    """Writes `<name>_pb2.py`, `<name>_pb2_grpc.py` and their type stubs beside this module, for each definition."""
    with tempfile.TemporaryDirectory() as directory:
        # protoc derives the import path of the stubs from where the definition lies below its root.
        package = Path(directory, PACKAGE.relative_to(ROOT))
        package.mkdir(parents=True)
        sources: list[str] = []
        for definition in DEFINITIONS:
            source = package / f"{definition.name}.proto"
            shutil.copyfile(fetch(definition), source)
            sources.append(str(source.relative_to(directory)))
        plugins = [
            f"--plugin={p}={Path(sys.executable).parent / p}" for p in ("protoc-gen-mypy", "protoc-gen-mypy_grpc")
        ]
        outputs = [f"--{kind}_out={ROOT}" for kind in ("python", "grpc_python", "mypy", "mypy_grpc")]
        subprocess.run(  # noqa: S603
            [sys.executable, "-m", "grpc_tools.protoc", f"--proto_path={directory}", *plugins, *outputs, *sources],
            check=True,
        )


if __name__ == "__main__":
    generate()
