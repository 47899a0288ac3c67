"""Which fields of a spec are set but not served: nothing that a user writes is dropped in silence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

type Honoured = Mapping[str, Honoured] | None
"""The served fields below a field, or None: everything below it is served.

The name "*" stands for every key of a map; lists are looked through, so a list of objects has the tree of one of them.
"""


def unhonoured(spec: Mapping[str, Any], honoured: Mapping[str, Honoured]) -> tuple[str, ...]:
    """The paths, such as "mon.zones[1].arbiter", that are set in `spec` and not in `honoured`, in the spec's order.

    A field set to what it would be without being set (false, zero, empty) asks for nothing and is not named.
    """
    return tuple(_walk(spec, honoured, ""))


def _walk(value: Mapping[str, Any], honoured: Mapping[str, Honoured], prefix: str) -> Iterator[str]:
    for name, child in value.items():
        path = f"{prefix}.{name}" if prefix else name
        if _asks_for_nothing(child):
            continue
        if name not in honoured and "*" not in honoured:
            yield path
            continue
        below = honoured.get(name, honoured.get("*"))
        if below is not None:
            yield from _descend(child, below, path)


def _asks_for_nothing(value: object) -> bool:
    if isinstance(value, Mapping):
        return all(_asks_for_nothing(child) for child in value.values())
    if isinstance(value, list):
        return all(_asks_for_nothing(item) for item in value)
    return not value


def _descend(value: object, honoured: Mapping[str, Honoured], path: str) -> Iterator[str]:
    if isinstance(value, Mapping):
        yield from _walk(value, honoured, path)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _descend(item, honoured, f"{path}[{index}]")
