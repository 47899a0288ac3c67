"""RBD images as block devices of this node: by the kernel where it can, else by the mounter.

A mapper remembers its volumes outside this process, so an agent that restarts finds them again.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import anyio
import anyio.to_thread
import msgspec
import structlog

from controller.agent.ceph.kernel import MS_MODES, ms_mode_problem, nearest_options
from controller.agent.node.driver import UnavailableError, VolumeError
from controller.agent.rbd.protocol import (
    RECORDS,
    VERSION,
    Command,
    Expand,
    Image,
    List,
    Map,
    Mapped,
    Reply,
    Unmap,
)
from controller.agent.system.command import CommandError
from controller.agent.system.files import file_name, read_attribute, write_durably
from controller.agent.system.loop import is_busy, size_of
from controller.agent.system.messages import ask
from controller.framework.text import brief

if TYPE_CHECKING:
    from collections.abc import Sequence

    from controller.agent.ceph.credentials import Credentials
    from controller.agent.system.command import Runner

_log = structlog.get_logger(__name__)

_CALL_DEADLINE = 110.0
"""Seconds for a call of the mounter: it has shorter deadlines of its own, and the kubelet gives up after 120 s."""

_LOOK_DEADLINE = 10.0
_MODPROBE_DEADLINE = 30.0

_GROW_DEADLINE = 15.0
_POLL = 0.05


class MappingError(VolumeError):
    """An image cannot be mapped, unmapped or grown; the message says which one and why."""


class MapperUnavailableError(MappingError, UnavailableError):
    """The mounter cannot be asked."""


class Mapper(Protocol):
    """Makes block devices of images. All methods may be repeated; those that change something raise `MappingError`."""

    name: str
    """As status shows it."""

    async def usable(self) -> str:
        """Why it cannot be used on this node now; empty when it can."""
        ...

    async def unsuitable(self, image: Image) -> str:
        """Why it cannot serve this image; empty when it can."""
        ...

    async def volumes(self) -> Sequence[str]:
        """The volumes that it has block devices of, or records of such."""
        ...

    async def find(self, volume: str) -> Mapped | None:
        """The volume's block device, if this mapper has made one."""
        ...

    async def map(self, volume: str, image: Image, credentials: Credentials, *, read_only: bool) -> Mapped:
        """Makes the volume's block device."""
        ...

    async def unmap(self, volume: str) -> None:
        """Takes the volume's block device away, when nobody uses it."""
        ...

    async def expand(self, volume: str, size: int) -> None:
        """Makes the volume's block device at least `size` bytes large; its image already is."""
        ...


class MounterClient:
    """The userspace `Mapper`: asks the mounter of this node."""

    name = "userspace"

    def __init__(self, socket: Path) -> None:
        self._socket = socket
        self._records = socket.parent / RECORDS
        self._version = VERSION

    async def usable(self) -> str:
        """Whether the mounter answers."""
        try:
            await self._ask(List(), deadline=_LOOK_DEADLINE)
        except MappingError as error:
            return str(error)
        return ""

    async def unsuitable(self, image: Image) -> str:
        """librbd has every feature, and every version of the protocol."""
        return "" if image.name else "the image has no name"

    async def volumes(self) -> Sequence[str]:
        """As the mounter knows them; one without records need not be there."""
        if not await anyio.to_thread.run_sync(_has_records, self._records):
            return ()
        return tuple(mapped.volume for mapped in (await self._ask(List())).mapped)

    async def find(self, volume: str) -> Mapped | None:
        """As the mounter knows it; one that has no record of the volume need not be asked, nor be there."""
        if not await self._recorded(volume):
            return None
        reply = await self._ask(List())
        return next((mapped for mapped in reply.mapped if mapped.volume == volume), None)

    async def map(self, volume: str, image: Image, credentials: Credentials, *, read_only: bool) -> Mapped:
        """Starts the volume's daemon."""
        reply = await self._ask(Map(volume=volume, image=image, credentials=credentials, read_only=read_only))
        return reply.mapped[0]

    async def unmap(self, volume: str) -> None:
        """Ends the volume's daemon after a flush."""
        if await self._recorded(volume):
            await self._ask(Unmap(volume=volume))

    async def expand(self, volume: str, size: int) -> None:
        """Grows the exported file and the loop device on it."""
        await self._ask(Expand(volume=volume, size=size))

    async def _recorded(self, volume: str) -> bool:
        return await anyio.Path(self._records / f"{file_name(volume)}.json").exists()

    async def _ask(self, command: Command, *, deadline: float = _CALL_DEADLINE) -> Reply:
        try:
            with anyio.fail_after(deadline):
                reply = await ask(self._socket, command, Reply)
        except TimeoutError:
            raise MapperUnavailableError(f"the mounter did not answer within {deadline:g} s") from None
        except (OSError, ValueError, anyio.EndOfStream, anyio.BrokenResourceError) as error:
            raise MapperUnavailableError(
                f"the mounter does not answer on {self._socket}: {brief(error)}; "
                "is the rook-mounter pod of this node running?"
            ) from error
        if reply.version != self._version:
            self._version = reply.version
            _log.warning(
                "the mounter speaks another version of the protocol: what only the newer one knows is not done; to "
                "update it, drain the node and delete its rook-mounter pod",
                mounter=reply.version,
                agent=VERSION,
            )
        if reply.error:
            raise MappingError(reply.error)
        return reply


