"""What a cache keeps of an object, and what becomes of it."""

from __future__ import annotations

import msgspec
import orjson


class Entry(msgspec.Struct, frozen=True, gc=False):
    """An object as it is kept: its resource version, and its JSON without managedFields."""

    version: int
    data: bytes


class Change(msgspec.Struct, frozen=True, gc=False):
    """What became of one object: added (no old), updated, or deleted (no new).

    Attributes:
        namespace: Of the object.
        name: Of the object.
        old: Its state before; of a deleted one the last, as far as it is known.
        new: Its state now.
        initial: Whether it comes from the first list.
    """

    namespace: str
    name: str
    old: Entry | None
    new: Entry | None
    initial: bool


class _Uid(msgspec.Struct, frozen=True):
    uid: str = ""


class _WithUid(msgspec.Struct, frozen=True):
    metadata: _Uid = _Uid()


_decode_uid = msgspec.json.Decoder(_WithUid).decode


def size_of(entry: Entry | None) -> int:
    """The bytes that are kept of it; 0 for none."""
    return 0 if entry is None else len(entry.data)


def is_same(data: bytes, other: bytes) -> bool:
    """Whether these are the same object, however each is written: Go escapes what we do not, for one."""
    return data == other or bool(orjson.loads(data) == orjson.loads(other))


def uid_of(entry: Entry) -> str:
    """The object's uid."""
    return _decode_uid(entry.data).metadata.uid
