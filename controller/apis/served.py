"""Trees of the fields that are served, beside the types.

The condition FieldsHonoured, the texts of the CRDs and the tables in the documentation all follow them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from controller.apis.meta import JsonObject


@dataclass(frozen=True, slots=True)
class Only:
    """Served with these values, as the user may write them; any other is named with its value."""

    values: frozenset[object]


@dataclass(frozen=True, slots=True)
class Moot:
    """Has no effect for a reason that needs no telling: the field that would give it one is named, or is off."""

    reason: str


type Honoured = Mapping[str, Honoured] | Only | Moot | None
"""The served fields below a field, or None: everything below it is served.

The name "*" stands for every key of a map, and one that ends in it for keys that begin so; lists are looked through, so
a list of objects has the tree of one of them.
"""


def only(*values: object) -> Only:
    """Served with these values."""
    return Only(frozenset(values))


NOT_SERVED = "Not served."
"""What the description of a field says that is not served, before all else."""


def find(tree: Mapping[str, Honoured], name: str) -> tuple[bool, Honoured]:
    """Whether a name is in a tree, and what is served below it."""
    if name in tree:
        return True, tree[name]
    for pattern, below in tree.items():
        if pattern.endswith("*") and name.startswith(pattern[:-1]):
            return True, below
    return False, None


def mark(schema: JsonObject, tree: Mapping[str, Honoured]) -> JsonObject:
    """The schema of a spec, where the description of each field says whether it is served, and with which values."""
    for items in ("items", "additionalProperties"):
        if isinstance(schema.get(items), dict):
            return schema | {items: mark(schema[items], tree)}
    if "properties" not in schema:
        return schema
    return schema | {
        "properties": {name: _marked(child, *find(tree, name)) for name, child in schema["properties"].items()}
    }


def _marked(schema: JsonObject, served: bool, below: Honoured) -> JsonObject:
    text = schema.get("description", "")
    if not served:
        # Also what is below, which is read alone by `kubectl explain`.
        return mark(schema, {}) | {"description": f"{NOT_SERVED} {text}".rstrip()}
    match below:
        case Only(values):
            return schema | {"description": f"{text} Served: {', '.join(sorted(map(str, values)))}.".lstrip()}
        case Moot(reason):
            return schema | {"description": f"{text} Without effect: {reason}.".lstrip()}
        case Mapping():
            return mark(schema, below)
    return schema
