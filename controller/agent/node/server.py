"""The sockets of a CSI driver on a node: one that serves its calls, and one through which the kubelet finds that."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
import grpc.aio

from controller.agent.node import csi_pb2_grpc, registration_pb2_grpc
from controller.agent.node.registration import RegistrationService

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
    from pathlib import Path

    from controller.agent.node.calls import Interceptor
    from controller.agent.node.identity import IdentityService
    from controller.agent.node.service import NodeService

_GRACE = 5.0
"""Seconds that calls under way get when the process ends. What they started goes on longer, or is found half done."""


@dataclass(frozen=True, slots=True)
class Served:
    """A driver that is served.

    Attributes:
        registration: Knows whether the kubelet has taken it.
        renew: Registers it anew, whereupon the kubelet asks anew about the node. For a second or two it then serves no
            calls.
    """

    registration: RegistrationService
    renew: Callable[[], Awaitable[None]]


@asynccontextmanager
async def serve_driver(
    kubelet: Path, driver: str, identity: IdentityService, node: NodeService, interceptor: Interceptor
) -> AsyncIterator[Served]:
    """Serves a driver and registers it with the kubelet, until the context ends.

    Args:
        kubelet: The kubelet's directory, at the same path as on the node.
        driver: The driver's name.
        identity: Its identity service.
        node: Its node service.
        interceptor: Wraps each call.

    Yields:
        The driver as it is served.
    """
    endpoint = kubelet / "plugins" / driver / "csi.sock"
    registration = RegistrationService(driver, str(endpoint))
    async with serving_on(endpoint, (interceptor,)) as server:
        csi_pb2_grpc.add_IdentityServicer_to_server(identity, server)
        csi_pb2_grpc.add_NodeServicer_to_server(node, server)
        await server.start()
        async with AsyncExitStack() as registered:

            async def register() -> None:
                # The kubelet sees this socket appear and asks at once: the other one has to be there.
                registrar = serving_on(kubelet / "plugins_registry" / f"{driver}-reg.sock", ())
                found = await registered.enter_async_context(registrar)
                registration_pb2_grpc.add_RegistrationServicer_to_server(registration, found)
                await found.start()

            async def renew() -> None:
                await registered.aclose()
                await register()

            await register()
            yield Served(registration, renew)


@asynccontextmanager
async def serving_on(
    socket: Path, interceptors: Sequence[grpc.aio.ServerInterceptor]
) -> AsyncIterator[grpc.aio.Server]:
    """A server on a unix socket, which is stopped when the context ends; it is not started yet."""
    await anyio.to_thread.run_sync(_make_room, socket)
    server = grpc.aio.server(interceptors=interceptors)
    server.add_insecure_port(f"unix:{socket}")
    try:
        yield server
    finally:
        # gRPC removes the socket, which is how the kubelet learns that the driver is gone. Cancelled in this, it raises
        # an error that is its own context: whoever follows that chain, as anyio does, goes round for ever.
        with anyio.move_on_after(2 * _GRACE, shield=True):
            await server.stop(_GRACE)


def _make_room(socket: Path) -> None:
    socket.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
    socket.unlink(missing_ok=True)
