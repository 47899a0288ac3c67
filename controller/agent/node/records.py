"""Which volumes of a kind are mounted on this node, by a file for each: outlives the agent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
import msgspec
import structlog

from controller.agent.system.files import file_name, write_durably

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_log = structlog.get_logger(__name__)


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """A volume that is mounted, or was about to be.

    Attributes:
        volume: The CSI volume id.
        target: Where it is staged.
        directory: What it is, "myfs:/volumes/csi/csi-vol-1/5d1f".
        mounter: By what it is mounted: "kernel" or "fuse".
        snapshot: The snapshot of the directory that pods see; empty: they see the directory itself.
        abandoned: Its stage failed, and it could not be taken away then.
    """

    volume: str
    target: str
    directory: str
    mounter: str
    snapshot: str = ""
    abandoned: bool = False

    def as_abandoned(self) -> Record:
        """The record of a volume whose stage failed and that stays."""
        return msgspec.structs.replace(self, abandoned=True)


@dataclass(frozen=True, slots=True)
class Records:
    """The records of this node.

    Attributes:
        directory: Holds a file for each volume.
    """

    directory: Path

    async def find(self, volume: str) -> Record | None:
        """A volume's record, if there is one."""
        try:
            content = await anyio.Path(self._path(volume)).read_bytes()
        except FileNotFoundError:
            return None
        return msgspec.json.decode(content, type=Record)

    async def listed(self) -> Sequence[Record]:
        """All records that can be read."""
        return await anyio.to_thread.run_sync(self._listed)

    async def put(self, record: Record) -> None:
        """Writes a volume's record in place of one that it had before."""
        await anyio.to_thread.run_sync(write_durably, self._path(record.volume), msgspec.json.encode(record))

    async def remove(self, volume: str) -> None:
        """Removes a volume's record, if it has one."""
        await anyio.Path(self._path(volume)).unlink(missing_ok=True)

    def _listed(self) -> Sequence[Record]:
        found = []
        for path in sorted(self.directory.glob("*.json")):
            try:
                found.append(msgspec.json.decode(path.read_bytes(), type=Record))
            except (OSError, msgspec.MsgspecError) as error:
                _log.error("record cannot be read", record=str(path), error=str(error))
        return found

    def _path(self, volume: str) -> Path:
        return self.directory / f"{file_name(volume)}.json"
