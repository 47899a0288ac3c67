"""How built-in kinds are laid out as protobuf, and how the same fields look as JSON.

The table is `schema.json`, which `make schema` generates from the Go types that the API server is built from.
A field that a newer server has is not in it: views leave it out then, as Go's typed clients do.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Final, Literal

import msgspec

PARTIAL: Final = "meta.k8s.io/v1/PartialObjectMetadata"
"""The kind that has nothing but metadata, and stands for any kind."""


class Field(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A field of a message.

    Attributes:
        number: In protobuf.
        name: In JSON; "" for an inline one.
        shape: One value, a list of them, or a map from text to them.
        type: "string", "int", "bool", "bytes", or a message; of which "Time", "MicroTime", "Quantity", "IntOrString"
            and "Raw" (any JSON) are no objects in JSON.
        presence: When JSON has the field. required: always; nonzero: when it is neither zero nor empty; optional: when
            protobuf has it; nullable: always, as null when protobuf has it not; inline: JSON has its fields instead.
    """

    number: int
    name: str
    shape: Literal["one", "many", "map"]
    type: str
    presence: Literal["required", "nonzero", "optional", "nullable", "inline"]


class Schema(msgspec.Struct, frozen=True):
    """The table.

    Attributes:
        kinds: The message of each kind, by "apiVersion/kind".
        messages: The fields of each message, by its name.
    """

    kinds: dict[str, str]
    messages: dict[str, tuple[Field, ...]]


@cache
def schema() -> Schema:
    """The table, read when it is first asked for."""
    return msgspec.json.decode(Path(__file__).with_name("schema.json").read_bytes(), type=Schema)


def is_known(kind: str) -> bool:
    """Whether the table has the kind "apiVersion/kind"; it has none that are custom."""
    return kind in schema().kinds
