"""A node to test on: real loop devices, file systems and mounts, all of which are taken away after the test."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from controller.agent.node.calls import Operations
from controller.agent.node.service import NodeService
from controller.agent.system import mounts
from e2e import host
from tests.unit.agent.standin import FileMapper, Operator, Tasks, service


@pytest.fixture(scope="session", autouse=True)
def file_systems() -> None:
    """The programs that the agent's image has."""
    host.install("mount", "e2fsprogs", "xfsprogs")


@pytest.fixture
def mapper(tmp_path: Path) -> Iterator[FileMapper]:
    directory = tmp_path / "images"
    directory.mkdir()
    yield FileMapper(directory)
    for mount in reversed(mounts.read()):
        if mount.target.startswith(str(tmp_path)):
            subprocess.run(["umount", mount.target], check=True)
    listing = subprocess.run(["losetup", "--list", "--noheadings", "--output", "NAME,BACK-FILE"], capture_output=True)
    for line in listing.stdout.decode().splitlines():
        device, _, file = line.partition(" ")
        if file.strip().startswith(str(directory)):
            subprocess.run(["losetup", "--detach", device], check=True)


@pytest.fixture
def operator(tmp_path: Path) -> Operator:
    return Operator(tmp_path / "state/clients")


@pytest.fixture
def node(mapper: FileMapper, operator: Operator, tmp_path: Path) -> NodeService:
    return service(mapper, operator, tmp_path, Operations(Tasks()))
