"""Requests to the API server: raw bytes over a bounded pool of connections, each with a deadline.

Watches have connections of their own, so that they can never use up those for requests. There is no client-side limit
on requests a second: the server's priority and fairness decides, and its answer 429 is obeyed.
"""

from __future__ import annotations

import asyncio
import errno
import io
import random
import re
import socket
import time
from collections import Counter
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol, Self

import aiohttp
import orjson
import structlog
from yarl import URL

from informers.configuration import discover
from informers.credentials import Access, Credentials
from informers.errors import ApiError, RefusedError, TransportError
from informers.tracing import answered, request_span
from workqueue import Histogram

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
    from contextlib import AbstractAsyncContextManager
    from types import TracebackType

    from aiohttp.connector import Connection
    from opentelemetry.trace import Tracer

    from informers.configuration import Source
    from informers.resource import JsonObject, Resource

MAX_CONNECTIONS: Final = 32
"""Requests under way at once; more wait for a connection, within their deadline."""

MAX_RETRIES: Final = 5
"""Retries of one request that the server asked to repeat."""

PAGE: Final = 500
"""Objects of one page of a list; client-go's figure."""

OPEN_DEADLINE: Final = 30.0
"""Seconds in which a connection for a watch must be made."""

SILENCE_DEADLINE: Final = 60.0
"""Seconds after which a peer that acknowledges nothing counts as gone."""

REQUEST_BUCKETS: Final = (0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0)
"""Seconds; the buckets of client-go's `rest_client_request_duration_seconds`."""

SIZE_BUCKETS: Final = tuple(float(size) for size in (64, 256, 512, *(4**n for n in range(5, 13))))
"""Bytes; the buckets of client-go's `rest_client_request_size_bytes` and `rest_client_response_size_bytes`."""

TRANSPORT_FAILED: Final = "<error>"
"""What client-go counts as the code of a request without an answer."""

MAX_WARNINGS: Final = 256
"""Different warnings of the server that are logged."""

_WARNING: Final = re.compile(r'299 \S+ "(.*)"')
"""The form of the header Warning that API servers use: code, agent, text."""

_log = structlog.get_logger("informers")

_NO_SUCCESS: Final = 300  # an API server does not redirect; what does is something in between that wants a login
_UNAUTHORIZED: Final = 401
_TOO_MANY_REQUESTS: Final = 429
_UNAVAILABLE: Final = 503
_READ_BUFFER: Final = 256 * 1024
_SENT_AT_ONCE: Final = 1 << 20  # bytes; aiohttp demands that what is longer is sent piece by piece


_sent: ContextVar[bool] = ContextVar("_sent", default=False)
"""Whether the write that the task is about to send was sent already."""


class StalledError(TransportError):
    """Nothing came over a stream for too long, not even a bookmark: the peer may be gone without a word."""


@dataclass(slots=True)
class ClientStats:
    """What a client has done since it was made.

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


class _HttpStream:
    def __init__(self, response: aiohttp.ClientResponse, stats: ClientStats, idle: float) -> None:
        self._response = response
        self._stats = stats
        self._idle = idle

    async def read(self) -> bytes:
        try:
            data = await self._response.content.readany()
        except aiohttp.SocketTimeoutError as error:
            raise StalledError(f"no byte for {self._idle:.0f} s") from error
        except (aiohttp.ClientError, OSError) as error:
            raise TransportError(_describe(error)) from error
        self._stats.received += len(data)
        return data


class Transport(Protocol):
    """Carries requests to one API server. Entered as an async context before use.

    Attributes:
        host: The server's base URL.
        stats: What it has done.
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


