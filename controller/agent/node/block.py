"""Volumes that are block devices of the node, as pods see them: with a file system on them, or as they are.

A storage system hands in `Devices`, which makes a block device of a volume. Each call looks at what is there (the
devices, the kernel's mount table) and does what is missing. Nothing is kept in memory between calls. A stage that fails
leaves no device behind.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import anyio
import anyio.to_thread
import grpc
import structlog

from controller.agent.node.calls import CsiError
from controller.agent.node.driver import VolumeError
from controller.agent.node.publish import not_staged, publish_directory, refuse_second_pod, taken, unmount, unpublish
from controller.agent.system import filesystem, mounts
from controller.agent.system.command import CommandError, run
from controller.agent.system.files import file_name
from controller.agent.system.filesystem import FilesystemError
from controller.agent.system.loop import size_of
from controller.apis.rook.node_report import VolumeClient
from controller.framework.text import brief

if TYPE_CHECKING:
    from collections.abc import Sequence

    from controller.agent.node.clients import Clients
    from controller.agent.node.driver import Access, Publish, Stage
    from controller.agent.system.command import Runner

DEFAULT_FILESYSTEM = "ext4"

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A volume's block device on this node.

    Attributes:
        path: "/dev/loop7".
        source: What of the storage system is behind it, "pool/image".
        read_only: Whether it refuses writes.
        problem: Why I/O on it fails; empty while it is healthy.
        client: The client of the storage system by which the node has it, as that system knows it; empty: not known.
        encrypted: Whether what is behind it is encrypted, and it is what that decrypts to.
    """

    path: str
    source: str
    read_only: bool = False
    problem: str = ""
    client: str = ""
    encrypted: bool = False


class Devices(Protocol):
    """Makes block devices of the volumes of a storage system. All methods may be repeated.

    Those that change something raise `controller.agent.node.driver.VolumeError`.
    """

    suffix: str
    """What the names of its CSI drivers end in."""

    kind: str
    """What the storage system calls that of which it makes a device: "image"."""

    async def usable(self) -> str:
        """Why no device can be made on this node now; empty when one can."""
        ...

    async def max_volumes(self) -> int:
        """See `controller.agent.node.driver.Driver`."""
        ...

    def source(self, stage: Stage) -> str:
        """What of the storage system a volume is, as `Device.source` has it. Pure.

        Raises:
            CsiError: Something that it needs to be mapped is not told.
        """
        ...

    def is_encrypted(self, stage: Stage) -> bool:
        """Whether a volume is encrypted, as `Device.encrypted` has it. Pure."""
        ...

    async def volumes(self) -> Sequence[str]:
        """The volumes that have a device, or records of one."""
        ...

    async def find(self, volume: str) -> Device | None:
        """A volume's device, if there is one."""
        ...

    async def map(self, stage: Stage) -> Device:
        """Makes a volume's device; for readers only where the access says so."""
        ...

    async def unmap(self, volume: str) -> None:
        """Takes a volume's device away, when nobody uses it; one that has none is no error."""
        ...

    async def expand(self, volume: str, size: int) -> None:
        """Makes a volume's device at least `size` bytes large; the volume already is."""
        ...


