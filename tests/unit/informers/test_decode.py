"""Views of protobuf are what views of JSON of the same object are."""

import enum
from datetime import datetime
from random import Random
from typing import Annotated, Any, Literal

import msgspec
import orjson
import pytest

from controller.runtime import kube
from controller.testkit import protobuf
from informers import JsonObject, Resource
from informers.decode import decoder
from informers.schema import Field, schema
from tests.unit.informers.widgets import KIND as WIDGET

VALUES: dict[str, tuple[Any, ...]] = {
    "string": ("", "a", "ä€😍"),
    "int": (0, 1, -1, 2**63 - 1, -(2**63)),
    "bool": (False, True),
    "bytes": ("", "AAH/", "YQ=="),
    "Time": ("2026-01-02T03:04:05Z", "1970-01-01T00:00:00Z", "1900-12-31T23:59:59Z"),
    "MicroTime": ("2026-01-02T03:04:05.000007Z", "1970-01-01T00:00:00.000000Z"),
    "Quantity": ("1", "500m", "10Gi"),
    "IntOrString": (0, 7, "25%"),
    "Raw": ({}, {"any": [1, None, "x"]}),
}


def sample(message: str, random: Random, depth: int = 0) -> JsonObject:
    """JSON as a server would send it for a message: what it may leave out is there or not."""
    obj: JsonObject = {}

    def one(field: Field) -> Any:
        if field.type in VALUES:
            return random.choice(VALUES[field.type])
        return sample(field.type, random, depth + 1)

    for field in schema().messages[message]:
        if field.presence == "inline":
            obj |= sample(field.type, random, depth)
            continue
        value: Any = None
        if field.presence == "required" or random.random() < 0.9 - depth * 0.1:
            count = random.choice((0, 1, 2))
            if field.shape == "one":
                value = one(field)
            elif field.shape == "many":
                value = [one(field) for _ in range(count)] or None
            else:
                value = {random.choice("abc"): one(field) for _ in range(count)} or None
        kept = {
            "required": field.shape != "one" or value is not None,
            "nullable": True,
            "optional": value is not None,
            "nonzero": bool(value),
        }
        if kept[field.presence]:
            obj[field.name] = value
    return obj


def whole(kind: str, obj: JsonObject) -> tuple[JsonObject, bytes]:
    """The object with its kind, and as protobuf."""
    api_version, _, name = kind.rpartition("/")
    return {"kind": name, "apiVersion": api_version, **obj}, protobuf.encode(obj, kind)


def test_a_null_is_as_good_as_nothing() -> None:
    read = decoder(kube.Pod, "v1/Pod")
    pod = {
        "metadata": {"name": "a", "labels": None},
        "spec": {"nodeName": "n", "containers": None},
        "status": {"conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": None}]},
    }

    found = read(orjson.dumps(pod))

    assert (found.metadata.name, found.metadata.labels, found.spec.node_name) == ("a", {}, "n")
    assert found.spec.containers == ()
    assert found.status.conditions[0].status == "True"
    with pytest.raises(msgspec.ValidationError, match="nodeName"):
        read(orjson.dumps({"spec": {"nodeName": 1}}))


@pytest.mark.parametrize("kind", sorted(schema().kinds))
def test_whole_objects(kind: str) -> None:
    decode = decoder(dict, kind)
    for seed in range(3):
        expected, data = whole(kind, sample(schema().kinds[kind], Random(seed)))  # noqa: S311
        assert decode(data) == expected
        assert decode(orjson.dumps(expected)) == expected


class Level(enum.StrEnum):
    LOW = "low"
    HIGH = "high"


type Maybe[T] = T | None


class Strict(msgspec.Struct):
    name: str
    namespace: Maybe[str] = None
    generation: int = 7
    labels: dict[str, str] = msgspec.field(default_factory=lambda: {"none": ""})
    creation_timestamp: datetime | None = msgspec.field(name="creationTimestamp", default=None)
    uid: Annotated[str, msgspec.Meta(max_length=3)] = "none"
    finalizers: frozenset[str] = frozenset()


class Spec(msgspec.Struct, rename="camel"):
    node: Level = Level.LOW
    number: Literal[1, 2] | None = None


class Widget(msgspec.Struct, rename="camel"):
    metadata: Strict
    spec: Spec = msgspec.field(default_factory=Spec)
    api_version: str = ""
    not_there: int = 5


