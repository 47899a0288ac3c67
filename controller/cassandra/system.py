"""The storage system Cassandra: registers its controllers with a manager."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio

from controller.apis.cassandra import CASSANDRA_CLUSTER
from controller.cassandra.access.http import HttpMembers
from controller.cassandra.cluster import kind as cluster
from controller.cassandra.operation import kind as operation
from controller.cassandra.operation import schedule

if TYPE_CHECKING:
    from controller.framework.settings import Settings
    from controller.runtime import Manager

HOMES = (CASSANDRA_CLUSTER,)
"""The kinds of which one object makes its namespace one to be served, where all are."""


def register(manager: Manager, settings: Settings) -> None:
    """Has `manager` serve every kind of Cassandra's; connections to members are closed when it stops."""
    members = HttpMembers()
    cluster.register(manager, settings, members)
    operation.register(manager, settings, members)
    schedule.register(manager, settings)

    async def keep_connections() -> None:
        async with members:
            await anyio.sleep_forever()

    manager.add_runnable(keep_connections, needs_leader=False)
