"""A manager for tests."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import anyio

from controller.runtime import Manager
from controller.testkit.clock import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from controller.testkit.server import ApiServer


def new_manager(server: ApiServer, *, namespaces: tuple[str, ...] | None = None) -> Manager:
    """A manager over a client of its own; it serves metrics and probes on a free port of the loopback address.

    Args:
        server: The server.
        namespaces: Namespaces that it serves; None: all.
    """
    return Manager(
        server.client(),
        namespaces=namespaces,
        identity="test",
        metrics_address=("127.0.0.1", 0),
        debug_address=None,
    )


@asynccontextmanager
async def running(manager: Manager) -> AsyncIterator[Manager]:
    """Run the manager from when its caches are synced until the context is left. What it raises comes out of it."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: manager.run(signals=False))
        await until(lambda: manager.addresses)
        await manager.informers.wait_synced()
        yield manager
        manager.stop()
