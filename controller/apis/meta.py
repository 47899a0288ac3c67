"""What all kinds are made of: struct bases, object metadata, conditions, and the vocabulary of schema constraints.

A kind is a msgspec Struct. Its field names become the wire's camelCase names, the string below a field becomes its
description, and a `Schema` in the field's annotation becomes its constraints. The API server enforces constraints;
decoding is lenient on purpose, so that an object stored under another version of the CRD can still be read.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING, Annotated, Any

import msgspec

type JsonObject = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Column:
    """A column that `kubectl get` prints: its heading, the JSON path, and the type of the value there.

    A `priority` above zero shows the column in the wide output only.
    """

    name: str
    json_path: str
    type: str = "string"
    priority: int = 0
    description: str = ""


@dataclass(frozen=True, slots=True)
class Scale:
    """The JSON paths by which `kubectl scale` and autoscalers change and see how many there are of something."""

    wanted: str
    present: str
    selector: str


@dataclass(frozen=True, slots=True)
class Kind:
    """Identity of a kind of object, how kubectl names and lists it, and what of it can be scaled."""

    group: str
    version: str
    kind: str
    plural: str
    short_names: tuple[str, ...] = ()
    namespaced: bool = True
    columns: tuple[Column, ...] = ()
    scale: Scale | None = None

    @property
    def api_version(self) -> str:
        """The `apiVersion` of such an object."""
        return f"{self.group}/{self.version}"

    @property
    def crd_name(self) -> str:
        """The name of its CustomResourceDefinition."""
        return f"{self.plural}.{self.group}"


@dataclass(frozen=True, slots=True)
class Rule:
    """A CEL expression that has to hold, and what the user is told when it does not."""

    rule: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Schema:
    """Constraints of a field, named and meant as in an OpenAPI v3 structural schema.

    `required` belongs to the field's parent there; a required field still has a Python default, so that decoding an
    object that was stored before the field was required does not fail. `default` is written into stored objects by the
    API server, which a Python default is not.
    """

    required: bool = False
    nullable: bool = False
    default: Any = msgspec.UNSET
    enum: tuple[str, ...] = ()
    minimum: int | None = None
    maximum: int | None = None
    min_length: int | None = None
    max_length: int | None = None
    min_items: int | None = None
    max_items: int | None = None
    max_properties: int | None = None
    pattern: str = ""
    format: str = ""
    int_or_string: bool = False
    preserve_unknown: bool = False
    list_type: str = ""
    list_map_keys: tuple[str, ...] = ()
    rules: tuple[Rule, ...] = ()
    like: type[msgspec.Struct] | None = None
    """The type whose schema the field has, though it is decoded as plain JSON and handed on as the user wrote it."""


if TYPE_CHECKING:
    # For who reads a spec: a null was replaced by the field's default when the object was decoded.
    type Nullable[T] = T
else:
    # For msgspec and the schema generator: the wire may carry a null here, and the API server keeps it.
    type Nullable[T] = Annotated[T | None, Schema(nullable=True)]

QUANTITY_PATTERN = (
    r"^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))"
    r"(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))))?$"
)
"""What Kubernetes accepts as a resource quantity."""

Quantity = Annotated[int | str, Schema(int_or_string=True, pattern=QUANTITY_PATTERN)]
"""A Kubernetes resource quantity: "10Gi", "500m", or a plain number."""

Int32 = Annotated[int, Schema(format="int32")]
Int64 = Annotated[int, Schema(format="int64")]
Timestamp = Annotated[str, Schema(format="date-time")]
"""An RFC 3339 time, kept as text: it is shown, compared for equality, and seldom computed with."""


class ApiStruct(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True, gc=False):
    """Base of all types on the wire: immutable, camelCase names, and unset fields left out when encoded.

    What comes from JSON has no cycles, so that Python's garbage collector need not look through it.
    A field of a type that we write has the zero of its type as default, so that nothing of meaning is left out.
    """


class SpecStruct(ApiStruct, frozen=True, kw_only=True):
    """Base of what users write: a null, an empty string or the number zero asks for the field's default.

    That is how upstream's Go types read the same YAML. A field whose default the API server fills in keeps its zero,
    since there a user's zero is told apart from nothing. A boolean keeps its false.
    """

    def __post_init__(self) -> None:
        for stand_in in _stand_ins(type(self)):
            value = getattr(self, stand_in.field)
            if value is None or (stand_in.for_zero and not value):
                msgspec.structs.force_setattr(self, stand_in.field, stand_in.make())


@dataclass(frozen=True, slots=True)
class _StandIn:
    """The default of a field, which takes the place of a null, and `for_zero` also that of a zero or empty string."""

    field: str
    make: Callable[[], Any]
    for_zero: bool = False


@cache
def _stand_ins(struct: type[msgspec.Struct]) -> tuple[_StandIn, ...]:
    found: list[_StandIn] = []
    for field in msgspec.structs.fields(struct):
        if field.default_factory is not msgspec.NODEFAULT:
            found.append(_StandIn(field.name, field.default_factory))
        elif field.default is not None and field.default is not msgspec.NODEFAULT:
            is_scalar = isinstance(field.default, int | float | str) and not isinstance(field.default, bool)
            for_zero = is_scalar and not _has_server_default(field.type)
            found.append(_StandIn(field.name, partial(_same, field.default), for_zero))
    return tuple(found)


def _same(value: Any) -> Any:
    return value


def _has_server_default(annotation: Any) -> bool:
    markers = getattr(annotation, "__metadata__", ())
    return any(isinstance(m, Schema) and m.default is not msgspec.UNSET for m in markers)


class ResourceRequirements(SpecStruct, frozen=True, kw_only=True):
    """Requests and limits of a container."""

    limits: Nullable[dict[str, Quantity]] = msgspec.field(default_factory=dict)
    """What it may use at most, by resource: cpu, memory, and so on."""
    requests: Nullable[dict[str, Quantity]] = msgspec.field(default_factory=dict)
    """What is set aside for it."""


type Resources = Annotated[JsonObject, Schema(preserve_unknown=True, like=ResourceRequirements)]
"""Requests and limits as the user wrote them."""


class OwnerReference(ApiStruct, frozen=True, kw_only=True):
    """An object that this one belongs to. `controller`: the one that manages it."""

    api_version: str = ""
    kind: str = ""
    name: str = ""
    uid: str = ""
    controller: bool = False
    block_owner_deletion: bool = False


class ObjectMeta(ApiStruct, frozen=True, kw_only=True):
    """The part of an object's metadata that controllers use. Times are RFC 3339 text, None when not set."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    labels: dict[str, str] = msgspec.field(default_factory=dict)
    annotations: dict[str, str] = msgspec.field(default_factory=dict)
    finalizers: tuple[str, ...] = ()
    owner_references: tuple[OwnerReference, ...] = ()
    creation_timestamp: str | None = None
    deletion_timestamp: str | None = None


class Condition(ApiStruct, frozen=True, kw_only=True):
    """One aspect of an object's state: `metav1.Condition`, and the heartbeat time that upstream's clients know."""

    type: Annotated[str, Schema(required=True)] = ""
    """The aspect, in CamelCase."""
    status: Annotated[str, Schema(required=True, enum=("True", "False", "Unknown"))] = ""
    """Whether it holds."""
    observed_generation: Annotated[int, Schema(format="int64", minimum=0)] = 0
    """The metadata.generation that this was found for; older than the object's: out of date."""
    last_transition_time: Timestamp = ""
    """When the status last changed."""
    last_heartbeat_time: Timestamp = ""
    """When the condition was last looked at, where an earlier operator wrote it."""
    reason: str = ""
    """Why, as one CamelCase word for programs."""
    message: str = ""
    """Why, in words for people."""