@pytest.mark.parametrize(
    "obj",
    [
        {"metadata": {"name": "a"}, "spec": {}},
        {
            "metadata": {"name": "a", "namespace": "b", "generation": 3, "labels": {"a": "b"}, "uid": "u"},
            "spec": {"node": "high"},
        },
        {"metadata": {"name": "a", "creationTimestamp": "2026-01-02T03:04:05Z"}, "spec": {"number": 2}},
        {"metadata": {"name": "a", "finalizers": ["x", "y"]}, "spec": {"number": 1, "node": "low"}},
    ],
)
def test_annotations_and_defaults_of_all_sorts(obj: JsonObject) -> None:
    decode = decoder(Widget, WIDGET)
    expected, data = whole(WIDGET, obj)
    assert decode(data) == decode(orjson.dumps(expected))
    assert decode(data).api_version == "example.org/v1"


@pytest.mark.parametrize(
    "obj",
    [
        {"metadata": {}, "spec": {}},
        {"metadata": {"name": "a", "uid": "too long"}, "spec": {}},
        {"metadata": {"name": "a"}, "spec": {"node": "middling"}},
        {"metadata": {"name": "a"}, "spec": {"number": 3}},
    ],
)
def test_what_a_view_refuses_in_json_it_refuses_in_protobuf(obj: JsonObject) -> None:
    decode = decoder(Widget, WIDGET)
    expected, data = whole(WIDGET, obj)
    for found in (data, orjson.dumps(expected)):
        with pytest.raises(msgspec.ValidationError):
            decode(found)


class Free(msgspec.Struct, rename="camel"):
    spec: dict[str, Any]
    metadata: Any = None


def test_parts_of_a_view_may_be_plain_json() -> None:
    obj: JsonObject = {"metadata": {"name": "a", "labels": {"b": "c"}}, "spec": {"number": 5}}
    decode = decoder(Free, WIDGET)
    assert decode(whole(WIDGET, obj)[1]) == Free(**obj)


def without_nulls(value: Any) -> Any:
    """A server's null for an empty list, which a view has no place for, is its default in protobuf."""
    if isinstance(value, list):
        return [without_nulls(item) for item in value]
    if isinstance(value, dict):
        return {key: without_nulls(item) for key, item in value.items() if item is not None}
    return value


def views() -> list[tuple[Resource, type[msgspec.Struct]]]:
    return [
        (resource, getattr(kube, {"CSINode": "CsiNode"}.get(resource.kind, resource.kind)))
        for resource in kube.BUILT_IN.values()
        if resource is not kube.CSI_DRIVER
    ]


@pytest.mark.parametrize(("resource", "view"), views(), ids=lambda found: str(found))
def test_views_of_kinds(resource: Resource, view: type[msgspec.Struct]) -> None:
    kind = f"{resource.api_version}/{resource.kind}"
    decode = decoder(view, kind)
    for seed in range(20):
        expected, data = whole(kind, without_nulls(sample(schema().kinds[kind], Random(seed))))  # noqa: S311
        assert decode(data) == decode(orjson.dumps(expected))


def test_views_name_fields_that_there_are() -> None:
    """Of the kinds that a Struct stands for, at least one has the field."""
    named: dict[tuple[type, str], bool] = {}

    def flat(message: str) -> dict[str, Field]:
        found: dict[str, Field] = {}
        for field in schema().messages[message]:
            found |= flat(field.type) if field.presence == "inline" else {field.name: field}
        return found

    def check(message: str, annotation: msgspec.inspect.Type) -> None:
        match annotation:
            case msgspec.inspect.UnionType(types=types):
                for found in types:
                    check(message, found)
            case msgspec.inspect.VarTupleType(item_type=item) | msgspec.inspect.ListType(item_type=item):
                check(message, item)
            case msgspec.inspect.DictType(value_type=item):
                check(message, item)
            case msgspec.inspect.StructType(cls=struct, fields=fields):
                known = flat(message)
                for field in fields:
                    there = field.encode_name in known
                    first = next(base for base in reversed(struct.__mro__) if field.name in base.__dict__)
                    origin = (first, field.encode_name)
                    named[origin] = there or named.get(origin, False)
                    if there and known[field.encode_name].type in schema().messages:
                        check(known[field.encode_name].type, field.type)

    for resource, view in views():
        check(schema().kinds[f"{resource.api_version}/{resource.kind}"], msgspec.inspect.type_info(view))
    assert [f"{struct.__name__}.{name}" for (struct, name), there in named.items() if not there] == []
