"""The API server by HTTP: a bounded pool of connections, credentials, deadlines, retries, and the gate for writes.

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
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final, Self

import aiohttp
import structlog
from yarl import URL

from informers.credentials import Access, Credentials
from informers.errors import ApiError, RefusedError, TransportError
from informers.tracing import answered, request_span
from informers.transport import OPEN_DEADLINE, TRANSPORT_FAILED, ClientStats, StalledError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping
    from types import TracebackType

    from aiohttp.connector import Connection
    from opentelemetry.trace import Tracer

    from informers.configuration import Source
    from informers.transport import Stream

MAX_CONNECTIONS: Final = 32
"""Requests under way at once; more wait for a connection, within their deadline."""

MAX_RETRIES: Final = 5
"""Retries of one request that the server asked to repeat."""

SILENCE_DEADLINE: Final = 60.0
"""Seconds after which a peer that acknowledges nothing counts as gone."""

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


class HttpTransport:
    """The API server by HTTP: connections, credentials, retries.

    Args:
        source: Where, and by whom.
        user_agent: Names the client to the server.
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
        """Log the server's warnings, such as of a deprecated version, each text once."""
        for header in response.headers.getall("Warning", ()):
            match = _WARNING.match(header)
            text = match[1] if match else header
            if text in self._warned or len(self._warned) >= MAX_WARNINGS:
                continue
            self._warned[text] = None
            _log.warning("Warning of the API server", method=method, path=path, warning=text)


_NO_TIMEOUT: Final = aiohttp.ClientTimeout(total=None)


def _socket(address: aiohttp.AddrInfoType, delivery_deadline: float) -> socket.socket:
    """A socket that notices within a minute that its peer is gone, even while nothing is sent."""
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
