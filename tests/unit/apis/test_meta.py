"""How specs are read: what a null, a zero and an unknown field mean."""

from typing import Annotated, TypeAliasType, get_args

import msgspec
import pytest

from controller.apis.ceph import CephBlockPool, CephBlockPoolStatus, CephCluster, CephClusterStatus
from controller.apis.ceph.cluster import CephExporterSpec
from controller.apis.ceph.mon import MonSpec
from controller.apis.meta import Condition, Nullable, ObjectMeta, Schema, SpecStruct
from controller.apis.schema import fields_of


class Inner(SpecStruct, frozen=True, kw_only=True):
    size: int = 3


class Sample(SpecStruct, frozen=True, kw_only=True):
    inner: Nullable[Inner] = Inner()
    names: Nullable[dict[str, str]] = msgspec.field(default_factory=dict)
    count: int = 3
    text: str = "host"
    enabled: bool = True
    maybe: bool | None = None
    filled_in: Annotated[int, Schema(default=5)] = 5


@pytest.mark.parametrize(
    ("wire", "wanted"),
    [
        (b"{}", Sample()),
        (b'{"inner": null, "names": null}', Sample()),
        (b'{"count": 0, "text": ""}', Sample()),
        (b'{"count": 1, "text": "osd"}', Sample(count=1, text="osd")),
        (b'{"enabled": false, "maybe": false}', Sample(enabled=False, maybe=False)),
        (b'{"inner": {"size": 0}}', Sample()),
    ],
    ids=["absent", "null", "zero", "set", "false", "zero below"],
)
def test_reads_null_and_zero_as_the_default(wire: bytes, wanted: Sample) -> None:
    assert msgspec.json.decode(wire, type=Sample) == wanted


def test_keeps_a_zero_where_the_api_server_fills_in_the_default() -> None:
    assert msgspec.json.decode(b'{"filledIn": 0}', type=Sample).filled_in == 0
    assert msgspec.json.decode(b'{"perfCountersPrioLimit": 0}', type=CephExporterSpec).perf_counters_prio_limit == 0


def test_maps_that_were_null_are_not_shared_between_objects() -> None:
    first, second = (msgspec.json.decode(b'{"names": null}', type=Sample) for _ in range(2))

    assert first.names is not second.names


def test_ignores_fields_that_it_does_not_know() -> None:
    assert msgspec.json.decode(b'{"fromTheFuture": {"a": 1}}', type=Sample) == Sample()


def test_reads_an_object_that_breaks_a_constraint_of_its_schema() -> None:
    assert msgspec.json.decode(b'{"count": 99}', type=MonSpec).count == 99


def test_names_the_field_whose_type_is_wrong() -> None:
    with pytest.raises(msgspec.ValidationError, match=r"Expected `int`, got `str` - at `\$.spec.mon.count`"):
        msgspec.json.decode(b'{"spec": {"mon": {"count": "three"}}}', type=CephCluster)


def test_a_cluster_with_nothing_but_nulls_is_one_with_defaults() -> None:
    fields = msgspec.structs.fields(CephCluster().spec)
    wire = msgspec.json.encode({"spec": {field.encode_name: None for field in fields if _takes_null(field)}})

    assert msgspec.json.decode(wire, type=CephCluster) == CephCluster()


def _takes_null(field: msgspec.structs.FieldInfo) -> bool:
    return "Nullable" in repr(field.type)


@pytest.mark.parametrize("kind", [CephCluster, CephBlockPool])
def test_an_object_is_encoded_with_its_type(kind: type[CephCluster | CephBlockPool]) -> None:
    encoded = msgspec.to_builtins(kind(metadata=ObjectMeta(name="a", namespace="b")))

    assert encoded["apiVersion"] == "ceph.rook.io/v1"
    assert encoded["kind"] == kind.__name__
    assert encoded["metadata"] == {"name": "a", "namespace": "b"}


def test_a_status_is_encoded_without_what_is_not_set() -> None:
    ready = Condition(type="Ready", status="True", observed_generation=3, reason="ReconcileSucceeded")

    assert msgspec.to_builtins(ready) == {
        "type": "Ready",
        "status": "True",
        "observedGeneration": 3,
        "reason": "ReconcileSucceeded",
    }


@pytest.mark.parametrize("status", [CephClusterStatus, CephBlockPoolStatus])
def test_nothing_of_a_status_is_left_out_that_means_something(status: type[msgspec.Struct]) -> None:
    """Unset fields are not encoded, so a default that is not a zero could not be told from nothing."""
    assert msgspec.to_builtins(status()) == {}
    for struct in structs_below(status):
        for field in msgspec.structs.fields(struct):
            if isinstance(field.default, str | int | float):
                assert not field.default, f"{struct.__name__}.{field.name}"


def structs_below(struct: type[msgspec.Struct]) -> set[type[msgspec.Struct]]:
    found = {struct}
    for field in fields_of(struct):
        for annotation in (field.type, *inner_types(field.type)):
            if isinstance(annotation, type) and issubclass(annotation, msgspec.Struct):
                found |= structs_below(annotation)
    return found


def inner_types(annotation: object) -> list[object]:
    inner = list(get_args(annotation))
    if isinstance(annotation, TypeAliasType):
        inner.append(annotation.__value__)
    return inner + [type_ for child in inner for type_ in inner_types(child)]


def test_a_spec_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        MonSpec().count = 5  # type: ignore[misc]
