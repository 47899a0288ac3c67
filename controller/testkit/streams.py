"""An open watch: the events after its version, bookmarks in between and before its end, and faults."""

from __future__ import annotations

import asyncio
import math
import sys
from typing import TYPE_CHECKING

from controller.testkit.encoding import bookmark, encode_event
from controller.testkit.selection import Selection
from informers import StalledError, TransportError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from controller.testkit.served import Served
    from controller.testkit.storage import Record, Storage
    from informers import ApiError, JsonObject

BOOKMARK_SECONDS = 60.0
"""Seconds between bookmarks."""

BOOKMARK_BEFORE_END = 2.0
"""Seconds between the last bookmark of a watch and its end."""

EXPIRED: JsonObject = {
    "kind": "Status",
    "apiVersion": "v1",
    "status": "Failure",
    "message": "The resourceVersion for the provided watch is too old.",
    "reason": "Expired",
    "code": 410,
}


class Stream:
    """A watch between server and client. Data in it is lost when the connection breaks.

    Args:
        storage: The objects, and their history.
        served: The watched kind.
        selection: The selected objects of that kind.
        version: The stream sends events after this version; for a future version it sends none until then.
        media: The encoding.
        bookmarks: Whether the client wants bookmarks.
        seconds: Seconds until the server ends the watch without an error.
        idle: Seconds without a byte until the client gives up.
        chunk: Returns the most bytes that one read returns.

    Attributes:
        served: The watched kind.
        selection: The selected objects of that kind.
    """

    def __init__(
        self,
        storage: Storage,
        served: Served,
        selection: Selection,
        *,
        version: int,
        media: str,
        bookmarks: bool,
        seconds: float,
        idle: float,
        chunk: Callable[[], int],
    ) -> None:
        self.served = served
        self._storage = storage
        self._chunk = chunk
        self._media = media
        self.selection = selection
        self._version = version
        self._bookmarks = bookmarks
        self._idle = idle
        self._buffer = bytearray()
        self._stalled = self._ended = False
        self._cut_after: int | None = None
        self._changed = asyncio.Event()
        now = asyncio.get_running_loop().time()
        self._ends = now + seconds
        self._next_bookmark = self._bookmark_after(now)

    @classmethod
    def of_list(
        cls, storage: Storage, served: Served, body: bytes, *, media: str, idle: float, chunk: Callable[[], int]
    ) -> Stream:
        """A stream that contains a list instead of a watch."""
        stream = cls(
            storage,
            served,
            Selection(),
            version=sys.maxsize,
            media=media,
            bookmarks=False,
            seconds=math.inf,
            idle=idle,
            chunk=chunk,
        )
        stream._buffer += body
        stream._ended = True
        return stream

    async def read(self) -> bytes:
        """See `informers.transport.Stream`."""
        stalls = asyncio.get_running_loop().time() + self._idle
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
            await self._wait(stalls)

    def send(self, event: str, obj: JsonObject) -> None:
        """Send an event before the pending ones."""
        self._buffer += encode_event(event, obj, self._media)

    def send_initial(self, objects: Iterable[JsonObject], *, end: bool) -> None:
        """Send the existing objects, then (with `end`, if the client wants bookmarks) the bookmark that ends them."""
        for obj in objects:
            self.send("ADDED", obj)
        if end and self._bookmarks:
            self.send("BOOKMARK", bookmark(self.served.resource, self._version, initial_events_end=True))

    def tell(self, event: str, obj: JsonObject) -> None:
        """Send an event after the pending ones."""
        self._fill()
        self.send(event, obj)
        self.wake()

    def push(self, data: bytes) -> None:
        """Send these bytes after the pending events."""
        self._fill()
        self._buffer += data
        self.wake()

    def fail(self, error: ApiError) -> None:
        """End the stream with an error event."""
        self.tell("ERROR", status_of(error))
        self.end()

    def fail_after(self, seconds: float, error: ApiError) -> None:
        """Send nothing, and end the stream with an error event after that time."""
        self._version = sys.maxsize
        asyncio.get_running_loop().call_later(seconds, self.fail, error)

    def end(self) -> None:
        """End the stream without an error, after the pending events."""
        self._fill()
        self._ended = True
        self.wake()

    def stall(self) -> None:
        """Send nothing more, without an error."""
        self._stalled = True
        self.wake()

    def cut(self, after: int) -> None:
        """Break the connection after that many more bytes."""
        self._cut_after = after
        self.wake()

    def wake(self) -> None:
        """Notify the stream that something may have changed."""
        self._changed.set()

    def _take(self) -> bytes:
        size = min(self._chunk(), len(self._buffer), self._cut_after or len(self._buffer))
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        if self._cut_after is not None:
            self._cut_after -= size
        return data

    def _fill(self) -> None:
        storage = self._storage
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
        """Send the event that a watch with this selection gets for a write."""
        after = record.type != "DELETED" and self.selection.matches(record.key, record.object)
        before = record.previous is not None and self.selection.matches(record.key, record.previous)
        if after:
            self.send("MODIFIED" if before else "ADDED", record.object)
        elif before and record.previous is not None:
            version = {"resourceVersion": str(record.version)}
            self.send("DELETED", {**record.previous, "metadata": {**record.previous["metadata"], **version}})

    def _bookmark_after(self, now: float) -> float:
        last = self._ends - BOOKMARK_BEFORE_END
        return last if now < last < now + BOOKMARK_SECONDS else now + BOOKMARK_SECONDS

    async def _wait(self, stalls: float) -> None:
        """Wait for a change, until `stalls` at the latest."""
        self._changed.clear()
        known = self._version <= self._storage.version
        bookmark_at = self._next_bookmark if self._bookmarks and known else math.inf
        due = min(bookmark_at, self._ends, stalls)
        try:
            async with asyncio.timeout_at(due):
                await self._changed.wait()
        except TimeoutError:
            if due == self._ends:
                self.end()
            elif due == bookmark_at:
                self._next_bookmark = self._bookmark_after(due)
                self.send("BOOKMARK", bookmark(self.served.resource, self._storage.version))
            else:
                raise StalledError(f"no byte for {self._idle:.0f} s") from None


def status_of(error: ApiError) -> JsonObject:
    """The Status of an error."""
    causes = [{"reason": cause.reason, "message": cause.message, "field": cause.field} for cause in error.causes]
    details = {"causes": causes, "retryAfterSeconds": int(error.retry_after or 0)}
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "message": error.message,
        "reason": error.reason,
        "code": error.status,
        **({"details": details} if causes or error.retry_after else {}),
    }
