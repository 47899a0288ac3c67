"""A whole program in one call: clients, lease, manager, logging, signals, and the exit code."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

import structlog
import uvloop

from controller.runtime.leader import LeadershipLostError
from controller.runtime.log import configure_logging
from controller.runtime.manager import Manager
from controller.runtime.tracing import process_tracer
from informers import Client, ConfigurationError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from typing import Unpack

    from controller.runtime.log import LogFormat, LogLevel
    from controller.runtime.manager import Options
    from controller.runtime.program import Program

log = structlog.get_logger(__name__)

LOST = 1
"""Exit code of a program whose lease another replica has taken."""

MISCONFIGURED = 2
"""Exit code of a program that finds no API server."""


@asynccontextmanager
async def connect(
    program: Program, *, kubeconfig: str | None = None, context: str | None = None, **options: Unpack[Options]
) -> AsyncIterator[Manager]:
    """A manager with clients that are open until the context is left; with a lease, the lease has a client of its own.

    Args:
        program: What the program is called.
        kubeconfig: Path of the clients' configuration. None: as `Client.connect` finds it.
        context: Context of the kubeconfig. None: its current one.
        options: Further parameters of `Manager`. `identity` is by default `$POD_NAME`, or the host's name; `tracer` is
            by default that of the process, if it has one.

    Raises:
        ConfigurationError: There is no configuration, or none that can be used.
    """
    options.setdefault("identity", os.environ.get("POD_NAME") or socket.gethostname())
    options.setdefault("tracer", process_tracer(program.name))

    async with AsyncExitStack() as stack:

        async def client() -> Client:
            made = Client.connect(kubeconfig=kubeconfig, context=context, user_agent=program.user_agent)
            return await stack.enter_async_context(made)

        lease_client = await client() if options.get("leader_election") is not None else None
        yield Manager(await client(), program=program, lease_client=lease_client, **options)


def run(
    program: Program,
    register: Callable[[Manager], object],
    *,
    kubeconfig: str | None = None,
    context: str | None = None,
    log_level: LogLevel = "info",
    log_format: LogFormat = "json",
    **options: Unpack[Options],
) -> int:
    """Runs a program until SIGTERM or SIGINT: logging, clients, caches, leader election, controllers, probes.

    Args:
        program: What the program is called.
        register: Adds controllers to the manager.
        kubeconfig: As for `connect`.
        context: As for `connect`.
        log_level: Entries below this level are not written.
        log_format: "json", or "console" for people.
        options: Further parameters of `Manager`, as for `connect`.

    Returns:
        The exit code for the process: 0 after a signal, `LOST`, or `MISCONFIGURED` with a line on standard error.
    """

    async def serve() -> None:
        async with connect(program, kubeconfig=kubeconfig, context=context, **options) as manager:
            register(manager)
            await manager.run()

    configure_logging(level=log_level, format=log_format, secrets=program.secrets)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve())
    except ConfigurationError as error:
        sys.stderr.write(f"{program.user_agent}: {error}\n")
        return MISCONFIGURED
    except LeadershipLostError as error:
        log.warning("Leadership was lost: another replica acts now", error=str(error))
        return LOST
    return 0
