"""Messages over a unix socket of this node: four bytes of length, then JSON. One question for each connection."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
import msgspec
import structlog

from controller.framework.text import brief

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from anyio.abc import ByteReceiveStream, ByteSendStream, ByteStream, TaskGroup

_LENGTH = 4
_MAX_MESSAGE = 1 << 20
"""Bytes; bounds what a broken peer can make us read. A message is a few hundred, a list a few hundred per volume."""

_ACCEPT_PAUSE = 0.5
"""Seconds until connections are taken again after that failed."""

_log = structlog.get_logger(__name__)


async def send(stream: ByteSendStream, message: msgspec.Struct) -> None:
    """Sends one message."""
    body = msgspec.json.encode(message)
    await stream.send(len(body).to_bytes(_LENGTH) + body)


async def receive[T](stream: ByteReceiveStream, kind: type[T]) -> T:
    """Receives one message.

    Raises:
        anyio.EndOfStream: The peer closed the connection.
        ValueError: It is not a message of this kind.
    """
    length = int.from_bytes(await _exactly(stream, _LENGTH))
    if length > _MAX_MESSAGE:
        raise ValueError(f"a message of {length} bytes; at most {_MAX_MESSAGE} are taken")
    return msgspec.json.decode(await _exactly(stream, length), type=kind)


async def _exactly(stream: ByteReceiveStream, count: int) -> bytes:
    received = bytearray()
    while len(received) < count:
        received += await stream.receive(count - len(received))
    return bytes(received)


async def serve(socket: Path, reply: Callable[[ByteStream], Awaitable[msgspec.Struct]], tasks: TaskGroup) -> None:
    """Listens on `socket` until cancelled, and answers each connection with what `reply` returns.

    Args:
        socket: Where to listen; only root may connect.
        reply: Reads the question, and gives the answer.
        tasks: Owns the connections.
    """
    await anyio.to_thread.run_sync(_clear, socket)

    async def answer(stream: ByteStream) -> None:
        try:
            async with stream:
                await send(stream, await reply(stream))
        except Exception as error:
            # A connection is one caller's; the volumes are everybody's.
            _log.warning("connection failed", error=brief(error))

    async with await anyio.create_unix_listener(socket, mode=0o600) as listener:
        while True:
            try:
                await listener.serve(answer, tasks)
            except OSError as error:
                # As when the process has no free file descriptor just now.
                _log.warning("cannot take connections", error=str(error), retry_seconds=_ACCEPT_PAUSE)
            await anyio.sleep(_ACCEPT_PAUSE)


async def ask[T](socket: Path, question: msgspec.Struct, kind: type[T]) -> T:
    """Asks who listens on `socket`, without a deadline.

    Raises:
        OSError, ValueError, anyio.EndOfStream, anyio.BrokenResourceError: Nobody answers, or not in this form.
    """
    async with await anyio.connect_unix(socket) as stream:
        await send(stream, question)
        return await receive(stream, kind)


def _clear(socket: Path) -> None:
    socket.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    socket.unlink(missing_ok=True)
