"""What goes over the network to an API server in memory, and what may go wrong on the way."""

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
        path: Without the query.
        params: The query.
        at: When, on the event loop's clock.
    """

    method: str
    path: str
    params: Mapping[str, str]
    at: float


@dataclass(eq=False)
class Network(Objects):
    """The objects of a server, and what goes over the network to it. See `controller.testkit.ApiServer`.

    Attributes:
        streaming: Whether it knows streaming lists (`sendInitialEvents`).
        chunk: Bytes that one read of a stream returns at most.
        page_limit: Objects of one page at most, though a client asks for more.
        refusals: Errors for the requests to come, one each.
        stopped: Whether it has been stopped.
        requests: All requests that were sent.
        streams: The watches that are open.
        pages: What is left of lists that were read by pages, with its version, by token.
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
        """Serve a kind no more: its objects go, and its watches end."""
        served = self.served(resource.group, resource.version, resource.plural)
        super().withdraw(resource)
        for stream in self.streams:
            if stream.served == served:
                stream.end()

    def compact(self) -> None:
        """Drop the history until now: watches that begin earlier, and pages of earlier lists, get 410."""
        self.storage.compact()

    def restore(self, version: int) -> None:
        """Go back to the data of this version, as from a backup; every stream breaks."""
        self.storage.restore(version)
        self.cut(0)

    def stop(self) -> None:
        """Break every stream, and refuse connections until it is started again."""
        self.stopped = True
        self.cut(0)

    def start(self) -> None:
        """Be there again, with the data as they were."""
        self.stopped = False

    def cut(self, after: int) -> None:
        """Break every stream, when it has carried so many bytes more."""
        for stream in self.streams:
            stream.cut(after)

    def end(self) -> None:
        """End every stream in good order."""
        for stream in self.streams:
            stream.end()

    def stall(self) -> None:
        """Let every stream go silent."""
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
        """End every stream by an error event."""
        for stream in self.streams:
            stream.fail(error)

    def wake(self) -> None:
        """Let every stream see what has happened."""
        for stream in self.streams:
            stream.wake()
