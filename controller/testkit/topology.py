"""How server-side apply merges the parts of an object: as wholes, by key, or as sets.

For built-in kinds the source is `topology.json`, which `python -m tests.integration.topology` writes from the OpenAPI
of a real API server. For custom kinds it is the schema of their CustomResourceDefinition.

Source: https://kubernetes.io/docs/reference/using-api/server-side-apply/#merge-strategy
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from informers import JsonObject

type Merge = Literal["granular", "atomic", "set", "map"]
"""How a value is merged. "granular": an object by its fields, and a list as a whole."""

OBJECT_META = "meta.v1.ObjectMeta"


class Topology(Protocol):
    """How the value at one place of an object is merged."""

    @property
    def merge(self) -> Merge:
        """How."""
        ...

    @property
    def keys(self) -> Mapping[str, Any]:
        """For a list that is merged as a map: the fields that identify an item, with their defaults."""
        ...

    def declares(self, name: str) -> bool:
        """Whether the type has this field; other names are keys of a map."""
        ...

    def child(self, name: str) -> Topology:
        """The topology of the value of a field, or of a map's key."""
        ...

    def item(self) -> Topology:
        """The topology of the items of a list."""
        ...


class BuiltIn(msgspec.Struct, frozen=True, omit_defaults=True):
    """The topology of a field of a built-in type.

    Attributes:
        type: Message of the value, or of its elements; "" for scalars.
        shape: One value, a list, or a map.
        rule: How the value is merged, or the keys of its items with their defaults; None: as the type says.
    """

    type: str = ""
    shape: Literal["one", "many", "map"] = "one"
    rule: Merge | dict[str, Any] | None = None

    @property
    def merge(self) -> Merge:
        """How."""
        if isinstance(self.rule, dict):
            return "map"
        if self.rule is None and self.shape == "one":
            return self._message.merge
        return self.rule or "granular"

    @property
    def keys(self) -> Mapping[str, Any]:
        """Key fields with their defaults."""
        return self.rule if isinstance(self.rule, dict) else {}

    def declares(self, name: str) -> bool:
        """Whether the message has the field."""
        return self.shape == "one" and name in self._message.fields

    def child(self, name: str) -> Topology:
        """The topology of a field."""
        return BuiltIn(self.type) if self.shape == "map" else self._message.fields.get(name, JsonSchema())

    def item(self) -> Topology:
        """The topology of the items."""
        return BuiltIn(self.type)

    @property
    def _message(self) -> Message:
        return table().messages.get(self.type, Message())


class Message(msgspec.Struct, frozen=True, omit_defaults=True):
    """A built-in type.

    Attributes:
        fields: By name.
        merge: How its values are merged, unless the field says otherwise.
    """

    fields: dict[str, BuiltIn] = {}
    merge: Merge = "granular"


class Table(msgspec.Struct, frozen=True):
    """All built-in types.

    Attributes:
        kinds: The message of each kind, by "apiVersion/kind".
        messages: The messages by name: the API group's short name, the version, the type.
    """

    kinds: dict[str, str]
    messages: dict[str, Message]


@cache
def table() -> Table:
    """The table. The first call reads it from its file."""
    return msgspec.json.decode(Path(__file__).with_name("topology.json").read_bytes(), type=Table)


@dataclass(frozen=True, slots=True)
class JsonSchema:
    """The topology of a custom type.

    Attributes:
        schema: Its structural schema. Without one, objects are merged by field, and lists are replaced as wholes.
        root: Whether it is the schema of a whole object, whose metadata has Kubernetes' own type.
    """

    schema: JsonObject = field(default_factory=dict)
    root: bool = False
    _children: dict[str, Topology] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def merge(self) -> Merge:
        """How."""
        found: Merge = self.schema.get("x-kubernetes-list-type") or self.schema.get("x-kubernetes-map-type", "granular")
        return found

    @property
    def keys(self) -> Mapping[str, Any]:
        """Key fields with their defaults."""
        fields = self.schema.get("items", {}).get("properties", {})
        return {name: fields.get(name, {}).get("default") for name in self.schema.get("x-kubernetes-list-map-keys", ())}

    def declares(self, name: str) -> bool:
        """Whether the schema has the property."""
        return name in self.schema.get("properties", {}) or (self.root and name == "metadata")

    def child(self, name: str) -> Topology:
        """The topology of a property."""
        if name not in self._children:
            self._children[name] = self._child(name)
        return self._children[name]

    def _child(self, name: str) -> Topology:
        if self.root and name == "metadata":
            return BuiltIn(OBJECT_META)
        found = self.schema.get("properties", {}).get(name, self.schema.get("additionalProperties"))
        return JsonSchema(found if isinstance(found, dict) else {})

    def item(self) -> Topology:
        """The topology of the items."""
        return JsonSchema(self.schema.get("items", {}))


def built_in(kind: str) -> Topology | None:
    """The topology of the built-in kind "apiVersion/kind"; None if there is no such kind."""
    message = table().kinds.get(kind)
    return None if message is None else BuiltIn(message)