class _Record(msgspec.Struct, frozen=True, kw_only=True):
    """Which image is a volume's: the kernel's own list knows images only."""

    volume: str
    image: Image
    read_only: bool


class KernelMapper:
    """The kernel's `Mapper` (krbd).

    It speaks to the kernel through /sys/bus/rbd (Linux Documentation/ABI/testing/sysfs-bus-rbd) rather than by the
    `rbd` command, so that the key is in no argument and in no file.
    """

    name = "krbd"

    def __init__(
        self, state: Path, *, sys: Path = Path("/sys"), dev: Path = Path("/dev"), release: str = os.uname().release
    ) -> None:
        self._state = state
        self._bus = sys / "bus/rbd"
        self._dev = dev
        self._release = release
        self._module = "is it a module that is not loaded?"

    async def usable(self) -> str:
        """Whether the kernel has the rbd driver."""
        if await anyio.Path(self._bus).exists():
            return ""
        return f"the kernel has no rbd driver (/sys/bus/rbd does not exist; {self._module})"

    async def load(self, run: Runner) -> None:
        """Loads the kernel's driver where it is a module that is not loaded yet; one that cannot be is no error."""
        if not await self.usable():
            return
        try:
            await run("modprobe", "rbd", deadline=_MODPROBE_DEADLINE)
        except CommandError as error:
            self._module = str(error)

    async def unsuitable(self, image: Image) -> str:
        """The kernel has to support all of the image's features, and the protocol that its cluster speaks."""
        if problem := await self.usable():
            return problem
        supported = int((await anyio.Path(self._bus / "supported_features").read_text()).strip(), 16)
        if missing := image.features & ~supported:
            return f"the kernel does not support all features of the image (not {missing:#x})"
        return ms_mode_problem(image.ms_mode, self._release)

    async def volumes(self) -> Sequence[str]:
        """Those that this agent, or one before it, had the kernel map."""
        return await anyio.to_thread.run_sync(self._volumes)

    async def find(self, volume: str) -> Mapped | None:
        """The kernel's device of the volume's image."""
        return await anyio.to_thread.run_sync(self._find, volume)

    async def map(self, volume: str, image: Image, credentials: Credentials, *, read_only: bool) -> Mapped:
        """Has the kernel map the image; the kernel itself ends its wait for the mons after 60 s."""
        await anyio.to_thread.run_sync(self._remember, _Record(volume=volume, image=image, read_only=read_only))
        if found := await self.find(volume):
            return found
        line = add_line(image, credentials, read_only=read_only, release=self._release)
        try:
            await self._tell("add", line)
        except OSError as error:
            raise MappingError(f"the kernel cannot map image {image}: {error}") from None
        if found := await self.find(volume):
            return found
        raise MappingError(f"the kernel mapped image {image}, but /sys/bus/rbd/devices does not list it")

    async def unmap(self, volume: str) -> None:
        """Has the kernel unmap the image; it refuses while the device is open."""
        found = await self.find(volume)
        if found is not None:
            if await anyio.to_thread.run_sync(is_busy, found.device):
                raise MappingError(f"{found.device} is still mounted or opened exclusively")
            number = found.device.removeprefix(f"{self._dev}/rbd")
            try:
                await self._tell("remove", number)
            except OSError as error:
                raise MappingError(f"the kernel cannot unmap {found.device}: {error}") from None
        await anyio.Path(self._record(volume)).unlink(missing_ok=True)

    async def expand(self, volume: str, size: int) -> None:
        """Waits until the kernel has heard from the cluster that the image grew."""
        found = await self.find(volume)
        if found is None:
            raise MappingError(f"volume {volume} is not mapped here")
        with anyio.move_on_after(_GROW_DEADLINE):
            while await anyio.to_thread.run_sync(size_of, found.device) < size:  # noqa: ASYNC110
                await anyio.sleep(_POLL)
            return
        raise MappingError(f"{found.device} did not grow to {size} bytes within {_GROW_DEADLINE:g} s")

    def _find(self, volume: str) -> Mapped | None:
        try:
            record = msgspec.json.decode(self._record(volume).read_bytes(), type=_Record)
        except FileNotFoundError:
            return None
        image = record.image
        for device in sorted((self._bus / "devices").glob("*")):
            # An image of the same name may be another cluster's. Old kernels do not say whose it is.
            fsid = read_attribute(device / "cluster_fsid")
            same_cluster = not fsid or not image.fsid or fsid == image.fsid
            if same_cluster and _attributes(device) == (image.pool, image.namespace, image.name, "-"):
                return Mapped(
                    volume=volume,
                    image=str(image),
                    device=f"{self._dev}/rbd{device.name}",
                    read_only=record.read_only,
                    address=read_attribute(device / "client_addr"),
                )
        return None

    def _volumes(self) -> Sequence[str]:
        found = []
        for path in sorted(self._state.glob("*.json")):
            try:
                found.append(msgspec.json.decode(path.read_bytes(), type=_Record).volume)
            except (OSError, msgspec.MsgspecError) as error:
                _log.error("record cannot be read", record=str(path), error=str(error))
        return found

    async def _tell(self, operation: str, line: str) -> None:
        # Not given up while the kernel works on it: the next try would only wait behind this one. A thread of its own,
        # as a cluster that does not answer must not use up those of everything else.
        await anyio.to_thread.run_sync(self._write, operation, line, limiter=anyio.CapacityLimiter(1))

    def _write(self, operation: str, line: str) -> None:
        single_major = self._bus / f"{operation}_single_major"
        target = single_major if single_major.exists() else self._bus / operation
        target.write_text(line)

    def _remember(self, record: _Record) -> None:
        write_durably(self._record(record.volume), msgspec.json.encode(record))

    def _record(self, volume: str) -> Path:
        return self._state / f"{file_name(volume)}.json"


