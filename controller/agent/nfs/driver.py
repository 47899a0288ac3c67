"""NFS volumes on a node: `controller.agent.node.directories` with the kernel's client."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from controller.agent.nfs.mounter import KernelNfs
from controller.agent.nfs.volume import asked_of
from controller.agent.node.directories import DirectoryDriver
from controller.agent.node.records import Records

if TYPE_CHECKING:
    from pathlib import Path

    from controller.agent.nfs.volume import Asked
    from controller.agent.node.clients import Clients

SUFFIX = ".nfs.csi.ceph.com"

_log = structlog.get_logger(__name__)


async def nfs_of(node: str, state: Path, clients: Clients, most: int | None) -> DirectoryDriver[Asked]:
    """The driver of a node; see `DirectoryDriver` for the arguments. A node whose kernel has no client refuses."""
    kernel = KernelNfs()
    await kernel.load()
    problem = await kernel.usable()
    _log.info("NFS volumes are mounted", by="" if problem else "kernel", reason=problem)
    return DirectoryDriver(SUFFIX, asked_of, node, (kernel,), clients, Records(state / "nfs"), most)
