"""The seam between a client and what carries its requests: what a transport has to do, and what it counts.

`informers.http` is the transport to a real API server; `controller.testkit` has one to a server in memory.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol, Self

from informers.errors import TransportError
from workqueue import Histogram

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractAsyncContextManager
    from types import TracebackType

    from opentelemetry.trace import Tracer

OPEN_DEADLINE: Final = 30.0
"""Seconds in which a connection for a watch must be made."""

REQUEST_BUCKETS: Final = (0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0)
"""Seconds; the buckets of client-go's `rest_client_request_duration_seconds`."""

SIZE_BUCKETS: Final = tuple(float(size) for size in (64, 256, 512, *(4**n for n in range(5, 13))))
"""Bytes; the buckets of client-go's `rest_client_request_size_bytes` and `rest_client_response_size_bytes`."""

TRANSPORT_FAILED: Final = "<error>"
"""What client-go counts as the code of a request without an answer."""


class StalledError(TransportError):
    """Nothing came over a stream for too long, not even a bookmark: the peer may be gone."""


@dataclass(slots=True)
class ClientStats:
    """What a client has counted since it was made.

    Attributes:
        requests: By (code, method), for `rest_client_requests_total`; watches count when they are opened.
        durations: Seconds to the answer's headers by method, for `rest_client_request_duration_seconds`.
        retries: By (code, method), for `rest_client_request_retries_total`.
        request_sizes: Bytes of bodies by method, for `rest_client_request_size_bytes`; of requests that were answered.
        response_sizes: The same of answers, for `rest_client_response_size_bytes`; a watch has none.
        received: Bytes of answers and streams as they were read, after decompression.
        sent: Bytes of requests' bodies.
    """

    requests: Counter[tuple[str, str]] = field(default_factory=Counter)
    durations: dict[str, Histogram] = field(default_factory=dict)
    retries: Counter[tuple[str, str]] = field(default_factory=Counter)
    request_sizes: dict[str, Histogram] = field(default_factory=dict)
    response_sizes: dict[str, Histogram] = field(default_factory=dict)
    received: int = 0
    sent: int = 0

    def answered(self, method: str, code: int | str, seconds: float) -> None:
        """Count one request."""
        self.requests[str(code), method] += 1
        _observe(self.durations, method, REQUEST_BUCKETS, seconds)

    def request_sent(self, method: str, size: int) -> None:
        """Count a request's body, which may be empty."""
        self.sent += size
        _observe(self.request_sizes, method, SIZE_BUCKETS, size)

    def response_read(self, method: str, size: int) -> None:
        """Count an answer's body that was read to its end."""
        self.received += size
        _observe(self.response_sizes, method, SIZE_BUCKETS, size)


def _observe(histograms: dict[str, Histogram], method: str, buckets: tuple[float, ...], value: float) -> None:
    histogram = histograms.get(method)
    if histogram is None:
        histogram = histograms[method] = Histogram(buckets)
    histogram.observe(value)


class Stream(Protocol):
    """The body of a watch as it comes in."""

    async def read(self) -> bytes:
        """The next bytes, as many as there are; b"" at the end.

        Raises:
            StalledError: Nothing came for as long as the stream may be idle.
            TransportError: The connection broke.
        """


class Api(Protocol):
    """What a reflector needs of a client."""

    async def request(
        self, method: str, path: str, *, params: Mapping[str, str], accept: str, deadline: float
    ) -> bytes:
        """See `Client.request`."""

    def stream(
        self, path: str, *, params: Mapping[str, str], accept: str, idle: float
    ) -> AbstractAsyncContextManager[Stream]:
        """See `Client.stream`."""


class Transport(Protocol):
    """Carries requests to one API server. Entered as an async context before use.

    Attributes:
        host: The server's base URL.
        stats: What it has counted.
        write_gate: See `Client`.
        delivery_deadline: Seconds in which the peer's kernel must have acknowledged what was sent on a connection for
            requests; then the connection is given up, and what is still in this machine's buffers is never sent, not
            even after the process has ended. For connections that are made from now on.
        tracer: Makes a span of each request that is sent as a part of another span; None: there are none.
    """

    stats: ClientStats
    write_gate: Callable[[], None] | None
    delivery_deadline: float
    tracer: Tracer | None

    @property
    def credential_reads(self) -> Mapping[str, int]:
        """How often the configuration with the credentials was read, by "success" and "error"."""

    @property
    def host(self) -> str:
        """The server's base URL."""

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None,
        body: bytes | None,
        content_type: str,
        accept: str,
        deadline: float,
    ) -> bytes:
        """See `Client.request`."""

    def stream(
        self, path: str, *, params: Mapping[str, str], accept: str, idle: float
    ) -> AbstractAsyncContextManager[Stream]:
        """See `Client.stream`."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
