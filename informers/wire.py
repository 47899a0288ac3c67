"""From the bytes of a list or watch to objects ready to be kept: split, identified, without managedFields, not decoded.

An object is kept as the bytes that came, since Python's dicts take ten times the memory and a full garbage collection
would walk through all of them. What the cache must know (name, namespace, resource version) is decoded in one pass that
skips everything else; `managedFields`, often half of an object, is cut out of the bytes in the same pass.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec
import orjson

from informers.errors import ApiError, Status

if TYPE_CHECKING:
    from informers.resource import Resource

INITIAL_EVENTS_END: Final = "k8s.io/initial-events-end"
"""Annotation of the bookmark that ends a streaming list (KEP-3157)."""


MAX_LINE: Final = 256 << 20
"""Bytes of one event in JSON; what sends more is no API server."""


class DecodeError(Exception):
    """The server's bytes are not what the watch protocol promises; the message shows their beginning."""


class Object(NamedTuple):
    """One object as it is kept.

    Attributes:
        namespace: "" for a cluster-scoped object.
        name: Its name.
        version: Its resource version. These are integers that grow over a server's lifetime (KEP-5504).
        data: Its JSON without managedFields, with apiVersion and kind.
    """

    namespace: str
    name: str
    version: int
    data: bytes


class Upsert(NamedTuple):
    """Event: the object was added or modified."""

    object: Object


class Delete(NamedTuple):
    """Event: the object was deleted, or no longer matches the selectors; this was its last state."""

    object: Object


class Bookmark(NamedTuple):
    """Event: everything up to this resource version has been sent; `initial_end` at the end of a streaming list."""

    version: int
    initial_end: bool


class Failure(NamedTuple):
    """Event: the server ends the watch, and says why."""

    error: ApiError


type Event = Upsert | Delete | Bookmark | Failure


class Page(NamedTuple):
    """One page of a list.

    Attributes:
        version: The resource version that the list shows; of all its pages the same.
        token: To continue with; "" on the last page.
        objects: The page's objects.
    """

    version: int
    token: str
    objects: tuple[Object, ...]


class _Metadata(msgspec.Struct, rename="camel", gc=False):
    name: str = ""
    namespace: str = ""
    resource_version: str = ""
    managed_fields: msgspec.Raw = msgspec.Raw()


class _Identity(msgspec.Struct, rename="camel", gc=False):
    metadata: _Metadata
    kind: str = ""
    api_version: str = ""


