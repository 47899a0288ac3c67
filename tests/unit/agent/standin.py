"""Standins for what a node has: block devices of images, and an owner of tasks."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from controller.agent.ceph.credentials import Credentials
from controller.agent.node.block import BlockDriver
from controller.agent.node.calls import Operations
from controller.agent.node.clients import Clients
from controller.agent.node.problems import Problems
from controller.agent.node.service import NodeService
from controller.agent.node.topology import Topology
from controller.agent.rbd.devices import RbdDevices
from controller.agent.rbd.mapper import MappingError
from controller.agent.rbd.protocol import Image, Mapped
from controller.agent.system import loop
from controller.agent.system.command import Runner, run
from controller.apis.rook.node_report import VolumeClient
from informers import JsonObject, Resource, TransportError

GIB = 1 << 30
ADDRESS = "10.0.0.1:0/3456"
"""Of the client of each "image"."""

needs_loop_devices = pytest.mark.skipif(
    os.geteuid() != 0 or not Path("/dev/loop-control").exists(), reason="needs root and loop devices"
)


class Labels:
    """The labels of a node, as the API server tells them."""

    def __init__(self, **labels: str) -> None:
        self.labels = labels
        self.problem: Exception | None = None

    async def get(self, resource: Resource, namespace: str, name: str) -> JsonObject:
        if self.problem is not None:
            raise self.problem
        return {"metadata": {"name": name, "labels": dict(self.labels)}}


class FileMapper:
    """A standin for the RBD mappers: an "image" is a sparse file, and its block device a real loop device on it."""

    name = "userspace"

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.mapped: dict[str, Mapped] = {}
        self.credentials: Credentials | None = None
        self.problem = ""

    def create(self, name: str, size: int = GIB) -> Path:
        path = self.directory / name
        with path.open("ab") as file:
            file.truncate(size)
        return path

    async def usable(self) -> str:
        return self.problem

    async def unsuitable(self, image: Image) -> str:
        return ""

    async def volumes(self) -> Sequence[str]:
        return tuple(self.mapped)

    async def find(self, volume: str) -> Mapped | None:
        return self.mapped.get(volume)

    async def map(self, volume: str, image: Image, credentials: Credentials, *, read_only: bool) -> Mapped:
        self.credentials = credentials
        path = self.directory / image.name
        if not path.exists():
            raise MappingError(f"image {image} does not exist")
        device = await loop.attach(run, path, read_only=read_only)
        self.mapped[volume] = Mapped(
            volume=volume, image=str(image), device=device, read_only=read_only, address=ADDRESS
        )
        return self.mapped[volume]

    async def unmap(self, volume: str) -> None:
        if mapped := self.mapped.get(volume):
            await loop.detach(run, mapped.device)
            del self.mapped[volume]

    async def expand(self, volume: str, size: int) -> None:
        mapped = self.mapped[volume]
        self.create(mapped.image.rpartition("/")[2], size)
        await loop.set_capacity(run, mapped.device)


class Tasks:
    """Starts tasks as a task group does; a fixture cannot hold a real one, which belongs to one task."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def start_soon(self, function: Callable[[], Coroutine[Any, Any, None]]) -> None:
        task = asyncio.get_running_loop().create_task(function())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class Operator:
    """A standin for who reads what the node tells: takes it, or refuses."""

    def __init__(self, directory: Path) -> None:
        self.clients = Clients(directory, self.publish)
        self.problems = Problems(self.publish)
        self.told: list[tuple[VolumeClient, ...]] = []
        self.refuses = False

    async def publish(self) -> None:
        if self.refuses:
            raise TransportError("the server does not answer")
        self.told.append(self.clients.listed())


async def unheard() -> None:
    """Writes nothing, for what nobody reads."""


DRIVER = "rook-ceph.rbd.csi.ceph.com"


def service(
    mapper: FileMapper, operator: Operator, directory: Path, operations: Operations, run: Runner = run
) -> NodeService:
    """The node service of a node that has room for 7 volumes."""
    devices = RbdDevices("node-a", [mapper], CollectorRegistry(), 7)
    driver = BlockDriver("node-a", devices, operator.clients, directory / "state", runner=run)
    return NodeService("node-a", DRIVER, driver, operations, Topology(Labels(), "node-a"), operator.problems)
