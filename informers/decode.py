"""From the bytes that are kept to what a reader asked for: a view, which is a msgspec Struct, or the whole object."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import orjson

if TYPE_CHECKING:
    from collections.abc import Callable


def decoder[T](view: type[T]) -> Callable[[bytes], T]:
    """What makes a view of an object's JSON. To it a null is as good as nothing, as to the API server's Go clients.

    Args:
        view: A msgspec Struct, or `dict` for the whole object, which is left as it is.
    """
    if view is dict:
        return orjson.loads
    strict = msgspec.json.Decoder(view).decode

    def decode(data: bytes) -> T:
        try:
            return strict(data)
        except msgspec.ValidationError:
            # Nulls are rare, and few fields of few kinds have them; only then is the longer way worth its time.
            return strict(orjson.dumps(_without_nulls(orjson.loads(data))))

    return decode


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nulls(child) for name, child in value.items() if child is not None}
    if isinstance(value, list):
        return [_without_nulls(child) for child in value]
    return value
