"""The admin socket of a Ceph client: a command as JSON that ends in a zero byte; the answer after its length."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import msgspec
from anyio.streams.buffered import BufferedByteReceiveStream

if TYPE_CHECKING:
    from pathlib import Path

_LENGTH = 4

ERRORS = (OSError, ValueError, anyio.EndOfStream, anyio.BrokenResourceError, anyio.IncompleteRead)
"""What `ask` raises where the client does not answer."""


async def ask(socket: Path, prefix: str, **arguments: object) -> bytes:
    """A client's answer to a command, without a deadline."""
    async with await anyio.connect_unix(socket) as stream:
        await stream.send(msgspec.json.encode({"prefix": prefix, **arguments}) + b"\0")
        answer = BufferedByteReceiveStream(stream)
        return await answer.receive_exactly(int.from_bytes(await answer.receive_exactly(_LENGTH)))
