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
    """A manager over clients of its own. It listens at no port.

    Args:
        server: The server.
        program: What the program is called.
        namespaces: Namespaces that it serves; None: all.
        leader_election: Which lease it must hold while it acts; None: it acts at once.
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
    """Run the manager from when its caches are synced until the context is left. What it raises comes out of it."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: manager.run(signals=False))
        await manager.informers.wait_synced()
        yield manager
        manager.stop()
