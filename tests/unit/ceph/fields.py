"""The fields of a kind's spec by its CRD, with values for each: what tests set to see whether it is honoured."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from controller.apis.served import Moot, Only, find

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from controller.apis.served import Honoured
    from informers import JsonObject

type Path = tuple[str, ...]
"""Names from the spec down; "[]" is an item of a list and "*" a key that is the user's."""

ITEM, KEY = "[]", "*"


def leaves(schema: JsonObject, path: Path = ()) -> Iterator[tuple[Path, JsonObject]]:
    """The fields that have no fields below them, with their schemas."""
    if "properties" in schema:
        for name, child in schema["properties"].items():
            yield from leaves(child, (*path, name))
    elif "items" in schema:
        yield from leaves(schema["items"], (*path, ITEM))
    elif isinstance(schema.get("additionalProperties"), dict):
        yield from leaves(schema["additionalProperties"], (*path, KEY))
    else:
        yield path, schema


def served_leaves(tree: Mapping[str, Honoured], schema: JsonObject, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """The fields that a tree names as served with any value, down to those that have no fields below them.

    A pattern such as "osd-*" stands for one name that fits it.
    """
    if "items" in schema:
        schema, path = schema["items"], (*path, ITEM)
    for pattern, below in tree.items():
        name = pattern.replace("*", "hdd")
        child = schema.get("properties", {}).get(name, schema.get("additionalProperties"))
        assert isinstance(child, dict), f"{'.'.join(path)} has no {name}"
        match below:
            case None:
                yield from leaves(child, (*path, name))
            case Only() | Moot():
                continue
            case _:
                yield from served_leaves(below, child, (*path, name))


def is_served(tree: Mapping[str, Honoured], path: Path) -> bool:
    """Whether a tree has a field, or something above it as a whole; with some values only counts as well."""
    below: Honoured = tree
    for name in path:
        if below is None or isinstance(below, Only | Moot):
            return True
        if name == ITEM:
            continue
        found, below = find(below, name)
        if not found:
            return False
    return True


def samples(schema: JsonObject) -> Sequence[Any]:
    """Values of a field that are likely to be others than its default."""
    if "enum" in schema:
        return [value for value in schema["enum"] if value]
    match schema.get("type"):
        case "boolean":
            return [True, False]
        case "integer":
            return [max(2, int(schema.get("minimum", 0)))]
        case "number":
            return [0.5]
        case "object":
            return [{"x": "y"}]
        case None:
            return ["3Gi"]
    return ["x"]


def with_value(spec: JsonObject, path: Path, value: Any) -> JsonObject:
    """The spec with a field set: of the first item where it is in a list, below key "x" where the key is the user's."""
    changed = copy.deepcopy(spec)
    _set(changed, path, value)
    return changed


def _set(into: JsonObject, path: Path, value: Any) -> None:
    name, *rest = path
    key = "x" if name == KEY else name
    if not rest:
        into[key] = value
    elif rest == [ITEM]:
        into[key] = [value]
    elif rest[0] == ITEM:
        items = into.setdefault(key, [])
        if not items:
            items.append({})
        _set(items[0], tuple(rest[1:]), value)
    else:
        _set(into.setdefault(key, {}), tuple(rest), value)


def has_place(spec: JsonObject, path: Path) -> bool:
    """Whether the spec has the items of lists that a path leads through, so that the field is one of a whole item."""
    at: Any = spec
    for name in path[:-1]:
        if name == ITEM:
            if not at:
                return False
            at = at[0]
        else:
            at = at.get(name, {})
    return True


def dotted(path: Path) -> str:
    """A path in words."""
    return ".".join(path).replace(f".{ITEM}", ITEM)
