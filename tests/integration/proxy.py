"""A TCP proxy that breaks connections as a network does."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress


class Proxy:
    """Forwards connections to a port of 127.0.0.1, until it is told otherwise.

    Attributes:
        port: Where it listens.
        blocked: While it is set, new connections are broken at once.
        connections: How many were made.
    """

    def __init__(self, target: int) -> None:
        self.port = 0
        self.blocked = False
        self.connections = 0
        self._target = target
        self._open: set[asyncio.StreamWriter] = set()
        self._allowance: int | None = None

    @asynccontextmanager
    async def serve(self) -> AsyncIterator["Proxy"]:
        """Listen while the context lasts."""
        server = await asyncio.start_server(self._handle, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            self.cut()

    def block(self) -> None:
        """Break all connections, and every new one, until `unblock`."""
        self.blocked = True
        self.cut()

    def unblock(self) -> None:
        """Let new connections through again."""
        self.blocked = False

    def cut(self) -> None:
        """Break all connections."""
        for writer in self._open:
            writer.transport.abort()

    def cut_after(self, count: int) -> None:
        """Break the connection over which the server's next `count` bytes have come, in the midst of whatever it is."""
        self._allowance = count

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        if self.blocked:
            writer.transport.abort()
            return
        with suppress(OSError):
            up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self._target)
            self._open |= {writer, up_writer}
            try:
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(self._pump(reader, up_writer, answers=False))
                    tasks.create_task(self._pump(up_reader, writer, answers=True))
            except* OSError:
                pass
            finally:
                self._open -= {writer, up_writer}
                writer.transport.abort()
                up_writer.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, answers: bool) -> None:
        while data := await reader.read(65536):
            if answers and self._allowance is not None:
                data, rest = data[: self._allowance], data[self._allowance :]
                self._allowance -= len(data)
                if rest or not self._allowance:
                    self._allowance = None
                    writer.write(data)
                    await writer.drain()
                    raise ConnectionResetError
            writer.write(data)
            await writer.drain()
        raise ConnectionResetError  # one side has closed: close the other
