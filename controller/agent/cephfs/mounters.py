"""What mounts the directories of a CephFS on this node: the kernel's client, or a process of the mounter."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from controller.agent.ceph.credentials import key_descriptor
from controller.agent.ceph.kernel import ms_mode_problem, nearest_options
from controller.agent.cephfs.protocol import Command, Look, Mount, Mounted, Release, Reply
from controller.agent.node.directories import MountError
from controller.agent.node.driver import UnavailableError
from controller.agent.system.command import CommandError, run
from controller.agent.system.kernel import KernelFilesystem
from controller.agent.system.messages import ask
from controller.framework.text import brief

if TYPE_CHECKING:
    from controller.agent.cephfs.volume import Asked
    from controller.agent.system.command import Runner

_MOUNT_DEADLINE = 90.0
"""Seconds for the kernel to mount; its client itself gives up after 60 s."""

_CALL_DEADLINE = 110.0
"""Seconds for a call of the mounter: it has shorter deadlines of its own, and the kubelet gives up after 120 s."""

_LOOK_DEADLINE = 10.0

THREADS_PER_VOLUME = 32
"""That a ceph-fuse is reckoned with: 27 were measured with Ceph 16.2, the rest is reserve."""


class MounterUnavailableError(MountError, UnavailableError):
    """The mounter cannot be asked."""


class KernelMounter:
    """The kernel's `Mounter`, by mount.ceph(8)."""

    name = "kernel"
    threads = 0

    def __init__(self, *, runner: Runner = run, proc: Path = Path("/proc"), release: str = os.uname().release) -> None:
        self._run = runner
        self._release = release
        self._kernel = KernelFilesystem("ceph", "ceph", runner=runner, proc=proc)

    async def usable(self) -> str:
        """Whether the kernel has the file system."""
        return await self._kernel.usable()

    async def load(self) -> None:
        """Loads the kernel's client where it is a module that is not loaded yet; one that cannot be is no error."""
        await self._kernel.load()

    async def unsuitable(self, asked: Asked) -> str:
        """The kernel has to speak the protocol that the cluster speaks."""
        return await self.usable() or ms_mode_problem(asked.directory.ms_mode, self._release)

    async def mount(self, volume: str, asked: Asked, target: str) -> None:
        """By the system's `mount`; the key goes through a memory file of this process."""
        try:
            descriptor = key_descriptor(asked.credentials)
        except ValueError as error:
            raise MountError(str(error)) from None
        directory = asked.directory
        options = [
            f"name={asked.credentials.user}",
            f"secretfile=/proc/{os.getpid()}/fd/{descriptor}",
            # The name of `fs` that kernels before 5.8 know, too.
            f"mds_namespace={directory.filesystem}",
        ]
        # What the class says itself stands.
        if directory.ms_mode and not any(option.startswith("ms_mode=") for option in asked.kernel):
            options.append(f"ms_mode={directory.ms_mode}")
        options += nearest_options(directory.location, asked.kernel, self._release)
        options += asked.kernel
        source = f"{','.join(directory.monitors)}:{directory.path}"
        try:
            await self._run("mount", "-t", "ceph", "-o", ",".join(options), source, target, deadline=_MOUNT_DEADLINE)
        except CommandError as error:
            raise MountError(f"the kernel cannot mount {directory} for volume {volume}: {error}") from None
        finally:
            os.close(descriptor)

    async def address(self, volume: str) -> str:
        """The kernel tells it in debugfs only, which a container does not see: the node's address has to do."""
        return ""

    async def problem(self, volume: str) -> str:
        """Only the file system itself tells."""
        return ""

    async def release(self, volume: str, *, force: bool) -> None:
        """Nothing is left once it is unmounted."""


class FuseMounter:
    """The userspace `Mounter`: asks the mounter of this node."""

    name = "fuse"
    threads = THREADS_PER_VOLUME

    def __init__(self, socket: Path) -> None:
        self._socket = socket

    async def usable(self) -> str:
        """Whether the mounter answers."""
        try:
            await self._ask(Look(), deadline=_LOOK_DEADLINE)
        except MountError as error:
            return str(error)
        return ""

    async def unsuitable(self, asked: Asked) -> str:
        """It serves what it can serve at all."""
        return await self.usable()

    async def mount(self, volume: str, asked: Asked, target: str) -> None:
        """Starts the volume's process."""
        await self._ask(
            Mount(
                volume=volume,
                directory=asked.directory,
                target=target,
                credentials=asked.credentials,
                options=asked.fuse,
            )
        )

    async def address(self, volume: str) -> str:
        """As the process knows it."""
        found = await self._look(volume)
        return found.address if found is not None else ""

    async def problem(self, volume: str) -> str:
        """As the mounter knows it; what it does not know ended with an earlier one."""
        found = await self._look(volume)
        return found.problem if found is not None else "the mounter was restarted, which ended the volume's ceph-fuse"

    async def release(self, volume: str, *, force: bool) -> None:
        """Ends the volume's process."""
        await self._ask(Release(volume=volume, force=force))

    async def _look(self, volume: str) -> Mounted | None:
        return (await self._ask(Look(volume=volume), deadline=_LOOK_DEADLINE)).mounted

    async def _ask(self, command: Command, *, deadline: float = _CALL_DEADLINE) -> Reply:
        try:
            with anyio.fail_after(deadline):
                reply = await ask(self._socket, command, Reply)
        except TimeoutError:
            raise MounterUnavailableError(f"the mounter of file systems did not answer within {deadline:g} s") from None
        except (OSError, ValueError, anyio.EndOfStream, anyio.BrokenResourceError) as error:
            raise MounterUnavailableError(
                f"the mounter of file systems does not answer on {self._socket}: {brief(error)}; has the rook-mounter "
                "pod of this node a container cephfs? One of an earlier release has none: drain the node and delete it"
            ) from error
        if reply.error:
            raise MountError(reply.error)
        return reply
