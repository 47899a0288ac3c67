"""The protobuf wire format, as far as it is needed without knowing what a message means."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


def varint(data: bytes, at: int) -> tuple[int, int]:
    """The number that begins at a place, and the place after it.

    Raises:
        IndexError: The data ends before it.
    """
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def encode_varint(value: int) -> bytes:
    """A number that is not negative, as it stands in a message."""
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def fields(data: bytes, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """The fields of the message `data[start:end]`: number, and begin and end of the content.

    Of a number, which has no content of its own, the begin is the value and the end is -1.

    Raises:
        ValueError: It is no message, or has fields of a form that Kubernetes does not use.
        IndexError: The data ends before it.
    """
    at = start
    while at < end:
        tag, at = varint(data, at)
        value, at = varint(data, at)
        match tag & 7:
            case 0:
                yield tag >> 3, value, -1
            case 2:
                if at + value > end:
                    raise ValueError(f"field {tag >> 3} is cut off")
                yield tag >> 3, at, at + value
                at += value
            case form:
                raise ValueError(f"field {tag >> 3} has wire type {form}")
    if at != end:
        raise ValueError("the last field is cut off")


def content(data: bytes, start: int, end: int, number: int) -> tuple[int, int]:
    """Begin and end of the content of a message's first field of that number; an empty one if it has none.

    It is what `fields` would find, without looking at what comes after. Raises like `fields`.
    """
    wanted = number << 3 | 2
    at = start
    while at < end:
        tag = data[at]
        size = data[at + 1]
        at += 2
        if tag > 0x7F or size > 0x7F:  # one of them is longer
            tag, at = varint(data, at - 2)
            size, at = varint(data, at)
        if tag & 7 == 2:
            if at + size > end:
                raise ValueError(f"field {tag >> 3} is cut off")
            if tag == wanted:
                return at, at + size
            at += size
        elif tag & 7:
            raise ValueError(f"field {tag >> 3} has wire type {tag & 7}")
    return end, end
