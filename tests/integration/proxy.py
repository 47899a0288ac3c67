"""A TCP proxy that breaks, delays and holds back connections as a network does."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class _Connection:
    """Both sides of a connection. What comes over it once it is `lost` vanishes."""

    def __init__(self, client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self.lost = False
        self._sides = (client, server)

    def abort(self) -> None:
        for side in self._sides:
            side.transport.abort()


class Proxy:
    """Forwards connections to a port of 127.0.0.1, until it is told otherwise.

    Args:
        target: The port.
        tunnel: Be an HTTP proxy for CONNECT. Whatever host it is asked for, it connects to the port.
        login: Base64 of the user and password that it wants to see then.

    Attributes:
        port: Where it listens.
        blocked: While it is set, new connections are broken at once.
        connections: How many were made.
        held: How many pieces of what clients sent are held back now.
        latency: Seconds for which each piece of data is kept back.
        linger: Seconds for which the server is not told that a client has gone.
        asked_for: "host:port" of each tunnel.
    """

    def __init__(self, target: int, *, tunnel: bool = False, login: str = "") -> None:
        self.port = 0
        self.blocked = False
        self.connections = 0
        self.held = 0
        self.latency = 0.0
        self.linger = 0.0
        self.asked_for: list[str] = []
        self._target = target
        self._tunnel = tunnel
        self._login = login
        self._open: set[_Connection] = set()
        self._allowance: int | None = None
        self._requests, self._answers = asyncio.Event(), asyncio.Event()
        self.release()

    @asynccontextmanager
    async def serve(self) -> AsyncIterator["Proxy"]:
        """Listen while the context lasts."""
        server = await asyncio.start_server(self._handle, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            self.release()
            self.cut()

    @property
    def open(self) -> int:
        """How many connections are open."""
        return len(self._open)

    def block(self) -> None:
        """Break all connections, and every new one, until `unblock`."""
        self.blocked = True
        self.cut()

    def unblock(self) -> None:
        """Let new connections through again."""
        self.blocked = False

    def cut(self) -> None:
        """Break all connections."""
        for connection in self._open:
            connection.abort()

    def cut_after(self, count: int) -> None:
        """Break the connection over which the server's next `count` bytes have come, in the midst of whatever it is."""
        self._allowance = count

    def hold(self, *, answers: bool = True) -> None:
        """Let nothing through, without a word to anybody. What is sent meanwhile comes at `release`.

        Args:
            answers: Hold back what the server sends too.
        """
        self._requests.clear()
        if answers:
            self._answers.clear()

    def release(self) -> None:
        """End `hold`: what was held back is delivered, also for those who have gone since."""
        self._requests.set()
        self._answers.set()

    def strand(self) -> None:
        """Let nothing more through on the connections that are open now, as if a router had forgotten them."""
        for connection in self._open:
            connection.lost = True

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            if not self.blocked and (not self._tunnel or await self._greeted(reader, writer)):
                await self._forward(reader, writer)
        except* OSError:
            pass
        finally:
            writer.transport.abort()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self._target)
        connection = _Connection(writer, up_writer)
        self._open.add(connection)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._pump(reader, up_writer, connection, answers=False))
                tasks.create_task(self._pump(up_reader, writer, connection, answers=True))
        finally:
            self._open.discard(connection)
            connection.abort()

    async def _greeted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        allowed = not self._login or f"Proxy-Authorization: Basic {self._login}\r\n" in head
        self.asked_for.append(head.split()[1])
        answer = "200 Connection established" if allowed else "407 Proxy Authentication Required"
        writer.write(f"HTTP/1.1 {answer}\r\n\r\n".encode())
        await writer.drain()
        return allowed

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, connection: _Connection, *, answers: bool
    ) -> None:
        flow = self._answers if answers else self._requests
        while data := await reader.read(65536):
            if self.latency:
                await asyncio.sleep(self.latency)
            self.held += not answers
            try:
                await flow.wait()
            finally:
                self.held -= not answers
            if connection.lost:
                continue
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
        await flow.wait()
        if not answers:
            await asyncio.sleep(self.linger)
        raise ConnectionResetError  # one side has closed: close the other
