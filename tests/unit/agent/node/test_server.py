"""The sockets of a driver: they are there while it is served, and gone once it is not, however that ends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import anyio
import grpc.aio
import pytest
from prometheus_client import CollectorRegistry

from controller.agent.node import csi_pb2, csi_pb2_grpc, registration_pb2, registration_pb2_grpc
from controller.agent.node.calls import Interceptor
from controller.agent.node.identity import IdentityService
from controller.agent.node.server import serve_driver
from controller.agent.node.service import NodeService
from tests.unit.agent.standin import DRIVER


@pytest.fixture
def kubelet() -> Iterator[Path]:
    """A directory with a short name: the path of a unix socket has 107 characters at most."""
    with TemporaryDirectory(prefix="kubelet") as directory:
        yield Path(directory)


async def test_a_driver_that_registers_anew_has_another_socket_for_it_and_serves_on(
    node: NodeService, kubelet: Path
) -> None:
    own, registry = kubelet / "plugins" / DRIVER / "csi.sock", kubelet / "plugins_registry" / f"{DRIVER}-reg.sock"

    async def no_problem() -> str:
        return ""

    identity, interceptor = IdentityService(DRIVER, "1", no_problem), Interceptor(CollectorRegistry())
    with anyio.fail_after(60):
        async with serve_driver(kubelet, DRIVER, identity, node, interceptor) as served:
            before = registry.stat().st_ino, own.stat().st_ino
            (kubelet / "kept").hardlink_to(registry)  # so that its number is not given to the next
            await served.renew()
            assert registry.stat().st_ino != before[0], "the kubelet looks for a new socket"
            assert own.stat().st_ino == before[1]
            async with grpc.aio.insecure_channel(f"unix:{registry}") as channel:
                stub = registration_pb2_grpc.RegistrationStub(channel)
                assert (await stub.GetInfo(registration_pb2.InfoRequest())).name == DRIVER
            async with grpc.aio.insecure_channel(f"unix:{own}") as channel:
                info = await csi_pb2_grpc.NodeStub(channel).NodeGetInfo(csi_pb2.NodeGetInfoRequest())
            assert info.node_id == "node-a"
    assert not registry.exists()


async def test_a_driver_that_is_cancelled_ends_with_an_error_that_has_an_end(node: NodeService, kubelet: Path) -> None:
    socket = kubelet / "plugins" / DRIVER / "csi.sock"
    ready, chain = anyio.Event(), list[BaseException]()

    async def no_problem() -> str:
        return ""

    async def serve() -> None:
        identity, interceptor = IdentityService(DRIVER, "1", no_problem), Interceptor(CollectorRegistry())
        try:
            async with AsyncExitStack() as stack:  # as in the agent
                tasks = await stack.enter_async_context(anyio.create_task_group())
                tasks.start_soon(anyio.sleep_forever)
                await stack.enter_async_context(serve_driver(kubelet, DRIVER, identity, node, interceptor))
                ready.set()
                await anyio.sleep_forever()
        except anyio.get_cancelled_exc_class() as error:
            found: BaseException | None = error
            while found is not None and found not in chain:
                chain.append(found)
                found = found.__context__
            assert found is None, "whoever follows the chain, as anyio does, would go round for ever"
            raise

    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(serve)
            await ready.wait()
            async with grpc.aio.insecure_channel(f"unix:{socket}") as channel:
                info = await csi_pb2_grpc.NodeStub(channel).NodeGetInfo(csi_pb2.NodeGetInfoRequest())
            assert info.max_volumes_per_node == 7
            tasks.cancel_scope.cancel()
    assert chain
    assert not await anyio.Path(socket).exists()
