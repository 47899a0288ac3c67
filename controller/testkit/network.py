"""Requests and streams to an API server in memory, and faults of the network."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from controller.testkit.objects import Objects
from controller.testkit.streams import Stream

if TYPE_CHECKING:
    from collections.abc import Mapping

    from informers import ApiError, JsonObject, Resource, TransportError


class Sent(NamedTuple):
    """A request that was sent.

    Attributes:
        method: HTTP method.
        path: Path without the query.
        params: The query.
        at: Time on the event loop's clock.
    """

    method: str
    path: str
    params: Mapping[str, str]
    at: float


@dataclass(eq=False)
class Network(Objects):
    """The objects of a server, with the requests and streams to it. See `controller.testkit.ApiServer`.

    Attributes:
        streaming: Whether it serves streaming lists (`sendInitialEvents`).
        chunk: Most bytes that one read of a stream returns.
        page_limit: Most objects of a page, even if a client asks for more.
        refusals: Errors for the next requests, one for each.
        stopped: Whether it is stopped.
        requests: All requests that were sent.
        streams: The open watches.
        pages: The rest of lists that are read in pages, with their version, by token.
    """

    streaming: bool = True
    chunk: int = 1 << 20
    page_limit: int = 1 << 20
    streams: list[Stream] = field(default_factory=list)
    stopped: bool = False
    refusals: deque[ApiError | TransportError] = field(default_factory=deque)
    requests: list[Sent] = field(default_factory=list)
    pages: dict[str, tuple[int, list[JsonObject]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.storage.listeners.append(self.wake)
        super().__post_init__()

    def withdraw(self, resource: Resource) -> None:
        """Stop serving a kind: its objects are removed, and its watches end."""
        served = self.served(resource.group, resource.version, resource.plural)
        super().withdraw(resource)
        for stream in self.streams:
            if stream.served == served:
                stream.end()

    def compact(self) -> None:
        """Drop the history until now: watches from an earlier version, and pages of earlier lists, get 410."""
        self.storage.compact()

    def restore(self, version: int) -> None:
        """Restore the data of this version, as from a backup. Every stream breaks."""
        self.storage.restore(version)
        self.cut(0)

    def stop(self) -> None:
        """Break every stream, and refuse connections until `start`."""
        self.stopped = True
        self.cut(0)

    def start(self) -> None:
        """Accept connections again, with the same data."""
        self.stopped = False

    def cut(self, after: int) -> None:
        """Break every stream after that many more bytes."""
        for stream in self.streams:
            stream.cut(after)

    def end(self) -> None:
        """End every stream without an error."""
        for stream in self.streams:
            stream.end()

    def stall(self) -> None:
        """Make every stream silent: it stays open and sends nothing."""
        for stream in self.streams:
            stream.stall()

    def push(self, data: bytes) -> None:
        """Send these bytes over every stream."""
        for stream in self.streams:
            stream.push(data)

    def tell(self, event: str, obj: JsonObject) -> None:
        """Send an event over every stream."""
        for stream in self.streams:
            stream.tell(event, obj)

    def fail(self, error: ApiError) -> None:
        """End every stream with an error event."""
        for stream in self.streams:
            stream.fail(error)

    def wake(self) -> None:
        """Notify every stream of a change."""
        for stream in self.streams:
            stream.wake()