class _WatchEvent(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    type: str
    object: _Identity


class _EventType(msgspec.Struct):
    type: str


class _BookmarkMetadata(msgspec.Struct, rename="camel"):
    resource_version: str
    annotations: dict[str, str] = {}


class _BookmarkObject(msgspec.Struct):
    metadata: _BookmarkMetadata


class _BookmarkEvent(msgspec.Struct):
    object: _BookmarkObject


class _FailureEvent(msgspec.Struct):
    object: Status


class _ListMetadata(msgspec.Struct, rename="camel"):
    resource_version: str
    token: str = msgspec.field(name="continue", default="")


class _List(msgspec.Struct):
    metadata: _ListMetadata
    items: list[msgspec.Raw] | None = None


_decode_event = msgspec.json.Decoder(_WatchEvent).decode
_decode_type = msgspec.json.Decoder(_EventType).decode
_decode_identity = msgspec.json.Decoder(_Identity).decode
_decode_bookmark = msgspec.json.Decoder(_BookmarkEvent).decode
_decode_failure = msgspec.json.Decoder(_FailureEvent).decode
_decode_list = msgspec.json.Decoder(_List).decode

_PREFIXES: Final = {kind: b'{"type":"%s","object":' % kind.encode() for kind in ("ADDED", "MODIFIED", "DELETED")}
_MANAGED_FIELDS: Final = b'"managedFields":'
_COMMA: Final = ord(",")
_BRACE: Final = ord("{")


class Splitter:
    """Cuts a stream into lines. What follows the last newline is an event that is not whole yet."""

    __slots__ = ("_length", "_parts")

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._length = 0

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that `data` completes, without their newlines.

        Raises:
            DecodeError: A line is longer than `MAX_LINE`.
        """
        lines = data.split(b"\n")
        rest = lines.pop()
        if lines and self._parts:
            self._parts.append(lines[0])
            lines[0] = b"".join(self._parts)
            self._parts = []
            self._length = 0
        if rest:
            self._parts.append(rest)
            self._length += len(rest)
            if self._length > MAX_LINE:
                raise DecodeError(f"watch event {self._parts[0][:200]!r}: it is longer than {MAX_LINE} bytes")
        return lines


def event(line: bytes) -> Event:
    """The event that one line of a watch holds.

    Raises:
        DecodeError: It holds none.
    """
    try:
        if line.startswith((b'{"type":"BOOKMARK"', b'{"type":"ERROR"')):
            return _special_event(line)
        found = _decode_event(line)
        kind, identity = found.type, found.object
        prefix = _PREFIXES.get(kind)
        if prefix is None:
            return _special_event(line)
        metadata = identity.metadata
        if not line.startswith(prefix):  # the same with white space, or the keys in another order
            return event(orjson.dumps({"type": kind, "object": orjson.loads(line)["object"]}))
        kept = Object(
            metadata.namespace,
            metadata.name,
            int(metadata.resource_version),
            _strip(line, len(prefix), len(line) - 1, metadata.managed_fields),
        )
    except (msgspec.MsgspecError, ValueError, KeyError) as error:
        raise DecodeError(f"watch event {line[:200]!r}: {error}") from error
    return Delete(kept) if kind == "DELETED" else Upsert(kept)


def page(body: bytes, resource: Resource) -> Page:
    """The page that the body of a list holds.

    Raises:
        DecodeError: It holds none.
    """
    try:
        found = _decode_list(body)
        objects = tuple([_item(bytes(raw), resource) for raw in found.items or ()])
        return Page(int(found.metadata.resource_version), found.metadata.token, objects)
    except (msgspec.MsgspecError, ValueError) as error:
        raise DecodeError(f"list {body[:200]!r}: {error}") from error


def _item(data: bytes, resource: Resource) -> Object:
    identity = _decode_identity(data)
    metadata = identity.metadata
    kept = _strip(data, 0, len(data), metadata.managed_fields)
    if not identity.kind:  # items of built-in kinds leave out what the list itself says, and watches say first
        kept = b'{"kind":"%s","apiVersion":"%s",' % (resource.kind.encode(), resource.api_version.encode()) + kept[1:]
    return Object(metadata.namespace, metadata.name, int(metadata.resource_version), kept)


def _special_event(line: bytes) -> Event:
    kind = _decode_type(line).type
    if kind == "BOOKMARK":
        metadata = _decode_bookmark(line).object.metadata
        return Bookmark(int(metadata.resource_version), metadata.annotations.get(INITIAL_EVENTS_END) == "true")
    if kind == "ERROR":
        return Failure(ApiError.from_status(_decode_failure(line).object))
    raise DecodeError(f"watch event {line[:200]!r}: its type {kind!r} is none of the protocol's")


def _strip(data: bytes, start: int, end: int, managed_fields: msgspec.Raw) -> bytes:
    """`data[start:end]`, the JSON of one object, without its `metadata.managedFields`, whose value is given.

    The key is searched for, and it is the right one if it is the only one and the value follows. An object that has
    such a key elsewhere too, or is not compact, goes the slow way.
    """
    value = bytes(managed_fields)
    if not value:
        return data[start:end]
    key = data.find(_MANAGED_FIELDS, start, end)
    found = key + len(_MANAGED_FIELDS)
    after = found + len(value)
    if key > start and data.startswith(value, found) and data.find(_MANAGED_FIELDS, after, end) < 0:
        if data[key - 1] == _COMMA:
            return data[start : key - 1] + data[after:end]
        if data[key - 1] == _BRACE:
            return data[start:key] + data[after + (data[after] == _COMMA) : end]
    obj = orjson.loads(data[start:end])
    del obj["metadata"]["managedFields"]
    return orjson.dumps(obj)
