"""The mounter: owns the processes behind userspace-mapped volumes, so that the agent can come and go.

A volume is an RBD image exported by its own qemu-storage-daemon, with a loop device on the exported file. Volumes live
as long as this process: it runs in its own DaemonSet that is updated only by hand, it talks to nothing but its socket
and its children, and it ends only when no volume is left or its grace period is over.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import msgspec
import structlog

from controller.agent.rbd.launch import Launch, Paths, command_line
from controller.agent.rbd.protocol import (
    RECORDS,
    SOCKET,
    VERSION,
    Command,
    Expand,
    List,
    Map,
    MapEncrypted,
    Mapped,
    Reply,
    Unmap,
)
from controller.agent.rbd.qemu import Export, QemuError, clean, reason
from controller.agent.system import loop, messages, program
from controller.agent.system.command import CommandError, run
from controller.agent.system.files import file_name, write_durably

if TYPE_CHECKING:
    from anyio.abc import ByteStream, TaskGroup

    from controller.agent.system.command import Runner

RUNTIME_DIRECTORY = "/run/rook/mounter"
"""Holds the exported files. Their loop devices are recognised by this path: device discovery leaves them out."""


_log = structlog.get_logger(__name__)


class MounterError(Exception):
    """A command cannot be carried out; the message is for the caller."""


@dataclass(slots=True)
class _Volume:
    """A mapped volume. `export` is None for one that an earlier mounter left behind: its daemon is gone."""

    mapped: Mapped
    export: Export | None

    def fail(self, problem: str) -> None:
        """Notes why I/O on the volume fails from now on; the first reason stays."""
        if not self.mapped.problem:
            self.mapped = msgspec.structs.replace(self.mapped, problem=problem)


@dataclass(slots=True)
class Mounter:
    """Carries out commands on volumes, one at a time for each volume.

    Attributes:
        tasks: Owns the watch over each daemon.
        runtime: Directory of the exported files.
        state: Directory of the records from which a restarted mounter learns what its predecessor left behind.
        runner: Runs losetup.
        launch: Gives the command line of an export.
    """

    tasks: TaskGroup
    runtime: Path
    state: Path
    runner: Runner = run
    launch: Launch = command_line
    _volumes: dict[str, _Volume] = field(default_factory=dict)
    _locks: dict[str, anyio.Lock] = field(default_factory=dict)
    _empty: anyio.Event = field(default_factory=anyio.Event)
    _closing: bool = False

    def load(self) -> None:
        """Reads what an earlier mounter left behind. Its daemons went with it, so those volumes have a problem."""
        self.state.mkdir(parents=True, exist_ok=True, mode=0o700)
        for record in self.state.glob("*.json"):
            try:
                mapped = msgspec.json.decode(record.read_bytes(), type=Mapped)
            except (OSError, msgspec.MsgspecError) as error:
                # Its volume cannot be told; the others still can.
                _log.error("record cannot be read", record=str(record), error=str(error))
                continue
            gone = msgspec.structs.replace(
                mapped, problem="the mounter was restarted, which ended the volume's qemu-storage-daemon"
            )
            self._volumes[mapped.volume] = _Volume(gone, None)
            _log.error("volume lost its daemon", volume=mapped.volume, device=mapped.device, image=mapped.image)

    async def carry_out(self, command: Command) -> Reply:
        """Carries out one command; a failure is in the reply."""
        try:
            return Reply(mapped=await self._carry_out(command), version=VERSION)
        except (MounterError, QemuError, CommandError, loop.DeviceBusyError, OSError) as error:
            _log.warning("command failed", command=type(command).__name__, error=str(error))
            return Reply(error=str(error), version=VERSION)
        except Exception as error:
            # Whatever it is: the other volumes of the node live in this process.
            _log.exception("command failed", command=type(command).__name__)
            return Reply(error=reason(f"{type(error).__name__}: {error}"), version=VERSION)

    async def _carry_out(self, command: Command) -> tuple[Mapped, ...]:
        match command:
            case List():
                return tuple(volume.mapped for volume in self._volumes.values())
            case Map() | MapEncrypted():
                async with self._locked(command.volume):
                    return (await self._map(command),)
            case Unmap():
                async with self._locked(command.volume):
                    await self._unmap(command.volume)
                return ()
            case Expand():
                async with self._locked(command.volume):
                    return (await self._expand(command),)

    async def drained(self) -> None:
        """Takes no new volume any more, and waits until none is left."""
        self._closing = True
        while self._volumes:
            self._empty = anyio.Event()
            _log.info("waiting until volumes are unmapped", volumes=len(self._volumes))
            await self._empty.wait()

    @asynccontextmanager
    async def _locked(self, volume: str) -> AsyncIterator[None]:
        lock = self._locks.setdefault(volume, anyio.Lock())
        async with lock:
            yield
        if volume not in self._volumes and not lock.locked():
            self._locks.pop(volume, None)

    async def _map(self, command: Map | MapEncrypted) -> Mapped:
        encrypted = isinstance(command, MapEncrypted)
        present = self._volumes.get(command.volume)
        if present is not None and not self._owns(present):
            present.fail("its loop device was taken away")
        if present is not None and present.mapped.problem:
            await self._unmap(command.volume)
        elif present is not None:
            mapped, asked = present.mapped, (str(command.image), command.read_only, encrypted)
            if (mapped.image, mapped.read_only, mapped.encrypted) != asked:
                raise MounterError(
                    f"volume {command.volume} is mapped already: image {mapped.image}, read-only {mapped.read_only}, "
                    f"encrypted {mapped.encrypted}; asked for image {command.image}, read-only {command.read_only}, "
                    f"encrypted {encrypted}: unmap it first"
                )
            return mapped
        if self._closing:
            raise MounterError("the mounter is ending and takes no new volume")
        paths = Paths(self.runtime / file_name(command.volume))
        if await anyio.Path(paths.directory).exists():
            await self._undo(paths, None)
        export = None
        try:
            export = await Export.open(
                command.image,
                command.credentials,
                paths,
                read_only=command.read_only,
                passphrase=command.passphrase if isinstance(command, MapEncrypted) else "",
                launch=self.launch,
            )
            device = await loop.attach(self.runner, paths.image, read_only=command.read_only)
            mapped = Mapped(
                volume=command.volume,
                image=str(command.image),
                device=device,
                read_only=command.read_only,
                address=export.address,
                encrypted=encrypted,
            )
            # A volume without a record would be found, and unmapped, by nobody.
            await anyio.to_thread.run_sync(write_durably, self._record(command.volume), msgspec.json.encode(mapped))
        except BaseException:
            await self._undo(paths, export)
            raise
        volume = _Volume(mapped, export)
        self._volumes[command.volume] = volume
        self.tasks.start_soon(self._watch, volume, export)
        _log.info("mapped", volume=mapped.volume, image=mapped.image, device=device, process=export.pid)
        return mapped

    async def _undo(self, paths: Paths, export: Export | None) -> None:
        """Takes away what a map that failed has made: each part, whatever becomes of the others.

        A node without room for another thread fails at any point. What stays is taken away when the volume is mapped
        again.
        """

        async def detach() -> None:
            for device in loop.devices_on(paths.image):
                await loop.detach(self.runner, device)

        async def remove() -> None:
            await clean(self.runner, paths)

        steps = (export.kill, detach, remove) if export is not None else (detach, remove)
        with anyio.CancelScope(shield=True):
            for step in steps:
                try:
                    await step()
                except Exception as error:
                    _log.warning("left behind by a map that failed", directory=str(paths.directory), error=str(error))

    async def _watch(self, volume: _Volume, export: Export) -> None:
        try:
            last_words = await export.ended()
        except Exception as error:
            # One daemon that cannot be watched must not end the others, which it would from this task group.
            _log.exception("daemon cannot be watched", volume=volume.mapped.volume)
            last_words = f"it cannot be watched: {type(error).__name__}: {error}"
        if not volume.mapped.problem:
            volume.fail(f"its qemu-storage-daemon ended: {last_words}")
            _log.error("volume lost its daemon", volume=volume.mapped.volume, error=last_words)

    async def _unmap(self, name: str) -> None:
        volume = self._volumes.get(name)
        if volume is None:
            return
        paths = Paths(self.runtime / file_name(name))
        if self._owns(volume):
            await loop.detach(self.runner, volume.mapped.device)
        # From here on the loop device may be somebody else's.
        volume.fail("it is being unmapped")
        if volume.export is not None:
            await volume.export.close()
        await clean(self.runner, paths)
        self._record(name).unlink(missing_ok=True)
        del self._volumes[name]
        _log.info("unmapped", volume=name, device=volume.mapped.device)
        if not self._volumes:
            self._empty.set()

    async def _expand(self, command: Expand) -> Mapped:
        volume = self._volumes.get(command.volume)
        if volume is None or volume.export is None or volume.mapped.problem:
            raise MounterError(f"volume {command.volume} has no working block device here")
        device = volume.mapped.device
        # Never smaller: the size is also what the daemon would cut the image to.
        if await anyio.to_thread.run_sync(loop.size_of, device) < command.size:
            await volume.export.grow(command.size)
            await loop.set_capacity(self.runner, device)
        return volume.mapped

    def _owns(self, volume: _Volume) -> bool:
        """Whether the loop device is on the volume's file; a freed one may be somebody else's by now."""
        image = Paths(self.runtime / file_name(volume.mapped.volume)).image
        device = volume.mapped.device
        return loop.backing_file(device) == str(image) or (volume.export is None and loop.is_dead(device))

    def _record(self, volume: str) -> Path:
        return self.state / f"{file_name(volume)}.json"


async def serve(mounter: Mounter, socket: Path) -> None:
    """Listens on `socket` until cancelled."""

    async def reply(stream: ByteStream) -> Reply:
        return await _answer(mounter, stream)

    await messages.serve(socket, reply, mounter.tasks)


async def _answer(mounter: Mounter, stream: ByteStream) -> Reply:
    try:
        command = await messages.receive(stream, Command.__value__)
    except ValueError as error:
        return Reply(
            error=f"this mounter speaks version {VERSION} of the protocol, in which that is no command ({error}): it "
            "is older than the agent; drain the node and delete its rook-mounter pod",
            version=VERSION,
        )
    # A command goes on when its caller goes away: an agent that restarts asks again.
    return await mounter.carry_out(command)


async def run_mounter(socket: Path, runtime: Path) -> None:
    """Runs the mounter until it is told to end and no volume is left."""
    async with anyio.create_task_group() as tasks:
        await program.lift_limit()
        mounter = Mounter(tasks, runtime=runtime, state=socket.parent / RECORDS)
        mounter.load()
        tasks.start_soon(serve, mounter, socket)
        await program.until_told_to_end(mounter.drained)
        tasks.cancel_scope.cancel()


def main() -> None:
    """The command line: runs the mounter, or with `--check` asks whether one answers."""
    program.main(
        "controller.agent.rbd.mounter",
        __doc__,
        run_mounter,
        socket=SOCKET,
        runtime=RUNTIME_DIRECTORY,
        files="exported files",
        question=List(),
        reply=Reply,
    )


if __name__ == "__main__":
    main()
