"""How specs are read: what a null, a zero and an unknown field mean."""

from typing import Annotated

import msgspec
import pytest

from controller.apis.ceph import CephBlockPool, CephCluster
from controller.apis.ceph.cluster import CephExporterSpec, MonSpec
from controller.apis.meta import Condition, Nullable, ObjectMeta, Schema, SpecStruct


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


def test_a_spec_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        MonSpec().count = 5  # type: ignore[misc]
