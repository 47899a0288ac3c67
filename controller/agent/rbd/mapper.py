"""RBD images as block devices of this node: by the kernel where it can, else by the mounter.

A mapper remembers its volumes outside this process, so an agent that restarts finds them again.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import anyio
import anyio.to_thread
import structlog

from controller.agent.node.driver import UnavailableError, VolumeError
from controller.agent.rbd.protocol import (
    RECORDS,
    VERSION,
    Command,
    Expand,
    Image,
    List,
    Map,
    MapEncrypted,
    Mapped,
    Reply,
    Unmap,
)
from controller.agent.system.files import file_name
from controller.agent.system.messages import ask
from controller.framework.text import brief

if TYPE_CHECKING:
    from collections.abc import Sequence

    from controller.agent.ceph.credentials import Credentials

_log = structlog.get_logger(__name__)

_CALL_DEADLINE = 110.0
"""Seconds for a call of the mounter: it has shorter deadlines of its own, and the kubelet gives up after 120 s."""

_LOOK_DEADLINE = 10.0

_DECRYPTS = 4
"""The version of the protocol since which the mounter opens encrypted images."""

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

    async def cannot_decrypt(self) -> str:
        """Why it can serve no encrypted image now, whichever; empty when it can."""
        ...

    async def volumes(self) -> Sequence[str]:
        """The volumes that it has block devices of, or records of such."""
        ...

    async def find(self, volume: str) -> Mapped | None:
        """The volume's block device, if this mapper has made one."""
        ...

    async def map(
        self, volume: str, image: Image, credentials: Credentials, *, read_only: bool, passphrase: str = ""
    ) -> Mapped:
        """Makes the volume's block device: of what the image decrypts to, where there is a passphrase."""
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

    async def cannot_decrypt(self) -> str:
        """librbd can; the mounter may be older than that."""
        try:
            reply = await self._ask(List(), deadline=_LOOK_DEADLINE)
        except MappingError as error:
            return str(error)
        if reply.version >= _DECRYPTS:
            return ""
        return (
            f"the mounter of this node speaks version {reply.version} of the protocol, and opens no encrypted images: "
            "drain the node and delete its rook-mounter pod"
        )

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

    async def map(
        self, volume: str, image: Image, credentials: Credentials, *, read_only: bool, passphrase: str = ""
    ) -> Mapped:
        """Starts the volume's daemon."""
        command: Command = Map(volume=volume, image=image, credentials=credentials, read_only=read_only)
        if passphrase:
            command = MapEncrypted(
                volume=volume, image=image, credentials=credentials, passphrase=passphrase, read_only=read_only
            )
        return (await self._ask(command)).mapped[0]

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


def _has_records(directory: Path) -> bool:
    return any(directory.glob("*.json"))
