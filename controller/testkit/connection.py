"""A client's connection to the server in memory: requests by their paths, and faults of the network."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, NamedTuple, Self
from urllib.parse import unquote

import orjson

from controller.testkit.clock import now
from controller.testkit.encoding import content_type as media_of
from controller.testkit.encoding import encode_list, encode_object
from controller.testkit.ending import propagation_of
from controller.testkit.network import Sent
from controller.testkit.options import exact_version, initial_events_wanted, too_large, version_of
from controller.testkit.selection import Selection
from controller.testkit.streams import Stream
from informers import ApiError, ClientStats, RefusedError, TransportError
from informers.errors import INVALID
from informers.transport import OPEN_DEADLINE, TRANSPORT_FAILED

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping
    from types import TracebackType

    from opentelemetry.trace import Tracer

    from controller.testkit.network import Network
    from controller.testkit.served import Served
    from informers import JsonObject

WATCH_SECONDS = 3600.0
"""Seconds that a watch lasts by default."""

TOO_LARGE_SECONDS = 3.0
"""Seconds that the server waits for a future version before it returns an error."""


class _Target(NamedTuple):
    served: Served
    namespace: str
    name: str
    subresource: str


class Connection:
    """A connection to the server, for `Client`.

    Args:
        server: The server.
        manager: Owner of fields of writes that name no field manager.

    Attributes:
        late: Seconds until a response arrives; the server acts at once.
        write_gate: See `informers.Client`.
        delivery_deadline: Has no effect here.
        tracer: Has no effect here.
        stats: Statistics of its requests.
    """

    def __init__(self, server: Network, manager: str) -> None:
        self.late = 0.0
        self.write_gate: Callable[[], None] | None = None
        self.delivery_deadline = 0.0
        self.tracer: Tracer | None = None
        self.stats = ClientStats()
        self._server = server
        self._manager = manager
        self._reachable = asyncio.Event()
        self._reachable.set()
        self._streams: list[Stream] = []

    @property
    def host(self) -> str:
        """A URL that does not resolve."""
        return "https://testkit.invalid"

    @property
    def credential_reads(self) -> Mapping[str, int]:
        """Empty: the kit has no credentials."""
        return {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def cut_off(self) -> None:
        """Let nothing through any more, without an error: requests get no response, streams are silent."""
        self._reachable.clear()
        for stream in self._streams:
            stream.stall()

    def mend(self) -> None:
        """Let requests through again."""
        self._reachable = asyncio.Event()
        self._reachable.set()

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
        """See `Client.request`. Errors are raised as they are, without a retry."""
        if self.write_gate is not None and method != "GET":
            self.write_gate()
        started = asyncio.get_running_loop().time()
        code = TRANSPORT_FAILED
        self.stats.request_sent(method, len(body or b""))
        try:
            async with asyncio.timeout(deadline):
                await self._reachable.wait()
                answer = self._answer(method, path, params or {}, body, content_type, accept)
                await asyncio.sleep(self.late)
        except TimeoutError as error:
            raise TransportError(f"{method} {path}: no answer within {deadline:g} s") from error
        else:
            if isinstance(answer, bytes):
                code = "200"
                self.stats.response_read(method, len(answer))
                return answer
            code = str(answer.status) if isinstance(answer, ApiError) else code
            raise answer
        finally:
            self.stats.answered(method, code, asyncio.get_running_loop().time() - started)

    @asynccontextmanager
    async def stream(self, path: str, *, params: Mapping[str, str], accept: str, idle: float) -> AsyncIterator[Stream]:
        """See `Client.stream`."""
        try:
            async with asyncio.timeout(OPEN_DEADLINE):
                await self._reachable.wait()
                opened = self._answer_watch(path, params, accept, idle)
                await asyncio.sleep(self.late)
        except TimeoutError as error:
            raise TransportError(f"{path}: no connection within {OPEN_DEADLINE:g} s") from error
        if not isinstance(opened, Stream):
            raise opened
        for streams in (self._streams, self._server.streams):
            streams.append(opened)
        try:
            yield opened
        finally:
            for streams in (self._streams, self._server.streams):
                streams.remove(opened)

    def _admit(self, method: str, path: str, params: Mapping[str, str]) -> None:
        self._server.requests.append(Sent(method, path, dict(params), now()))
        if self._server.stopped:
            raise RefusedError("connection refused")
        if self._server.refusals:
            raise self._server.refusals.popleft()

    def _target(self, path: str) -> _Target:
        """The target of a path that `Resource.path` has made."""
        parts = [unquote(part) for part in path.strip("/").split("/")]
        if parts[0] == "api":
            parts.insert(1, "")
        group, version, *rest = parts[1:]
        namespace = ""
        if len(rest) > 2 and rest[0] == "namespaces" and rest[2] != "status":
            namespace, rest = rest[1], rest[2:]
        plural, name, subresource = [*rest, "", ""][:3]
        return _Target(self._server.served(group, version, plural), namespace, name, subresource)

    def _answer(
        self, method: str, path: str, params: Mapping[str, str], body: bytes | None, content_type: str, accept: str
    ) -> bytes | ApiError | TransportError:
        try:
            self._admit(method, path, params)
            target = self._target(path)
            if method == "GET" and not target.name:
                return self._list(target, params, accept)
            media = media_of(accept, target.served.resource)
            found = self._object(method, target, params, _decoded(body, content_type), content_type)
            return encode_object(found, media)
        except (ApiError, TransportError) as error:
            return error

    def _answer_watch(
        self, path: str, params: Mapping[str, str], accept: str, idle: float
    ) -> Stream | ApiError | TransportError:
        try:
            self._admit("GET", path, params)
            return self._open(self._target(path), params, accept, idle)
        except (ApiError, TransportError) as error:
            return error

    def _object(
        self, method: str, target: _Target, params: Mapping[str, str], body: JsonObject, content_type: str
    ) -> JsonObject:
        server, resource = self._server, target.served.resource
        manager, dry_run = params.get("fieldManager", self._manager), params.get("dryRun") == "All"
        match method:
            case "GET":
                return server.get(resource, target.namespace, target.name)
            case "POST":
                return server.create(resource, _placed(body, target), manager=manager, dry_run=dry_run)
            case "PUT":
                return server.replace(
                    resource,
                    _placed(body, target),
                    subresource=target.subresource,
                    manager=manager,
                    dry_run=dry_run,
                )
            case "PATCH":
                return server.patch(
                    resource,
                    target.namespace,
                    target.name,
                    body,
                    content_type=content_type,
                    subresource=target.subresource,
                    manager=manager,
                    force=params.get("force") == "true",
                    dry_run=dry_run,
                )
            case "DELETE" if target.name:
                options = body or params
                wanted = body.get("preconditions", {})
                grace = options.get("gracePeriodSeconds")
                return server.delete(
                    resource,
                    target.namespace,
                    target.name,
                    uid=wanted.get("uid", ""),
                    resource_version=wanted.get("resourceVersion", ""),
                    propagation=propagation_of(options),
                    grace=None if grace is None else int(grace),
                    dry_run=options.get("dryRun") in ("All", ["All"]),
                )
        raise ApiError(405, "MethodNotAllowed", f"{method} {resource}: the test kit has no such request")

    def _list(self, target: _Target, params: Mapping[str, str], accept: str) -> bytes:
        server = self._server
        token, exact = params.get("continue", ""), exact_version(params)
        if version_of(params) > server.storage.version:
            raise too_large(version_of(params), server.storage.version)
        if token:
            if token not in server.pages:
                raise ApiError(400, "BadRequest", f"continue key is not valid: {token!r}")
            version, found = server.pages[token]
        else:
            version = server.storage.version if exact is None else exact
            found = server.matching(target.served, _selection(target, params), exact)
        if version < server.storage.compacted:
            raise ApiError(410, "Expired", "The provided continue parameter or resourceVersion is too old")
        limit = min(int(params.get("limit", 0)) or len(found), server.page_limit)
        page, rest = found[:limit], found[limit:]
        metadata: JsonObject = {"resourceVersion": str(version)}
        if rest and "limit" in params:
            metadata["continue"] = f"token-{len(server.pages)}"
            server.pages[metadata["continue"]] = (version, rest)
            if not {"labelSelector", "fieldSelector"} & params.keys():
                metadata["remainingItemCount"] = len(rest)
        else:
            page = found
        resource = target.served.resource
        media = media_of(accept, resource)
        return encode_list(resource, page, metadata, media)

    def _open(self, target: _Target, params: Mapping[str, str], accept: str, idle: float) -> Stream:
        server = self._server
        if params.get("watch") != "true":
            media = media_of(accept, target.served.resource)
            body = self._list(target, params, accept)
            return Stream.of_list(
                server.storage, target.served, body, media=media, idle=idle, chunk=lambda: server.chunk
            )
        since, streams = version_of(params), initial_events_wanted(params)
        if "sendInitialEvents" in params and not server.streaming:
            message = "sendInitialEvents: Forbidden: the WatchList feature gate is disabled"
            raise ApiError(INVALID, "Invalid", message)
        whole = streams or (not since and "sendInitialEvents" not in params)
        selection = _selection(target, params)
        stream = Stream(
            server.storage,
            target.served,
            selection,
            version=server.storage.version if whole or not since else since,
            media=media_of(accept, target.served.resource),
            bookmarks=params.get("allowWatchBookmarks") == "true",
            seconds=float(params.get("timeoutSeconds", WATCH_SECONDS)),
            idle=idle,
            chunk=lambda: server.chunk,
        )
        if streams and since > server.storage.version:
            stream.fail_after(TOO_LARGE_SECONDS, too_large(since, server.storage.version))
        elif whole:
            stream.send_initial(server.matching(target.served, selection), end=server.streaming)
        return stream


def _decoded(body: bytes | None, content_type: str) -> JsonObject:
    """The decoded body. Raises ApiError 400, 415."""
    if "json" not in content_type and "yaml" not in content_type:
        raise ApiError(415, "UnsupportedMediaType", f"the body is {content_type!r}, must be JSON")
    try:
        found: JsonObject = orjson.loads(body or b"{}")
    except orjson.JSONDecodeError as error:
        raise ApiError(400, "BadRequest", f"the body is no JSON: {error}") from None
    return found


def _selection(target: _Target, params: Mapping[str, str]) -> Selection:
    return Selection(target.namespace, params.get("labelSelector", ""), params.get("fieldSelector", ""))


def _placed(obj: JsonObject, target: _Target) -> JsonObject:
    """The object with the namespace, and the name, of the path."""
    metadata = dict(obj.get("metadata", {}))
    for name, wanted in (("namespace", target.namespace), ("name", target.name)):
        if wanted and metadata.setdefault(name, wanted) != wanted:
            found = f"{name} {metadata[name]!r} of the object is not {wanted!r} of the request"
            raise ApiError(400, "BadRequest", f"{target.served.resource}: {found}")
    return {**obj, "metadata": metadata}
