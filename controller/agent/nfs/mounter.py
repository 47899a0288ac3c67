"""What mounts the directories of NFS servers on this node: the kernel's client of NFSv4.

It is told the server's address as an option, as mount.nfs(8) does it: so nothing but `mount` itself is needed.
"""

from __future__ import annotations

import socket
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from controller.agent.node.directories import MountError
from controller.agent.system.command import CommandError, run
from controller.agent.system.kernel import KernelFilesystem

if TYPE_CHECKING:
    from collections.abc import Callable

    from controller.agent.nfs.volume import Asked
    from controller.agent.system.command import Runner

FILESYSTEM, MODULE = "nfs4", "nfsv4"

_VERSION = "vers=4.1"
"""What is spoken where a class does not say. Servers of Ceph speak 4.1 and 4.2."""

_RESOLVE_DEADLINE = 20.0
_MOUNT_DEADLINE = 90.0
"""Seconds for the kernel to mount: shorter than the 120 s after which the kubelet gives up."""


class KernelNfs:
    """The kernel's client. Implements `controller.agent.node.directories.Mounter`.

    Args:
        runner: Runs the system's tools.
        proc: Where proc(5) is.
        resolve: Finds the address of a server by its name; blocking.
    """

    name = "kernel"
    threads = 0

    def __init__(
        self, *, runner: Runner = run, proc: Path = Path("/proc"), resolve: Callable[[str], str] | None = None
    ) -> None:
        self._run = runner
        self._kernel = KernelFilesystem(FILESYSTEM, MODULE, runner=runner, proc=proc)
        self._resolve = resolve or address_of

    async def usable(self) -> str:
        """Whether the kernel has the file system."""
        return await self._kernel.usable()

    async def load(self) -> None:
        """Loads the kernel's client where it is a module that is not loaded yet; one that cannot be is no error."""
        await self._kernel.load()

    async def unsuitable(self, _: Asked) -> str:
        """It serves what it can serve at all."""
        return await self.usable()

    async def mount(self, volume: str, asked: Asked, target: str) -> None:
        """By the system's `mount`, without its helper."""
        directory = asked.directory
        what = f"the kernel cannot mount {directory} for volume {volume}"
        try:
            with anyio.fail_after(_RESOLVE_DEADLINE):
                address = await anyio.to_thread.run_sync(self._resolve, directory.server, abandon_on_cancel=True)
        except (OSError, TimeoutError) as error:
            raise MountError(f"{what}: {directory.server} is not known to this node: {error}") from None
        says = any(option.partition("=")[0] in ("vers", "nfsvers", "minorversion") for option in asked.options)
        options = ",".join([*([] if says else [_VERSION]), *asked.options, f"addr={address}"])
        command = ("mount", "-i", "-t", FILESYSTEM, "-o", options, str(directory), target)
        try:
            await self._run(*command, deadline=_MOUNT_DEADLINE)
        except CommandError as error:
            raise MountError(f"{what}: {error}") from None

    async def address(self, _: str) -> str:
        """No storage system knows it."""
        return ""

    async def problem(self, _: str) -> str:
        """Only the file system itself tells."""
        return ""

    async def release(self, volume: str, *, force: bool) -> None:
        """Nothing is left once it is unmounted."""


def address_of(server: str) -> str:
    """The address of a server; blocking.

    Raises:
        OSError: Nobody knows its name.
    """
    return str(socket.getaddrinfo(server, None, type=socket.SOCK_STREAM)[0][4][0])
