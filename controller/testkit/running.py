"""A manager for tests."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import anyio

from controller.runtime import Manager, Program

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from controller.runtime import LeaderElection
    from controller.testkit.server import ApiServer


TEST_PROGRAM = Program("testkit")


def new_manager(
    server: ApiServer,
    *,
    program: Program = TEST_PROGRAM,
    namespaces: tuple[str, ...] | None = None,
    leader_election: LeaderElection | None = None,
) -> Manager:
    """A manager with its own clients of the server. It listens on no port.

    Args:
        server: The server.
        program: The program's names.
        namespaces: Namespaces that it serves; None: all.
        leader_election: The lease that it must hold to act; None: it acts at once.
    """
    return Manager(
        server.client(),
        program=program,
        namespaces=namespaces,
        identity="test",
        leader_election=leader_election,
        lease_client=server.client(),
        metrics_address=None,
        debug_address=None,
    )


@asynccontextmanager
async def running(manager: Manager) -> AsyncIterator[Manager]:
    """Runs the manager for as long as the context lasts, which begins when its caches are synced. Raises its errors."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: manager.run(signals=False))
        await manager.informers.wait_synced()
        yield manager
        manager.stop()
