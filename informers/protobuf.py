"""What `wire` does for JSON, for protobuf: frames and lists are split, identified and stripped of managedFields.

Nothing is decoded but what the cache must know; the bytes of an object are kept as they came. Layouts are those of
runtime.Unknown (the envelope), metav1.WatchEvent, metav1.ObjectMeta, metav1.ListMeta and metav1.Status.
"""

from __future__ import annotations

import re
from typing import Final

from informers.errors import ApiError, status_from_protobuf
from informers.fields import content, encode_varint, fields, varint
from informers.wire import INITIAL_EVENTS_END, Bookmark, DecodeError, Delete, Event, Failure, Object, Page, Upsert

MAGIC: Final = b"k8s\0"
"""What every object in an envelope begins with."""

FRAME_LIMIT: Final = 1 << 28
"""Bytes of a frame above which it is taken for something else; etcd's objects are at most some megabytes."""

_LENGTH: Final = 4
_RAW: Final = 2
"""In the envelope: the object. In a watch event: its envelope, one level deeper."""
_METADATA: Final = 1
_ITEMS: Final = 2
_FIRST_TAG: Final = _METADATA << 3 | 2
_RAW_TAG: Final = _RAW << 3 | 2
_NAME, _NAMESPACE, _VERSION, _ANNOTATIONS, _MANAGED_FIELDS = (number << 3 | 2 for number in (1, 3, 6, 12, 17))
_ONE_BYTE: Final = 0x7F
"""The greatest tag or size that one byte holds."""

_CHANGE: Final = re.compile(
    rb"\n[\x05-\x08](ADDED|MODIFIED|DELETED)"  # the event's type, then two sizes to the envelope
    rb"\x12[\x80-\xff]*[\0-\x7f]\n[\x80-\xff]*[\0-\x7f]" + MAGIC + rb"\n([\0-\x7f])"  # and that of its type
)
"""How events begin that the API server writes. Whatever else is an event is read field by field."""


class Splitter:
    """Cuts a stream into frames: each has its length before it. The last may not be whole yet."""

    __slots__ = ("_needed", "_parts", "_size")

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0
        self._needed = _LENGTH

    def feed(self, data: bytes) -> list[bytes]:
        """The frames that `data` completes, without their lengths.

        Raises:
            DecodeError: This is no stream of frames.
        """
        self._parts.append(data)
        self._size += len(data)
        if self._size < self._needed:
            return []
        if len(self._parts) > 1:
            data = b"".join(self._parts)
        frames: list[bytes] = []
        at, size = 0, len(data)
        needed = _LENGTH
        while size - at >= _LENGTH:
            length = int.from_bytes(data[at : at + _LENGTH])
            if length > FRAME_LIMIT:
                if frames:
                    break  # those before it are good
                raise DecodeError(f"watch stream {data[at : at + 200]!r}: it begins with no frame's length")
            if size - at - _LENGTH < length:
                needed = length + _LENGTH
                break
            frames.append(data[at + _LENGTH : at + _LENGTH + length])
            at += _LENGTH + length
        rest = data[at:]
        self._parts = [rest] if rest else []
        self._size, self._needed = len(rest), needed
        return frames


def event(frame: bytes) -> Event:
    """The event that one frame of a watch holds.

    Raises:
        DecodeError: It holds none.
    """
    try:
        kind, start, end = _change(frame) or _any_event(frame)
        if kind == b"DELETED":
            return Delete(_object(frame, start, end))
        if kind in {b"ADDED", b"MODIFIED"}:
            return Upsert(_object(frame, start, end))
        if kind == b"BOOKMARK":
            return _bookmark(frame, *content(frame, start, end, _METADATA))
        if kind == b"ERROR":
            status = status_from_protobuf(frame[start:end])
            return Failure(ApiError.from_status(status))
    except (ValueError, IndexError) as error:
        raise DecodeError(f"watch event {frame[:200]!r}: {error}") from error
    raise DecodeError(f"watch event {frame[:200]!r}: its type {kind!r} is none of the protocol's")


