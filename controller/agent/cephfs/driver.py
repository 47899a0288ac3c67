"""CephFS volumes on a node: `controller.agent.node.directories` with the clients that CephFS has."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from controller.agent.cephfs.mounters import FuseMounter, KernelMounter
from controller.agent.cephfs.snapshot import shown
from controller.agent.cephfs.volume import asked_of
from controller.agent.node.directories import DirectoryDriver
from controller.agent.node.records import Records
from controller.agent.system.command import run

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from controller.agent.cephfs.volume import Asked
    from controller.agent.node.clients import Clients
    from controller.agent.node.directories import Mounter
    from controller.agent.system.command import Runner
    from controller.agent.system.health import Health

SUFFIX = ".cephfs.csi.ceph.com"

_log = structlog.get_logger(__name__)


def cephfs_driver(
    node: str,
    mounters: Sequence[Mounter[Asked]],
    clients: Clients,
    records: Records,
    most: int | None,
    *,
    health: Health | None = None,
    runner: Runner = run,
) -> DirectoryDriver[Asked]:
    """Serves CephFS volumes; the arguments are those of `DirectoryDriver`."""
    return DirectoryDriver(
        SUFFIX, asked_of, node, mounters, clients, records, most, within=shown, health=health, runner=runner
    )


async def cephfs_of(node: str, state: Path, socket: Path, clients: Clients, most: int | None) -> DirectoryDriver[Asked]:
    """The driver of a node, by the kernel's client where it has one, else by the mounter.

    Args:
        node: The node's name.
        state: A directory that outlives the agent.
        socket: The mounter's socket.
        clients: See `DirectoryDriver`.
        most: See `DirectoryDriver`.
    """
    kernel = KernelMounter()
    await kernel.load()
    problem = await kernel.usable()
    _log.info("file systems are mounted", by="fuse" if problem else "kernel", reason=problem)
    return cephfs_driver(node, (kernel, FuseMounter(socket)), clients, Records(state / "cephfs"), most)
