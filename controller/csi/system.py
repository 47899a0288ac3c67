"""Serves the CSI controller service of each driver that the operator is told to, on a unix socket; while it leads."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import anyio

from controller.agent.node import csi_pb2_grpc
from controller.agent.node.calls import Interceptor, Operations
from controller.agent.node.identity import IdentityService, installed_version
from controller.agent.node.server import serving_on
from controller.csi.guard import Guard
from controller.csi.records import Records, SnapshotRecord, VolumeRecord
from controller.csi.service import ControllerService, status
from controller.csi.snapshots import Taken
from controller.csi.volumes import Volumes

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import grpc.aio

    from controller.agent.node.calls import Starter
    from controller.runtime import Manager
    from controller.volumes.caches import Caches
    from controller.volumes.drivers import Drivers
    from controller.volumes.system import VolumeControllers
    from informers import Client

METRIC = "rook_csi_call_seconds"


def register(manager: Manager, volumes: VolumeControllers, namespace: str, sockets: Mapping[str, Path]) -> None:
    """Has `manager` serve controller services while it leads.

    Args:
        manager: Runs them.
        volumes: The controllers of volumes, whose storage systems and caches these use.
        namespace: The operator's, where records and the reports of the nodes' agents are.
        sockets: By the name of a CSI driver, where its service is.
    """
    interceptor = Interceptor(manager.registry, metric=METRIC, status=status)

    async def serve() -> None:
        async with anyio.create_task_group() as tasks, AsyncExitStack() as stack:
            for driver, socket in sockets.items():
                made = service_of(driver, manager.client, namespace, volumes.caches, volumes.drivers, tasks)
                server = await stack.enter_async_context(serving_on(socket, (interceptor,)))
                add(server, driver, made)
                await server.start()
            await anyio.sleep_forever()

    manager.add_runnable(serve)


def service_of(
    driver: str, client: Client, namespace: str, caches: Caches, drivers: Drivers, tasks: Starter
) -> ControllerService:
    """The controller service of a driver; see `register`. `tasks` owns its operations."""
    guard = Guard(client, namespace, caches, drivers)
    snapshots = Records(client, namespace, "snapshot", SnapshotRecord)
    volumes = Volumes(driver, Records(client, namespace, "volume", VolumeRecord), snapshots, guard)
    taken = Taken(driver, snapshots, volumes, guard)
    return ControllerService(driver, drivers, volumes, taken, Operations(tasks))


def add(server: grpc.aio.Server, driver: str, service: ControllerService) -> None:
    """Adds a controller service, and who it is, to a server."""
    identity = IdentityService(driver, installed_version(), service.problem, controller=True, places=True)
    csi_pb2_grpc.add_IdentityServicer_to_server(identity, server)
    csi_pb2_grpc.add_ControllerServicer_to_server(service, server)