def add_line(image: Image, credentials: Credentials, *, read_only: bool, release: str) -> str:
    """What is written to /sys/bus/rbd/add to map an image, by a kernel of that release.

    Raises:
        MappingError: A value has a character that would be read as another field or option.
    """
    fields = [("pool", image.pool), ("image", image.name), ("user", credentials.user), ("key", credentials.key)]
    fields += [("monitor", monitor) for monitor in image.monitors or ("",)]
    if image.namespace:
        fields.append(("radosNamespace", image.namespace))
    for what, value in fields:
        if not re.fullmatch(r"[^\s,]+", value):
            shown = "" if what == "key" else f" {value!r}"
            raise MappingError(f"{what}{shown} cannot be handed to the kernel: it is empty, or has a space or a comma")
    if image.ms_mode and image.ms_mode not in MS_MODES:
        raise MappingError(f"msMode is {image.ms_mode!r}: expected one of {', '.join(MS_MODES)}")
    if re.search(r"\s", image.options):
        raise MappingError(f"StorageClass parameter mapOptions is {image.options!r}: expected no space in it")
    options = [f"name={credentials.user}", f"secret={credentials.key}", "ro" if read_only else "rw"]
    if image.namespace:
        options.append(f"_pool_ns={image.namespace}")
    # What the class says itself stands.
    if image.ms_mode and "ms_mode" not in (option.partition("=")[0] for option in image.options.split(",")):
        options.append(f"ms_mode={image.ms_mode}")
    options += nearest_options(image.location, image.options.split(","), release)
    if image.options:
        options.append(image.options)
    return f"{','.join(image.monitors)} {','.join(options)} {image.pool} {image.name} -"


def kernel_options(map_options: str) -> str:
    """The kernel's part of the StorageClass parameter `mapOptions`: "krbd:a,b=1;nbd:c", or just "a,b=1"."""
    for part in map_options.split(";"):
        mapper, colon, options = part.partition(":")
        if not colon:
            return part.strip()
        if mapper.strip() == "krbd":
            return options.strip()
    return ""


def _attributes(device: Path) -> tuple[str, str, str, str]:
    names = ("pool", "pool_ns", "name", "current_snap")
    pool, namespace, image, snapshot = (read_attribute(device / name) for name in names)
    return pool, namespace, image, snapshot


def _has_records(directory: Path) -> bool:
    return any(directory.glob("*.json"))
