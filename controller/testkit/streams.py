"""One open watch: the events after its version, a bookmark each minute, and what goes wrong with it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from controller.testkit.encoding import bookmark, encode_event
from informers import StalledError, TransportError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from controller.testkit.selection import Selection
    from controller.testkit.server import ApiServer, Served
    from controller.testkit.storage import Record
    from informers import ApiError, JsonObject

BOOKMARK_SECONDS = 60.0

EXPIRED: JsonObject = {
    "kind": "Status",
    "apiVersion": "v1",
    "status": "Failure",
    "message": "The resourceVersion for the provided watch is too old.",
    "reason": "Expired",
    "code": 410,
}


class Stream:
    """A watch. It lies between server and client: what is in it when the connection breaks is lost.

    Args:
        server: Which server.
        served: What is watched.
        selection: Which objects of it.
        version: Events after this one are sent; of a version to come, nothing is until the server gets there.
        media: The encoding.
        bookmarks: Whether the client wants bookmarks.
        seconds: After how long the server ends it in good order.
        idle: Seconds without a byte after which the client gives it up.
    """

    def __init__(
        self,
        server: ApiServer,
        served: Served,
        selection: Selection,
        *,
        version: int,
        media: str,
        bookmarks: bool,
        seconds: float,
        idle: float,
    ) -> None:
        self.content_type = media
        self.served = served
        self._server = server
        self._selection = selection
        self._version = version
        self._bookmarks = bookmarks
        self._idle = idle
        self._buffer = bytearray()
        self._stalled = self._ended = False
        self._cut_after: int | None = None
        self._changed = asyncio.Event()
        self._ends = asyncio.get_running_loop().time() + seconds

    async def read(self) -> bytes:
        """See `informers.client.Stream`."""
        while True:
            if self._stalled:
                await asyncio.sleep(self._idle)
                raise StalledError(f"no byte for {self._idle:.0f} s")
            self._fill()
            if self._cut_after is not None and not (self._buffer and self._cut_after):
                raise TransportError("connection reset by peer")
            if self._buffer:
                return self._take()
            if self._ended:
                return b""
            await self._wait()

    def send(self, event: str, obj: JsonObject) -> None:
        """Send an event before those that are due."""
        self._buffer += encode_event(event, obj, self.content_type)

    def send_initial(self, objects: Iterable[JsonObject], *, end: bool) -> None:
        """Send what there is, and (`end`) that this was all."""
        for obj in objects:
            self.send("ADDED", obj)
        if end:
            self.send("BOOKMARK", bookmark(self.served.resource, self._version, initial_events_end=True))

    def tell(self, event: str, obj: JsonObject) -> None:
        """Send an event after those that are due."""
        self._fill()
        self.send(event, obj)
        self.wake()

    def push(self, data: bytes) -> None:
        """Send these bytes after the events that are due."""
        self._fill()
        self._buffer += data
        self.wake()

    def fail(self, error: ApiError) -> None:
        """End it by an error event."""
        status = {"kind": "Status", "code": error.status, "reason": error.reason, "message": error.message}
        self.tell("ERROR", status)
        self.end()

    def end(self) -> None:
        """End it in good order, after the events that are due."""
        self._fill()
        self._ended = True
        self.wake()

    def stall(self) -> None:
        """Let nothing more through, and not tell."""
        self._stalled = True
        self.wake()

    def cut(self, after: int) -> None:
        """Break the connection when it has carried so many bytes more."""
        self._cut_after = after
        self.wake()

    def wake(self) -> None:
        """Something may have happened."""
        self._changed.set()

    def _take(self) -> bytes:
        size = min(self._server.chunk, len(self._buffer), self._cut_after or len(self._buffer))
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        if self._cut_after is not None:
            self._cut_after -= size
        return data

    def _fill(self) -> None:
        storage = self._server.storage
        if self._ended or self._version > storage.version:
            return
        if self._version < storage.compacted:
            self.send("ERROR", EXPIRED)
            self._ended = True
            return
        for record in storage.since(self._version):
            self._version = record.version
            if record.collection == self.served.collection:
                self._send_record(record)

    def _send_record(self, record: Record) -> None:
        """The event as it is for who sees only what he selected."""
        after = record.type != "DELETED" and self._selection.matches(record.key, record.object)
        before = record.previous is not None and self._selection.matches(record.key, record.previous)
        if after:
            self.send("MODIFIED" if before else "ADDED", record.object)
        elif before and record.previous is not None:
            version = {"resourceVersion": str(record.version)}
            self.send("DELETED", {**record.previous, "metadata": {**record.previous["metadata"], **version}})

    async def _wait(self) -> None:
        self._changed.clear()
        left = self._ends - asyncio.get_running_loop().time()
        quiet = min(BOOKMARK_SECONDS, self._idle)
        try:
            async with asyncio.timeout(min(quiet, max(0.0, left))):
                await self._changed.wait()
        except TimeoutError:
            if left <= quiet:
                self.end()
            elif not self._bookmarks or self._version > self._server.storage.version or self._idle <= BOOKMARK_SECONDS:
                self.stall()
            else:
                self.send("BOOKMARK", bookmark(self.served.resource, self._server.storage.version))
