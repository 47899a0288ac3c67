"""The mounter of file systems: owns the processes behind volumes that are mounted in userspace.

A volume has a ceph-fuse of its own. It lives as long as this process, so that the agent can come and go: it runs in a
DaemonSet that is updated only by hand, and ends only when no volume is left or its grace period is over. It keeps no
records: what it does not know, no process serves.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
import structlog

from controller.agent.cephfs.client import FuseClient, FuseError, Launch, Paths, command_line
from controller.agent.cephfs.protocol import SOCKET, VERSION, Command, Look, Mount, Mounted, Reply
from controller.agent.system import messages, mounts, program
from controller.agent.system.command import CommandError, run
from controller.agent.system.files import file_name
from controller.framework.text import brief

if TYPE_CHECKING:
    from anyio.abc import ByteStream, TaskGroup

    from controller.agent.system.command import Runner

RUNTIME_DIRECTORY = "/run/rook/cephfs"
"""Holds the configuration and the admin socket of each client."""

_UNMOUNT_DEADLINE = 30.0

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Volume:
    """A mounted volume; `leaving`: it is unmounted, and its process may still flush."""

    client: FuseClient
    problem: str = ""
    leaving: bool = False

    async def mounted(self) -> Mounted:
        command = self.client.command
        return Mounted(
            volume=command.volume,
            directory=str(command.directory),
            target=command.target,
            problem=self.problem or await self.client.problem(),
            address=self.client.address,
        )


@dataclass(slots=True)
class Mounter:
    """Carries out commands on volumes, one at a time for each volume.

    Attributes:
        tasks: Owns the watch over each process.
        runtime: Directory of the clients' files.
        runner: Runs umount.
        launch: Gives the command line of a client.
    """

    tasks: TaskGroup
    runtime: Path
    runner: Runner = run
    launch: Launch = command_line
    _volumes: dict[str, _Volume] = field(default_factory=dict)
    _locks: dict[str, anyio.Lock] = field(default_factory=dict)
    _empty: anyio.Event = field(default_factory=anyio.Event)
    _closing: bool = False

    async def carry_out(self, command: Command) -> Reply:
        """Carries out one command; a failure is in the reply."""
        try:
            return Reply(mounted=await self._carry_out(command))
        except (FuseError, CommandError, OSError) as error:
            _log.warning("command failed", command=type(command).__name__, error=str(error))
            return Reply(error=str(error))
        except Exception as error:
            # Whatever it is: the other volumes of the node live in this process.
            _log.exception("command failed", command=type(command).__name__)
            return Reply(error=brief(f"{type(error).__name__}: {error}"))

    async def drained(self) -> None:
        """Takes no new volume any more, and waits until none is left."""
        self._closing = True
        while self._volumes:
            self._empty = anyio.Event()
            _log.info("waiting until volumes are unmounted", volumes=len(self._volumes))
            await self._empty.wait()

    async def _carry_out(self, command: Command) -> Mounted | None:
        if isinstance(command, Look):
            found = self._volumes.get(command.volume)
            return None if found is None else await found.mounted()
        async with self._locked(command.volume):
            if isinstance(command, Mount):
                return await self._mount(command)
            await self._release(command.volume, force=command.force)
            return None

    @asynccontextmanager
    async def _locked(self, volume: str) -> AsyncIterator[None]:
        lock = self._locks.setdefault(volume, anyio.Lock())
        async with lock:
            yield
        if volume not in self._volumes and not lock.locked():
            self._locks.pop(volume, None)

    async def _mount(self, command: Mount) -> Mounted:
        present = self._volumes.get(command.volume)
        if present is not None and present.leaving:
            await self._release(command.volume, force=False)
        elif present is not None:
            mounted = await present.mounted()
            asked = (str(command.directory), command.target, command.options)
            if not mounted.problem and (mounted.directory, mounted.target, present.client.command.options) == asked:
                return mounted
            if not mounted.problem:
                raise FuseError(
                    f"volume {command.volume} is mounted already: {mounted.directory} at {mounted.target}; asked for "
                    f"{command.directory} at {command.target}: release it first"
                )
            await self._release(command.volume, force=True)
        if self._closing:
            raise FuseError("the mounter is ending and takes no new volume")
        paths = Paths(self.runtime / file_name(command.volume))
        # What an earlier mounter left there is dead.
        await mounts.unmount(self.runner, command.target, lazy=True)
        await anyio.to_thread.run_sync(paths.remove)
        try:
            client = await FuseClient.open(command, paths, launch=self.launch)
        except BaseException:
            with anyio.CancelScope(shield=True):
                await mounts.unmount(self.runner, command.target, lazy=True)
                await anyio.to_thread.run_sync(paths.remove)
            raise
        volume = self._volumes[command.volume] = _Volume(client)
        self.tasks.start_soon(self._watch, volume)
        _log.info("mounted", volume=command.volume, directory=str(command.directory), process=client.child.pid)
        return await volume.mounted()

    async def _watch(self, volume: _Volume) -> None:
        try:
            last_words = await volume.client.ended()
        except Exception as error:
            # One that cannot be watched must not end the others, which it would from this task group.
            _log.exception("process cannot be watched", volume=volume.client.command.volume)
            last_words = f"it cannot be watched: {type(error).__name__}: {error}"
        if not volume.leaving:
            volume.problem = f"its ceph-fuse ended: {last_words}"
            _log.error("volume lost its process", volume=volume.client.command.volume, error=last_words)

    async def _release(self, name: str, *, force: bool) -> None:
        volume = self._volumes.get(name)
        if volume is None:
            return
        force = force or bool(volume.problem)
        await mounts.unmount(
            self.runner, volume.client.command.target, lazy=force, deadline=None if force else _UNMOUNT_DEADLINE
        )
        volume.leaving = True
        if force:
            await volume.client.kill()
        else:
            await volume.client.close()
        await anyio.to_thread.run_sync(volume.client.paths.remove)
        del self._volumes[name]
        _log.info("unmounted", volume=name)
        if not self._volumes:
            self._empty.set()


async def serve(mounter: Mounter, socket: Path) -> None:
    """Listens on `socket` until cancelled."""

    async def reply(stream: ByteStream) -> Reply:
        try:
            command = await messages.receive(stream, Command.__value__)
        except ValueError as error:
            return Reply(
                error=f"this mounter speaks version {VERSION} of the protocol, in which that is no command ({error}): "
                "it is older than the agent; drain the node and delete its rook-mounter pod"
            )
        # A command goes on when its caller goes away: an agent that restarts asks again.
        return await mounter.carry_out(command)

    await messages.serve(socket, reply, mounter.tasks)


async def run_mounter(socket: Path, runtime: Path) -> None:
    """Runs the mounter until it is told to end and no volume is left."""
    async with anyio.create_task_group() as tasks:
        await program.lift_limit()
        mounter = Mounter(tasks, runtime=runtime)
        tasks.start_soon(serve, mounter, socket)
        await program.until_told_to_end(mounter.drained)
        tasks.cancel_scope.cancel()


def main() -> None:
    """The command line: runs the mounter, or with `--check` asks whether one answers."""
    program.main(
        "controller.agent.cephfs.mounter",
        __doc__,
        run_mounter,
        socket=SOCKET,
        runtime=RUNTIME_DIRECTORY,
        files="clients' files",
        question=Look(),
        reply=Reply,
    )


if __name__ == "__main__":
    main()