def _change(frame: bytes) -> tuple[bytes, int, int] | None:
    """Type, and begin and end of the object, of an event that looks as most do."""
    found = _CHANGE.match(frame)
    if found is None:
        return None
    size, begin = varint(frame, found.end(1) + 1)
    at = found.end() + found[2][0]
    if begin + size != len(frame) or frame[at] != _RAW_TAG:
        return None
    size, start = varint(frame, at + 1)
    return found[1], start, start + size


def _any_event(frame: bytes) -> tuple[bytes, int, int]:
    """The same of any event."""
    start, end = content(frame, 0, len(frame), 1)
    return frame[start:end], *_opened(frame, *content(frame, *content(frame, end, len(frame), _RAW), 1))


def page(body: bytes) -> Page:
    """The page that the body of a list holds.

    Raises:
        DecodeError: It holds none.
    """
    version, token = "", ""
    objects: list[Object] = []
    try:
        for number, start, end in fields(body, *_opened(body, 0, len(body))):
            if number == _METADATA:
                texts = {number: body[at:stop].decode() for number, at, stop in fields(body, start, end) if stop >= 0}
                version, token = texts.get(2, ""), texts.get(3, "")
            elif number == _ITEMS:
                objects.append(_object(body, start, end))
        return Page(int(version), token, tuple(objects))
    except (ValueError, IndexError) as error:
        raise DecodeError(f"list {body[:200]!r}: {error}") from error


def uid(data: bytes) -> str:
    """The uid of an object that is kept."""
    start, end = content(data, *content(data, 0, len(data), _METADATA), 5)
    return data[start:end].decode()


def _opened(data: bytes, start: int, end: int) -> tuple[int, int]:
    """Begin and end of the object in an envelope."""
    if not data.startswith(MAGIC, start):
        raise ValueError("there is no protobuf envelope")
    return content(data, start + len(MAGIC), end, _RAW)


def _object(data: bytes, start: int, end: int) -> Object:
    """The object `data[start:end]`, ready to be kept. Whoever encodes a Kubernetes object writes metadata first."""
    if start >= end or data[start] != _FIRST_TAG:
        raise ValueError("the object does not begin with metadata")
    size, first = varint(data, start + 1)
    last = first + size
    if last > end or end > len(data):
        raise ValueError("metadata is cut off")
    namespace, name, version, kept = _identity(data, first, last)
    if len(kept) > 1:
        metadata = b"".join(kept)
        stored = b"".join((data[start : start + 1], encode_varint(len(metadata)), metadata, data[last:end]))
    else:
        stored = data[start:end]
    return Object(namespace.decode(), name.decode(), int(version), stored)


def _identity(data: bytes, first: int, last: int) -> tuple[bytes, bytes, bytes, list[bytes]]:
    """Namespace, name and version of the metadata `data[first:last]`, and its pieces without managedFields.

    This loop is the price of each event, so it spells out what `fields` does.
    """
    name = namespace = version = b""
    kept: list[bytes] = []
    keep_from = at = first
    while at < last:
        begin = at
        tag = data[at]
        size = data[at + 1]
        if tag > _ONE_BYTE or size > _ONE_BYTE:
            tag, at = varint(data, at)
            size, at = varint(data, at)
        else:
            at += 2
        form = tag & 7
        if form == 2:
            if tag == _NAME:
                name = data[at : at + size]
            elif tag == _NAMESPACE:
                namespace = data[at : at + size]
            elif tag == _VERSION:
                version = data[at : at + size]
            elif tag == _MANAGED_FIELDS:
                kept.append(data[keep_from:begin])
                keep_from = at + size
            at += size
        elif form:
            raise ValueError(f"field {tag >> 3} of metadata has wire type {form}")
    if at != last:
        raise ValueError("metadata is cut off")
    kept.append(data[keep_from:last])
    return namespace, name, version, kept


def _bookmark(data: bytes, start: int, end: int) -> Bookmark:
    version, initial_end = b"", False
    for number, at, stop in fields(data, start, end):
        if number == _VERSION >> 3:
            version = data[at:stop]
        elif number == _ANNOTATIONS >> 3:
            entry = {number: data[begin:close] for number, begin, close in fields(data, at, stop)}
            initial_end |= entry == {1: INITIAL_EVENTS_END.encode(), 2: b"true"}
    return Bookmark(int(version), initial_end)