class Client:
    """A client of one API server. Enter it as an async context; it must live in one event loop.

    Args:
        transport: The way to the server.

    Attributes:
        transport: The way to the server.
        on_write: Called with (resource, namespace, name) before each create, replace, patch and delete is sent; the
            name is empty where the server gives it. What it returns is called with the answer: the object, or for a
            deletion that took effect at once a Status; or with None when it is certain that nothing was written. It
            is not called where nobody can tell. `request` by itself tells of nothing.
    """

    def __init__(self, transport: Transport) -> None:
        self.on_write: Callable[[Resource, str, str], Callable[[JsonObject | None], None]] | None = None
        self.transport = transport

    @classmethod
    def connect(
        cls, *, kubeconfig: str | None = None, context: str | None = None, user_agent: str = "informers"
    ) -> Client:
        """A client by the configuration that applies here: see `informers.configuration.discover`.

        Raises:
            ConfigurationError: There is none.
        """
        return cls(HttpTransport(discover(kubeconfig, context), user_agent=user_agent))

    async def __aenter__(self) -> Self:
        await self.transport.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.transport.__aexit__(kind, error, trace)

    @property
    def host(self) -> str:
        """The server's base URL, for the `host` label of metrics."""
        return self.transport.host

    @property
    def stats(self) -> ClientStats:
        """What it has done."""
        return self.transport.stats

    @property
    def write_gate(self) -> Callable[[], None] | None:
        """Called before each attempt of a request that is not a GET, and again at the moment of sending.

        What it raises goes to the caller and nothing is sent: the elector's way to stop writes of a process that is no
        longer the leader.
        """
        return self.transport.write_gate

    @write_gate.setter
    def write_gate(self, gate: Callable[[], None] | None) -> None:
        self.transport.write_gate = gate

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: bytes | JsonObject | None = None,
        content_type: str = "application/json",
        accept: str = "application/json",
        deadline: float = 30.0,
    ) -> bytes:
        """Send a request and return the body of the answer.

        It is sent again, a few times and within the deadline, where the server says when: for 429 always, since then
        nothing was done; for 503 with Retry-After unless it is a POST. After 401 it is sent again once, with
        credentials that were read anew.

        Args:
            method: HTTP method.
            path: Path below the server's base URL, as `Resource.path` makes it.
            params: Query parameters.
            body: Bytes, or an object to send as JSON.
            content_type: Of the body. It chooses the kind of a PATCH.
            accept: Encoding wanted.
            deadline: Seconds for all of it, waiting for a connection and retries included.

        Raises:
            ApiError: The server's answer is an error.
            TransportError: No answer came within the deadline, or the connection failed.
        """
        return await self.transport.request(
            method,
            path,
            params=params,
            body=orjson.dumps(body) if isinstance(body, dict) else body,
            content_type=content_type,
            accept=accept,
            deadline=deadline,
        )

    def stream(
        self, path: str, *, params: Mapping[str, str], accept: str = "application/json", idle: float
    ) -> AbstractAsyncContextManager[Stream]:
        """Open a watch, or a list of any length, on a connection of its own, and close it with the context.

        Args:
            path: Path of a collection.
            params: Query parameters.
            accept: Encoding wanted.
            idle: Seconds without a byte after which the stream counts as stalled.

        Raises:
            ApiError: The server refused it.
            TransportError: The connection failed.
        """
        return self.transport.stream(path, params=params, accept=accept, idle=idle)

    async def get(self, resource: Resource, namespace: str, name: str, *, deadline: float = 30.0) -> JsonObject:
        """Read one object. Raises like `request`."""
        return _object(await self.request("GET", resource.path(namespace, name), deadline=deadline))

    async def find(self, resource: Resource, namespace: str, name: str, *, deadline: float = 30.0) -> JsonObject | None:
        """Read one object, None if the server has none. Raises like `request`."""
        try:
            return await self.get(resource, namespace, name, deadline=deadline)
        except ApiError as error:
            if error.is_not_found:
                return None
            raise

    async def list(
        self,
        resource: Resource,
        namespace: str = "",
        *,
        label_selector: str = "",
        field_selector: str = "",
        deadline: float = 60.0,
    ) -> list[JsonObject]:
        """Read all objects of a namespace, or of all namespaces with "", by pages. Raises like `request`.

        Args:
            resource: Which.
            namespace: Where.
            label_selector: Which by label.
            field_selector: Which by field.
            deadline: Seconds for each page.
        """
        params = {"limit": str(PAGE)} | _selectors(label_selector, field_selector)
        found: list[JsonObject] = []
        left = MAX_RETRIES
        while True:
            try:
                page = _object(await self.request("GET", resource.path(namespace), params=params, deadline=deadline))
            except ApiError as error:
                if not (error.is_expired and "continue" in params and left):
                    raise
                # The history that the pages are of is gone: there is no other way than to begin anew.
                left -= 1
                del params["continue"]
                found.clear()
                continue
            # In lists of built-in kinds the items leave out what the list itself says.
            implied = {"apiVersion": resource.api_version, "kind": resource.kind}
            found.extend(implied | item for item in page.get("items") or ())
            token = page["metadata"].get("continue")
            if not token:
                return found
            params["continue"] = token

    async def create(self, resource: Resource, obj: JsonObject, *, deadline: float = 30.0) -> JsonObject:
        """Create the object in the namespace that it names. Raises like `request`."""
        namespace, name = obj["metadata"].get("namespace", ""), obj["metadata"].get("name", "")
        sent = self.request("POST", resource.path(namespace), body=obj, deadline=deadline)
        return await self._written(resource, namespace, name, sent)

    async def replace(
        self, resource: Resource, obj: JsonObject, *, subresource: str = "", deadline: float = 30.0
    ) -> JsonObject:
        """Replace the object, or a subresource of it. With a resourceVersion in it, only that version is replaced.

        Raises like `request`.
        """
        metadata = obj["metadata"]
        namespace, name = metadata.get("namespace", ""), metadata["name"]
        path = resource.path(namespace, name, subresource)
        sent = self.request("PUT", path, body=obj, deadline=deadline)
        return await self._written(resource, namespace, name, sent)

    async def patch(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        body: bytes | JsonObject,
        *,
        content_type: str,
        subresource: str = "",
        params: Mapping[str, str] | None = None,
        deadline: float = 30.0,
    ) -> JsonObject:
        """Patch the object, or a subresource of it.

        Args:
            resource: Which.
            namespace: Its namespace.
            name: Its name.
            body: The patch.
            content_type: "application/merge-patch+json", "application/apply-patch+yaml" (JSON is YAML) and so on.
            subresource: "status", for example.
            params: Query parameters: "fieldManager", "force", "dryRun"; a dry run does not count as a write.
            deadline: Seconds.

        Raises like `request`.
        """
        path = resource.path(namespace, name, subresource)
        sent = self.request("PATCH", path, params=params, body=body, content_type=content_type, deadline=deadline)
        # What was only tried is no object of the server, though the answer has a version.
        tried = params is not None and bool(params.get("dryRun"))
        return _object(await sent) if tried else await self._written(resource, namespace, name, sent)

    async def delete(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        *,
        uid: str | None = None,
        resource_version: str | None = None,
        propagation: str = "Background",
        deadline: float = 30.0,
    ) -> None:
        """Delete the object; that it is not there is a success.

        Args:
            resource: Which.
            namespace: Its namespace.
            name: Its name.
            uid: Only the object with this uid, not another one of the same name: else ApiError 409.
            resource_version: Only this version of it: else ApiError 409.
            propagation: What becomes of its dependents: "Background", "Foreground" or "Orphan".
            deadline: Seconds.

        Raises like `request`.
        """
        preconditions = {"uid": uid, "resourceVersion": resource_version}
        options: JsonObject = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": propagation,
            "preconditions": {name: value for name, value in preconditions.items() if value},
        }
        sent = self.request("DELETE", resource.path(namespace, name), body=options, deadline=deadline)
        try:
            await self._written(resource, namespace, name, sent, read=lambda body: _deletion(resource, _object(body)))
        except ApiError as error:
            if not error.is_not_found:
                raise

    async def version(
        self, resource: Resource, namespace: str, *, selectors: Mapping[str, str], deadline: float = 30.0
    ) -> int:
        """The collection's resource version now: every write until now has made this one or one before it.

        Args:
            resource: Which.
            namespace: Of the collection; "" for that of all namespaces.
            selectors: `labelSelector` and `fieldSelector`, where only what matches them may be listed.
            deadline: Seconds.

        Raises like `request`.
        """
        params = {**selectors, "limit": "1"}
        body = await self.request("GET", resource.path(namespace), params=params, deadline=deadline)
        version = _object(body).get("metadata", {}).get("resourceVersion", "")
        if not version.isdecimal():
            raise TransportError(f"GET {resource.path(namespace)}: the answer's version is {version!r}, no number")
        return int(version)

    async def _written(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        sent: Awaitable[bytes],
        *,
        read: Callable[[bytes], JsonObject] | None = None,
    ) -> JsonObject:
        """Send a write, and tell `on_write` of it and of what came of it."""
        settle = self.on_write(resource, namespace, name) if self.on_write is not None else None
        try:
            answer = (read or _object)(await sent)
        except (ApiError, RefusedError) as error:
            if settle is not None and not (isinstance(error, ApiError) and error.is_undecided):
                settle(None)
            raise
        if settle is not None:
            settle(answer)
        return answer


