"""Which clients of the storage cluster this node uses volumes by: told to the operator before a pod can write.

The operator fences by it. What was told outlives this process and the node's restart in a file for each volume, so that
an agent that starts never takes back what is still so.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
import msgspec
import structlog

from controller.agent.node.driver import UnavailableError
from controller.agent.system.command import CommandError
from controller.agent.system.files import file_name, write_durably
from controller.apis.rook.node_report import VolumeClient
from informers import ApiError, TransportError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

_log = structlog.get_logger(__name__)

_UNWRITTEN = (ApiError, TransportError, CommandError, OSError)
"""What keeps a report from being written."""


class NotToldError(UnavailableError):
    """The operator cannot be told of a client."""


@dataclass(slots=True)
class Clients:
    """The clients of this node by volume.

    Attributes:
        directory: Holds a file for each volume.
        publish: Writes what `listed` returns where the operator reads it; once it returns, the operator can.
    """

    directory: Path
    publish: Callable[[], Awaitable[None]]
    _clients: dict[str, VolumeClient] = field(default_factory=dict)

    def load(self) -> None:
        """Reads what an earlier agent has told. Blocking."""
        for path in self.directory.glob("*.json"):
            try:
                client = msgspec.json.decode(path.read_bytes(), type=VolumeClient)
            except (OSError, msgspec.MsgspecError) as error:
                _log.error("record cannot be read", record=str(path), error=str(error))
                continue
            self._clients[client.volume_handle] = client

    def listed(self) -> tuple[VolumeClient, ...]:
        """All clients, by volume handle."""
        return tuple(self._clients[volume] for volume in sorted(self._clients))

    async def add(self, client: VolumeClient) -> None:
        """Tells of a volume's client, in place of one that it had before.

        Raises:
            NotToldError: The operator cannot be told.
        """
        volume = client.volume_handle
        if self._clients.get(volume) != client:
            await anyio.to_thread.run_sync(write_durably, self._path(volume), msgspec.json.encode(client))
            self._clients[volume] = client
        try:
            await self.publish()
        except _UNWRITTEN as error:
            raise NotToldError(
                f"volume {volume} is not used before the operator knows by which client, and the node's NodeReport "
                f"cannot be written: {error}"
            ) from error

    async def remove(self, volume: str) -> None:
        """Takes back what was told of a volume; where that cannot be written now, the next report says so."""
        if self._clients.pop(volume, None) is None:
            return
        await anyio.Path(self._path(volume)).unlink(missing_ok=True)
        try:
            await self.publish()
        except _UNWRITTEN as error:
            _log.warning("client not taken back yet", volume=volume, error=str(error))

    def _path(self, volume: str) -> Path:
        return self.directory / f"{file_name(volume)}.json"
