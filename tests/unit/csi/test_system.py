"""Controller services on their sockets, while the operator leads."""

from __future__ import annotations

import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio
import grpc.aio
import pytest
from prometheus_client import CollectorRegistry

from controller.agent.node import csi_pb2, csi_pb2_grpc
from controller.csi import system
from controller.volumes.drivers import Drivers
from tests.unit.volumes.objects import DRIVER
from tests.unit.volumes.world import FakeBackend, World, caches_of

OTHER = "other.rbd.csi.ceph.com"
KINDS = csi_pb2.PluginCapability.Service


async def test_each_driver_has_its_socket_which_goes_with_the_lead() -> None:
    world = World()
    runnables: list[Any] = []
    registry = CollectorRegistry()
    manager: Any = SimpleNamespace(registry=registry, client=world.client(), add_runnable=runnables.append)
    volumes: Any = SimpleNamespace(caches=caches_of(world), drivers=Drivers([FakeBackend(world)]))
    # A short name: the path of a unix socket has 107 characters at most.
    with tempfile.TemporaryDirectory(prefix="rook-") as name:
        sockets = {DRIVER: Path(name, "one.sock"), OTHER: Path(name, "two.sock")}
        system.register(manager, volumes, "rook-ceph", sockets)
        (serve,) = runnables
        async with anyio.create_task_group() as leading:
            leading.start_soon(serve)
            with anyio.fail_after(10):
                while not all(socket.exists() for socket in sockets.values()):  # noqa: ASYNC110
                    await anyio.sleep(0.01)
                ready = {driver: await asked(driver, socket) for driver, socket in sockets.items()}
            leading.cancel_scope.cancel()
        assert ready == {DRIVER: True, OTHER: False}
        assert not any(socket.exists() for socket in sockets.values())
    calls = registry.get_sample_value(
        f"{system.METRIC}_count", {"method": "ControllerGetCapabilities", "code": "UNAVAILABLE"}
    )
    assert calls == 1


async def asked(driver: str, socket: Path) -> bool:
    """Whether the driver on a socket says that it is ready; it has to say who it is, and that it is a controller."""
    async with grpc.aio.insecure_channel(f"unix:{socket}") as channel:
        identity, controller = csi_pb2_grpc.IdentityStub(channel), csi_pb2_grpc.ControllerStub(channel)
        assert (await identity.GetPluginInfo(csi_pb2.GetPluginInfoRequest())).name == driver
        found = (await identity.GetPluginCapabilities(csi_pb2.GetPluginCapabilitiesRequest())).capabilities
        declared = {capability.service.type for capability in found}
        assert {KINDS.CONTROLLER_SERVICE, KINDS.VOLUME_ACCESSIBILITY_CONSTRAINTS} <= declared
        ready = (await identity.Probe(csi_pb2.ProbeRequest())).ready.value
        request = csi_pb2.ControllerGetCapabilitiesRequest()
        if ready:
            assert (await controller.ControllerGetCapabilities(request)).capabilities
        else:
            with pytest.raises(grpc.aio.AioRpcError, match="is not served now"):
                await controller.ControllerGetCapabilities(request)
        return ready
