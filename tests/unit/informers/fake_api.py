"""A model of what an API server promises about lists and watches, with every fault that a test may want.

It holds one namespaced collection in memory. Versions grow by one with each write; history before a compaction is gone;
a watch sends the events after its version, a bookmark each minute, and nothing else. Faults are methods. It answers in
protobuf where it may and is asked to.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import orjson

from informers import ApiError, JsonObject, Key, Resource, StalledError, TransportError
from informers.errors import Cause
from informers.media import JSON, PROTOBUF
from informers.schema import PARTIAL, Field, schema
from tests import protobuf

WIDGETS = Resource("example.org", "v1", "Widget", "widgets")

KIND = "example.org/v1/Widget"

# As if it were built in; whether it is watched as protobuf is the informer's and the server's choice.
schema().kinds[KIND] = "test.Widget"
schema().messages["test.Widget"] = (
    Field(1, "metadata", "one", "meta.v1.ObjectMeta", "required"),
    Field(2, "spec", "one", "test.WidgetSpec", "required"),
)
schema().messages["test.WidgetSpec"] = (
    Field(1, "number", "one", "int", "optional"),
    Field(2, "node", "one", "string", "optional"),
)

BOOKMARK_SECONDS = 60.0

GONE = ApiError(410, "Expired", "too old resource version")
AHEAD = ApiError(504, "Timeout", "Too large resource version", 1.0, (Cause("ResourceVersionTooLarge"),))
NO_STREAMING = ApiError(422, "Invalid", "sendInitialEvents: Forbidden: the WatchList feature gate is disabled")


def encode(event: str, obj: JsonObject, content_type: str = JSON) -> bytes:
    """An event as it stands in a watch."""
    if not content_type.startswith(PROTOBUF):
        return orjson.dumps({"type": event, "object": obj}) + b"\n"
    if event == "ERROR":
        return protobuf.frame(event, protobuf.status(obj), "v1/Status")
    kind = f"{obj['apiVersion']}/{obj['kind']}"
    return protobuf.frame(event, protobuf.encode(obj, kind), kind)


def partial(obj: JsonObject) -> JsonObject:
    """The object's metadata alone."""
    api_version, _, kind = PARTIAL.rpartition("/")
    return {"kind": kind, "apiVersion": api_version, "metadata": obj["metadata"]}


type Event = tuple[str, JsonObject]
"""Type and object."""


@dataclass(slots=True)
class Record:
    """One write in the server's history."""

    version: int
    kind: str
    object: JsonObject


class FakeStream:
    """One open watch."""

    def __init__(
        self, server: "FakeApi", version: int, initial: list[Event], idle: float, namespace: str, accept: str
    ) -> None:
        self.content_type = server.content_type(accept)
        self.version = version
        self.stalled = self.ended = False
        self.cut_after: int | None = None
        self._server = server
        self._namespace = namespace
        self._buffer = bytearray()
        for event, obj in initial:
            self.send(event, obj)
        self._idle = idle
        self._changed = asyncio.Event()

    async def read(self) -> bytes:
        while True:
            if self.stalled:
                await asyncio.sleep(self._idle)
                raise StalledError(f"no byte for {self._idle:.0f} s")
            self._fill()
            if self.cut_after is not None and not (self._buffer and self.cut_after):
                raise TransportError("connection reset by peer")
            if self._buffer:
                size = min(self._server.chunk, len(self._buffer), self.cut_after or len(self._buffer))
                data = bytes(self._buffer[:size])
                del self._buffer[:size]
                if self.cut_after is not None:
                    self.cut_after -= size
                return data
            if self.ended:
                return b""
            await self._wait()

    def push(self, data: bytes) -> None:
        """Send these bytes as they are."""
        self._fill()
        self._buffer += data
        self.wake()

    def send(self, event: str, obj: JsonObject) -> None:
        """Send an event."""
        if "as=Partial" in self.content_type and event not in ("BOOKMARK", "ERROR"):
            obj = partial(obj)
        self._buffer += encode(event, obj, self.content_type)

    def tell(self, event: str, obj: JsonObject) -> None:
        """Send an event after those that there are already."""
        self._fill()
        self.send(event, obj)
        self.wake()

    def wake(self) -> None:
        """Something happened."""
        self._changed.set()

    def _fill(self) -> None:
        server = self._server
        if self.ended or self.version > server.version:  # beyond the server's data: it says nothing until it gets there
            return
        if self.version < server.compacted:
            self.send("ERROR", {"kind": "Status", "code": 410, "reason": "Expired", "message": "compacted"})
            self.ended = True
            return
        for record in server.history:
            if record.version > self.version:
                if self._namespace in ("", record.object["metadata"]["namespace"]):
                    self.send(record.kind, record.object)
                self.version = record.version

    async def _wait(self) -> None:
        self._changed.clear()
        try:
            async with asyncio.timeout(min(BOOKMARK_SECONDS, self._idle)):
                await self._changed.wait()
        except TimeoutError:
            if self.version > self._server.version or self._idle <= BOOKMARK_SECONDS:
                self.stalled = True
            else:
                self.send(*bookmark(self._server.version))