class HttpTransport:
    """The API server by HTTP: connections, credentials, retries.

    Args:
        source: Where, and by whom.
        user_agent: Says to the server who asks.
        clock: Monotonic seconds, for the renewal of credentials.

    Raises:
        RuntimeError: This version of aiohttp has no way to stop a write at the moment of sending.
    """

    def __init__(self, source: Source, *, user_agent: str, clock: Callable[[], float] = time.monotonic) -> None:
        if "send" not in vars(aiohttp.ClientRequest):
            raise RuntimeError(
                f"aiohttp {aiohttp.__version__} sends requests without ClientRequest.send, so that who leads "
                "no more could still write; install aiohttp>=3.12,<4"
            )
        self.write_gate: Callable[[], None] | None = None
        self.delivery_deadline = SILENCE_DEADLINE
        self.tracer: Tracer | None = None
        self.stats = ClientStats()
        self._credentials = Credentials(source, clock=clock)
        self._user_agent = user_agent
        self._sessions: tuple[aiohttp.ClientSession, aiohttp.ClientSession] | None = None
        self._host = ""
        self._warned: dict[str, None] = {}

    async def __aenter__(self) -> Self:
        self._host = (await self._credentials.current()).host
        self._sessions = (
            self._session(MAX_CONNECTIONS, lambda: self.delivery_deadline),
            self._session(0, lambda: SILENCE_DEADLINE),
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        sessions, self._sessions = self._sessions, None
        await self._credentials.close()
        for session in sessions or ():
            await session.close()

    @property
    def host(self) -> str:
        """The server's base URL, for the `host` label of metrics."""
        return self._host

    @property
    def credential_reads(self) -> Mapping[str, int]:
        """See `Transport`."""
        return self._credentials.reads

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
        headers = {"Accept": accept, "Accept-Encoding": "gzip"}
        if body is not None:
            headers["Content-Type"] = content_type
        try:
            async with asyncio.timeout(deadline):
                ends = asyncio.get_running_loop().time() + deadline
                return await self._with_retries(method, path, params, body, headers, ends)
        except TimeoutError as error:
            raise TransportError(f"{method} {path}: no answer within {deadline:g} s") from error

    @asynccontextmanager
    async def stream(self, path: str, *, params: Mapping[str, str], accept: str, idle: float) -> AsyncIterator[Stream]:
        """See `Client.stream`."""
        timeout = aiohttp.ClientTimeout(total=None, connect=OPEN_DEADLINE, sock_read=idle)
        headers = {"Accept": accept, "Accept-Encoding": "identity"}
        access = await self._credentials.current()
        response = await self._send(1, access, "GET", path, params, None, headers, timeout)
        try:
            if response.status == _UNAUTHORIZED:  # for the next attempt; opening a watch again is its reader's business
                await self._credentials.renewed(access)
            if response.status >= _NO_SUCCESS:
                raise ApiError.from_body(response.status, await self._body(response), _retry_after(response))
            yield _HttpStream(response, self.stats, idle)
        finally:
            # A stream that is left has no end to wait for: TLS' farewell would keep its socket for up to 30 s.
            if response.connection is not None and response.connection.transport is not None:
                response.connection.transport.abort()
            response.close()

    def _session(self, limit: int, delivery_deadline: Callable[[], float]) -> aiohttp.ClientSession:
        transport = self

        class Request(aiohttp.ClientRequest):
            """Passes the gate when its connection is there: waiting for one may have taken longer than the lease.

            A write is sent once: aiohttp sends PUT and DELETE again where a connection that was used before breaks,
            though the server may have carried them out.
            """

            async def send(self, conn: Connection) -> aiohttp.ClientResponse:
                if self.method != "GET":
                    if transport.write_gate is not None:
                        transport.write_gate()
                    if _sent.get():
                        raise aiohttp.ServerDisconnectedError
                    _sent.set(True)
                return await super().send(conn)

        connector = aiohttp.TCPConnector(
            limit=limit, socket_factory=lambda address: _socket(address, delivery_deadline())
        )
        # Cookies and environment settings (netrc) would only add ways to authenticate that nobody asked for.
        return aiohttp.ClientSession(
            connector=connector,
            request_class=Request,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": self._user_agent},
            read_bufsize=_READ_BUFFER,
        )

    async def _with_retries(
        self,
        method: str,
        path: str,
        params: Mapping[str, str] | None,
        data: bytes | None,
        headers: dict[str, str],
        ends: float,
    ) -> bytes:
        access = await self._credentials.current()
        renewed = False
        retries = 0
        while True:
            if self.tracer is None:
                status, retry_after, body = await self._exchange(access, method, path, params, data, headers)
            else:
                with request_span(self.tracer, method, access.host + path, headers, retries + renewed) as span:
                    status, retry_after, body = await self._exchange(access, method, path, params, data, headers)
                    answered(span, status)
            if status < _NO_SUCCESS:
                return body
            if status == _UNAUTHORIZED and not renewed:
                access = await self._credentials.renewed(access)
                renewed = True
                continue
            error = ApiError.from_body(status, body, retry_after)
            delay = _delay(error, method)
            # A wait beyond the deadline would end in an error that says less than the server's own.
            if delay is None or retries == MAX_RETRIES or asyncio.get_running_loop().time() + delay >= ends:
                raise error
            retries += 1
            self.stats.retries[str(status), method] += 1
            await asyncio.sleep(delay)

    async def _exchange(
        self,
        access: Access,
        method: str,
        path: str,
        params: Mapping[str, str] | None,
        data: bytes | None,
        headers: dict[str, str],
    ) -> tuple[int, float | None, bytes]:
        """Send a request once; returns status, Retry-After and body of the answer."""
        async with await self._send(0, access, method, path, params, data, headers, _NO_TIMEOUT) as response:
            return response.status, _retry_after(response), await self._body(response)

    async def _body(self, response: aiohttp.ClientResponse) -> bytes:
        try:
            body = await response.read()
        except (aiohttp.ClientError, OSError) as error:
            raise TransportError(f"{response.method} {response.url.path}: {_describe(error)}") from error
        self.stats.response_read(response.method, len(body))
        return body

    async def _send(
        self,
        session: int,
        access: Access,
        method: str,
        path: str,
        params: Mapping[str, str] | None,
        data: bytes | None,
        headers: dict[str, str],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109  # aiohttp's own, for its sockets
    ) -> aiohttp.ClientResponse:
        if self._sessions is None:
            raise RuntimeError("the client is not open: enter it with `async with`")
        if method != "GET" and self.write_gate is not None:
            self.write_gate()  # and again when the connection is there
        if access.authorization is not None:
            headers = headers | {"Authorization": access.authorization}
        url = URL(access.host + path, encoded=True)
        options: dict[str, Any] = {"ssl": access.tls} if access.tls is not None else {}
        started = time.perf_counter()
        code: int | str = TRANSPORT_FAILED
        _sent.set(False)
        try:
            response = await self._sessions[session].request(
                method,
                url.update_query(params) if params else url,
                data=data if data is None or len(data) <= _SENT_AT_ONCE else io.BytesIO(data),
                headers=headers,
                timeout=timeout,
                allow_redirects=False,
                server_hostname=access.server_name,
                proxy=access.proxy,
                **options,
            )
            code = response.status
            self.stats.request_sent(method, len(data or b""))
            self._log_warnings(method, path, response)
        except (aiohttp.ClientError, OSError) as error:
            if isinstance(error, aiohttp.ClientSSLError):
                self._credentials.doubt()
            refused = isinstance(error, OSError) and error.errno == errno.ECONNREFUSED
            kind = RefusedError if refused else TransportError
            # What a proxy refuses, aiohttp tells with the proxy's URL, password included: it must not get into logs.
            cause = None if isinstance(error, aiohttp.ClientHttpProxyError) else error
            raise kind(f"{method} {path}: {_describe(error)}") from cause
        finally:
            self.stats.answered(method, code, time.perf_counter() - started)
        return response

    def _log_warnings(self, method: str, path: str, response: aiohttp.ClientResponse) -> None:
        """Log what the server warns of, such as a deprecated version, each text once."""
        for header in response.headers.getall("Warning", ()):
            match = _WARNING.match(header)
            text = match[1] if match else header
            if text in self._warned or len(self._warned) >= MAX_WARNINGS:
                continue
            self._warned[text] = None
            _log.warning("Warning of the API server", method=method, path=path, warning=text)


_NO_TIMEOUT: Final = aiohttp.ClientTimeout(total=None)


def _socket(address: aiohttp.AddrInfoType, delivery_deadline: float) -> socket.socket:
    """A socket that notices within a minute that its peer is gone, though nothing is sent."""
    family, kind, protocol, *_ = address
    sock = socket.socket(family, kind, protocol)
    sock.setblocking(False)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (
        ("TCP_KEEPIDLE", 30),
        ("TCP_KEEPINTVL", 10),
        ("TCP_KEEPCNT", 3),
        ("TCP_USER_TIMEOUT", round(delivery_deadline * 1000)),
    ):
        if hasattr(socket, option):  # macOS lacks some
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
    return sock


def _object(body: bytes) -> JsonObject:
    try:
        found: JsonObject = orjson.loads(body)
    except orjson.JSONDecodeError as error:  # of something in between, such as a portal's page
        raise TransportError(f"the answer is no JSON: {error}") from error
    return found


def _deletion(resource: Resource, answer: JsonObject) -> JsonObject:
    """The answer of a deletion, a Status if the object is gone: of Services, Pods and others the server answers with
    the object then too, in the version of its deletion."""
    if answer.get("kind") != resource.kind:
        return answer
    metadata = answer["metadata"]
    held = metadata.get("finalizers") or (resource.kind == "Namespace" and answer.get("spec", {}).get("finalizers"))
    if held or metadata.get("deletionGracePeriodSeconds"):
        return answer
    details = {"name": metadata["name"], "group": resource.group, "kind": resource.plural, "uid": metadata["uid"]}
    return {"kind": "Status", "apiVersion": "v1", "status": "Success", "details": details}


def _selectors(label: str, field: str) -> dict[str, str]:
    return {name: value for name, value in (("labelSelector", label), ("fieldSelector", field)) if value}


def _retry_after(response: aiohttp.ClientResponse) -> float | None:
    try:
        return max(0.0, float(response.headers["Retry-After"]))
    except (KeyError, ValueError):  # not given, or a date, which API servers do not send
        return None


def _delay(error: ApiError, method: str) -> float | None:
    """Seconds until the request is repeated, with jitter so that many do not come back at once; None: it is not."""
    if error.status == _TOO_MANY_REQUESTS:
        wait = error.retry_after or 1.0
    elif error.status == _UNAVAILABLE and error.retry_after is not None and method != "POST":
        wait = error.retry_after
    else:
        return None
    return wait * random.uniform(1.0, 1.25)  # noqa: S311  # spreads load, guards nothing


def _describe(error: Exception) -> str:
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return f"the proxy answered {error.status}: {error.message}"
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return f"cannot connect to {error.host}:{error.port}: {error.certificate_error}"
    if isinstance(error, aiohttp.ClientConnectorError):  # its own text shows the TLS settings' address in memory
        return f"cannot connect to {error.host}:{error.port}: {error.os_error}"
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