class BlockDriver:
    """Serves volumes that are block devices. Implements `controller.agent.node.driver.Driver`.

    Args:
        node: The node's name.
        devices: Makes devices of volumes.
        clients: Tells the operator by which client a volume is used.
        state: A directory that outlives this process.
        runner: Runs the system's tools.
    """

    def __init__(self, node: str, devices: Devices, clients: Clients, state: Path, *, runner: Runner = run) -> None:
        self.suffix = devices.suffix
        self._node = node
        self._devices = devices
        self._clients = clients
        self._unfinished = state / "unfinished"
        self._abandoned = state / "abandoned"
        self._run = runner

    async def usable(self) -> str:
        """Whether devices can be made."""
        return await self._devices.usable()

    async def max_volumes(self) -> int:
        """As many as there can be devices."""
        return await self._devices.max_volumes()

    async def stage(self, stage: Stage) -> None:
        """Makes the device and, unless it is a block volume, mounts its file system at the staging path."""
        _refuse_many_writers(stage.access)
        volume, source = stage.volume, self._devices.source(stage)
        device = await self._devices.find(volume)
        encrypted = self._devices.is_encrypted(stage)
        if device is not None and not device.problem and (device.source, device.encrypted) != (source, encrypted):
            raise CsiError(
                grpc.StatusCode.FAILED_PRECONDITION,
                f"volume {volume} is {self._devices.kind} {_words(source, encrypted)}, and is mapped here as another "
                f"volume of the same handle, {self._devices.kind} {_words(device.source, device.encrypted)}: that one "
                "has to be unstaged first",
            )
        table = await mounts.table()
        mount = mounts.at(stage.path, table)
        if mount is not None and device is None:
            _refuse_second_device(volume, mount, table)
        if mount is not None and (device is None or device.problem or not mounts.is_on(mount, device.path)):
            await unmount(self._run, stage.path, force=device is None or bool(device.problem))
            mount = None
        if device is not None and (device.problem or device.read_only != stage.access.read_only):
            await self._unmap(volume)
            device = None
        try:
            if device is None:
                device = await self._devices.map(stage)
            await self._tell(stage, device)
            if not stage.access.block and mount is None:
                await self._mount(stage, device)
        except Exception:
            # The kubelet may give up: it does not unstage what was never staged. And a volume that grows meanwhile is
            # opened with its new size.
            await self._give_up(volume)
            raise
        await self._note(volume, abandoned=False)

    async def unstage(self, volume: str, path: str) -> None:
        """Unmounts the staging path and takes the device away, after everything is flushed."""
        device = await self._devices.find(volume)
        await unmount(self._run, path, force=device is not None and bool(device.problem))
        await self._unmap(volume)

    async def publish(self, publish: Publish) -> None:
        """Binds the staged file system, or the device."""
        _refuse_many_writers(publish.access)
        device = await self._devices.find(publish.volume)
        if publish.access.block:
            await self._publish_device(publish, device)
            return
        if device is None:
            raise not_staged(publish)
        if device.problem:
            raise CsiError(
                grpc.StatusCode.FAILED_PRECONDITION,
                f"I/O on volume {publish.volume} fails on node {self._node}: {device.problem}; "
                "it is mapped anew once no pod of this node uses it",
            )
        await publish_directory(self._run, publish)

    async def unpublish(self, volume: str, path: str) -> None:
        """Takes the bind mount away."""
        device = await self._devices.find(volume)
        await unpublish(self._run, path, force=device is not None and bool(device.problem))

    async def problem(self, volume: str) -> str | None:
        """As the device tells."""
        device = await self._devices.find(volume)
        return None if device is None else device.problem

    async def expand(self, volume: str, size: int) -> int:
        """Makes the device and the file system on it as large as the volume is now."""
        device = await self._devices.find(volume)
        if device is None:
            raise CsiError(grpc.StatusCode.NOT_FOUND, f"volume {volume} is not on node {self._node}")
        await self._devices.expand(volume, size)
        for mount in await mounts.table():
            if mounts.is_on(mount, device.path):
                await filesystem.grow_mounted(self._run, device.path, mount.filesystem, mount.target)
                break
        return await anyio.to_thread.run_sync(size_of, device.path)

    async def trim(self, volume: str) -> int | None:
        """By fstrim(8) where the device is staged; what is discarded in an encrypted volume would be written over."""
        device = await self._devices.find(volume)
        if device is None:
            return None
        if device.problem:
            raise VolumeError(f"I/O on volume {volume} fails on node {self._node}: {device.problem}")
        if device.encrypted:
            raise VolumeError(f"volume {volume} is encrypted, and keeps what its file system discards")
        for mount in await mounts.table():
            if mounts.is_on(mount, device.path) and not mount.read_only:
                return await filesystem.trim(self._run, mount.target)
        return None

    async def volumes(self) -> Sequence[str]:
        """Those that have a device, and those of which the operator was told."""
        told = {found.volume_handle for found in self._clients.listed() if found.driver.endswith(self.suffix)}
        return sorted(told.union(await self._devices.volumes()))

    async def abandoned(self, volume: str) -> bool:
        """By a note in a file."""
        return await anyio.Path(self._abandoned / file_name(volume)).exists()

    async def let_go(self, volume: str) -> bool:
        """Unmaps a volume whose device is mounted nowhere and published nowhere."""
        device = await self._devices.find(volume)
        if device is not None and mounts.users(device.path, await mounts.table()):
            return False
        await self._unmap(volume)
        return True

    async def _give_up(self, volume: str) -> None:
        try:
            await self.let_go(volume)
        except Exception as error:
            # The error of the stage is the one to tell. What is left is let go once the volume is detached.
            _log.warning("volume stays mapped", volume=volume, error=brief(error))
            await self._note(volume, abandoned=True)

    async def _note(self, volume: str, *, abandoned: bool) -> None:
        note = anyio.Path(self._abandoned / file_name(volume))
        if abandoned:
            await note.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
            await note.touch(mode=0o640)
        else:
            await note.unlink(missing_ok=True)

    async def _tell(self, stage: Stage, device: Device) -> None:
        client = VolumeClient(
            driver=stage.driver, volume_handle=stage.volume, image=device.source, address=device.client
        )
        await self._clients.add(client)

    async def _unmap(self, volume: str) -> None:
        await self._devices.unmap(volume)
        await self._clients.remove(volume)
        await self._note(volume, abandoned=False)

    async def _mount(self, stage: Stage, device: Device) -> None:
        volume, wanted = stage.volume, stage.access.filesystem or DEFAULT_FILESYSTEM
        if wanted not in filesystem.SUPPORTED:
            raise CsiError(
                grpc.StatusCode.INVALID_ARGUMENT,
                f"volume {volume}: file system type {wanted!r} is not served: expected "
                f"{' or '.join(filesystem.SUPPORTED)}",
            )
        unfinished = self._unfinished / file_name(volume)
        await filesystem.prepare(self._run, device.path, wanted, unfinished=unfinished, read_only=device.read_only)
        await anyio.Path(stage.path).mkdir(parents=True, exist_ok=True, mode=0o750)
        options = [*stage.access.options, *filesystem.MOUNT_OPTIONS[wanted]]
        if device.read_only:
            options.append("ro")
            await self._refuse_journal(volume, device.path, wanted, options)
        options = list(dict.fromkeys(options))

        async def mount() -> None:
            await mounts.mount(self._run, device.path, stage.path, filesystem=wanted, options=options)

        if device.read_only:
            try:
                await mount()
            except CommandError as error:
                if wanted != "xfs":
                    raise
                # Its log is not looked into before: the likeliest reason why a sound device is refused is told.
                raise FilesystemError(f"{error}: it may be that {_unreplayed(wanted)}") from error
            return
        await mount()
        # One that cannot be grown is as good as it was: the kubelet asks for growth by itself, and tells what is wrong.
        try:
            await filesystem.grow_mounted(self._run, device.path, wanted, stage.path)
        except CommandError as error:
            _log.warning("file system not grown while mounted", volume=volume, error=str(error))
            if wanted not in filesystem.EXT:
                return
            await mounts.unmount(self._run, stage.path)
            try:
                await filesystem.grow_unmounted(self._run, device.path)
            except CommandError as another:
                _log.warning("file system not grown", volume=volume, error=str(another))
            await mount()

    async def _refuse_journal(self, volume: str, device: str, wanted: str, options: Sequence[str]) -> None:
        """A reader cannot replay what the last writer left in the journal, and must know if it is to do without."""
        if filesystem.WITHOUT_JOURNAL[wanted] not in options and await anyio.to_thread.run_sync(
            filesystem.needs_recovery, device, wanted
        ):
            raise FilesystemError(f"volume {volume} is to be read only: {_unreplayed(wanted)}")

    async def _publish_device(self, publish: Publish, device: Device | None) -> None:
        volume, path = publish.volume, publish.path
        if device is None or device.problem:
            reason = device.problem if device else "it has no block device here"
            raise CsiError(grpc.StatusCode.FAILED_PRECONDITION, f"volume {volume} is not staged: {reason}")
        table = await mounts.table()
        if mounts.at(path, table) is not None:
            if await anyio.to_thread.run_sync(mounts.device_number, path) != mounts.device_number(device.path):
                raise taken(publish, f"something other than {device.path} is mounted there")
            return
        refuse_second_pod(publish, mounts.users(device.path, table))
        await anyio.Path(path).parent.mkdir(parents=True, exist_ok=True, mode=0o750)
        await anyio.Path(path).touch(mode=0o660)
        # For a read-only volume the kubelet gives the container a device rule without write access.
        await mounts.bind(self._run, device.path, path)


def _words(source: str, encrypted: bool) -> str:
    return f"{source}, encrypted" if encrypted else source


def _refuse_many_writers(access: Access) -> None:
    if access.many_writers and not access.block:
        raise CsiError(
            grpc.StatusCode.INVALID_ARGUMENT,
            f"volume_capability: access mode {access.mode} with a file system would destroy it: "
            "expected a block volume, or a mode with writers on one node only",
        )


def _refuse_second_device(volume: str, staged: mounts.Mount, table: Sequence[mounts.Mount]) -> None:
    """Two devices of one volume, each with the file system mounted, destroy it: pods may still use the one before."""
    others = [m.target for m in table if m.device == staged.device and m.target != staged.target]
    if others:
        raise CsiError(
            grpc.StatusCode.FAILED_PRECONDITION,
            f"volume {volume} is not on record here, but {staged.source} is still mounted at {', '.join(others)}: "
            "it is mapped anew once no pod of this node uses it",
        )


def _unreplayed(wanted: str) -> str:
    return (
        f"its {wanted} has a journal that its last user did not write back; mount it once for writing, or set the "
        f"mount option {filesystem.WITHOUT_JOURNAL[wanted]} to see it as it is, which may be inconsistent"
    )