def bookmark(version: int, **annotations: str) -> Event:
    """A bookmark."""
    metadata = {"resourceVersion": str(version), "annotations": annotations}
    return "BOOKMARK", {"kind": "Widget", "apiVersion": "example.org/v1", "metadata": metadata}


@dataclass
class FakeApi:
    """The server.

    Attributes:
        streaming: Whether it knows streaming lists.
        protobuf: Whether it knows the kind's layout, so that it can answer in protobuf.
        chunk: Bytes that one read of a stream returns at most.
        page_limit: Objects of one page at most, though a client asks for more.
        refusals: Errors for the requests to come, one each.
        requests: The query parameters of all requests that came.
    """

    streaming: bool = True
    protobuf: bool = True
    chunk: int = 1 << 20
    page_limit: int = 2
    version: int = 10
    compacted: int = 0
    objects: dict[Key, JsonObject] = field(default_factory=dict)
    history: list[Record] = field(default_factory=list)
    streams: list[FakeStream] = field(default_factory=list)
    refusals: deque[ApiError | TransportError] = field(default_factory=deque)
    requests: list[dict[str, str]] = field(default_factory=list)
    _pages: dict[str, tuple[int, list[JsonObject]]] = field(default_factory=dict)
    _uids: int = 0

    def write(self, namespace: str, name: str, **spec: object) -> JsonObject:
        """Create the object, or update it."""
        present = self.objects.get((namespace, name))
        if present is None:
            self._uids += 1
        uid = f"uid-{self._uids}" if present is None else present["metadata"]["uid"]
        obj = {
            "apiVersion": "example.org/v1",
            "kind": "Widget",
            "metadata": {
                "name": name,
                "namespace": namespace,
                "uid": uid,
                "resourceVersion": str(self.version + 1),
                "managedFields": [{"manager": "test", "fieldsV1": {"f:spec": {"f:managedFields": {}}}}],
            },
            "spec": spec,
        }
        self._record("ADDED" if present is None else "MODIFIED", obj)
        self.objects[namespace, name] = obj
        return obj

    def delete(self, namespace: str, name: str) -> None:
        """Delete the object, if it is there."""
        obj = self.objects.pop((namespace, name), None)
        if obj is not None:
            metadata = {**obj["metadata"], "resourceVersion": str(self.version + 1)}
            self._record("DELETED", {**obj, "metadata": metadata})

    def compact(self) -> None:
        """Drop the history until now."""
        self.compacted = self.version
        self.history.clear()
        self.wake()

    def restore(self, version: int) -> None:
        """Go back to the data of this version, as from a backup; every connection breaks."""
        kept = [record for record in self.history if record.version <= version]
        self.objects, self.history, self.version = {}, kept, version
        for record in kept:
            key = (record.object["metadata"]["namespace"], record.object["metadata"]["name"])
            if record.kind == "DELETED":
                self.objects.pop(key)
            else:
                self.objects[key] = record.object
        self.cut(0)

    def cut(self, after: int) -> None:
        """Break every connection, when it has carried so many bytes more."""
        for stream in self.streams:
            stream.cut_after = after
        self.wake()

    def end(self) -> None:
        """End every watch in good order."""
        for stream in self.streams:
            stream.ended = True
        self.wake()

    def stall(self) -> None:
        """Let every watch go silent."""
        for stream in self.streams:
            stream.stalled = True
        self.wake()

    def push(self, data: bytes) -> None:
        """Send these bytes over every watch."""
        for stream in self.streams:
            stream.push(data)

    def tell(self, event: str, obj: JsonObject) -> None:
        """Send an event over every watch."""
        for stream in self.streams:
            stream.tell(event, obj)

    def content_type(self, accept: str) -> str:
        """The encoding of an answer: the first one asked for that it knows."""
        return next(found for found in accept.split(",") if self.protobuf or not found.startswith(PROTOBUF))

    def fail(self, error: ApiError) -> None:
        """End every watch by an error event."""
        status = {"kind": "Status", "code": error.status, "reason": error.reason, "message": error.message}
        self.tell("ERROR", status)
        self.end()

    def wake(self) -> None:
        """Let every watch see what has happened."""
        for stream in self.streams:
            stream.wake()

    async def request(
        self, method: str, path: str, *, params: Mapping[str, str], accept: str, deadline: float
    ) -> bytes:
        """A page of a list."""
        assert (method, deadline > 0) == ("GET", True)
        self._admit(path, params)
        token = params.get("continue", "")
        if token:
            version, items = self._pages[token]
            if version < self.compacted:
                raise GONE
        else:
            namespace = _namespace(path)
            version = self.version
            items = [obj for key, obj in sorted(self.objects.items()) if namespace in ("", key[0])]
        limit = min(int(params["limit"]), self.page_limit) if "limit" in params else len(items)
        page, rest = items[:limit], items[limit:]
        following = f"token-{len(self._pages)}" if rest else ""
        if rest:
            self._pages[following] = (version, rest)
        content_type = self.content_type(accept)
        if "as=Partial" in content_type:
            page = [partial(obj) for obj in page]
        if content_type.startswith(PROTOBUF):
            kind = PARTIAL if "as=Partial" in content_type else KIND
            return protobuf.page(str(version), following, [protobuf.encode(obj, kind) for obj in page])
        return orjson.dumps(
            {
                "kind": "WidgetList",
                "apiVersion": "example.org/v1",
                "metadata": {"resourceVersion": str(version), "continue": following},
                "items": page,
            }
        )

    @asynccontextmanager
    async def stream(
        self, path: str, *, params: Mapping[str, str], accept: str, idle: float
    ) -> AsyncIterator[FakeStream]:
        """A watch."""
        self._admit(path, params)
        since, namespace = int(params["resourceVersion"] or 0), _namespace(path)
        if "sendInitialEvents" in params:
            if not self.streaming:
                raise NO_STREAMING
            if since > self.version:
                raise AHEAD
            found = [obj for key, obj in self.objects.items() if namespace in ("", key[0])]
            end = bookmark(self.version, **{"k8s.io/initial-events-end": "true"})
            initial = [*(("ADDED", obj) for obj in found), end]
            stream = FakeStream(self, self.version, initial, idle, namespace, accept)
        else:
            if since < self.compacted:
                raise GONE
            stream = FakeStream(self, since, [], idle, namespace, accept)
        self.streams.append(stream)
        try:
            yield stream
        finally:
            self.streams.remove(stream)

    def _admit(self, path: str, params: Mapping[str, str]) -> None:
        assert path.endswith("/widgets")
        self.requests.append(dict(params))
        if self.refusals:
            raise self.refusals.popleft()

    def _record(self, kind: str, obj: JsonObject) -> None:
        self.version += 1
        self.history.append(Record(self.version, kind, obj))
        self.wake()


def _namespace(path: str) -> str:
    parts = path.split("/")
    return parts[parts.index("namespaces") + 1] if "namespaces" in parts else ""
