"""The structural schema of each construct that a type may have, and that nothing else becomes one."""

from typing import Annotated, Any

import msgspec
import pytest

from controller.apis.ceph import CEPH_OBJECT_STORE, CephObjectStore
from controller.apis.crd import crd
from controller.apis.meta import (
    QUANTITY_PATTERN,
    ApiStruct,
    Int64,
    JsonObject,
    Nullable,
    ObjectMeta,
    Quantity,
    Rule,
    Schema,
)
from controller.apis.registry import KINDS
from controller.apis.schema import schema_of
from controller.apis.served import Moot, mark, only


class Base(ApiStruct, frozen=True, kw_only=True):
    """A base."""

    first: str = ""
    """What the base
    describes."""
    undescribed: int = 0


class Derived(Base, frozen=True, kw_only=True):
    """A struct.

    With a second paragraph.
    """

    port: Annotated[int, Schema(minimum=0, maximum=65535)] = 9283
    """A port."""
    named: str = msgspec.field(name="otherName", default="")
    """Renamed."""
    needed: Annotated[int, Schema(required=True)] = 1
    """Required."""


INTEGER_OR_STRING = {"anyOf": [{"type": "integer"}, {"type": "string"}], "x-kubernetes-int-or-string": True}


@pytest.mark.parametrize(
    ("annotation", "schema"),
    [
        (str, {"type": "string"}),
        (bool, {"type": "boolean"}),
        (int, {"type": "integer"}),
        (float, {"type": "number"}),
        (bool | None, {"type": "boolean"}),
        (Int64, {"type": "integer", "format": "int64"}),
        (Quantity, INTEGER_OR_STRING | {"pattern": QUANTITY_PATTERN}),
        (Quantity | None, INTEGER_OR_STRING | {"pattern": QUANTITY_PATTERN}),
        (tuple[str, ...], {"type": "array", "items": {"type": "string"}}),
        (dict[str, int], {"type": "object", "additionalProperties": {"type": "integer"}}),
        (JsonObject, {"type": "object"}),
        (ObjectMeta, {"type": "object"}),
        (Annotated[str | None, Schema(nullable=True)], {"type": "string", "nullable": True}),
        (Annotated[int, Schema(minimum=0)], {"type": "integer", "minimum": 0}),
        (Annotated[bool, Schema(default=False)], {"type": "boolean", "default": False}),
        (Annotated[str, Schema(default="")], {"type": "string", "default": ""}),
        (Annotated[str, Schema(enum=("", "a"))], {"type": "string", "enum": ["", "a"]}),
        (
            Annotated[JsonObject, Schema(preserve_unknown=True)],
            {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        ),
        (
            Annotated[str, Schema(rules=(Rule("self == oldSelf", "stays"),))],
            {"type": "string", "x-kubernetes-validations": [{"rule": "self == oldSelf", "message": "stays"}]},
        ),
        (
            Annotated[Annotated[str, Schema(pattern="^a")], Schema(min_length=1)],
            {"type": "string", "pattern": "^a", "minLength": 1},
        ),
    ],
)
def test_schema_of_one_construct(annotation: Any, schema: dict[str, Any]) -> None:
    assert schema_of(annotation) == schema


def test_schema_of_a_generic_alias() -> None:
    class Holder(ApiStruct, frozen=True, kw_only=True):
        """Holds."""

        ports: Nullable[dict[str, Int64]] = msgspec.field(default_factory=dict)

    assert schema_of(Holder)["properties"]["ports"] == {
        "type": "object",
        "additionalProperties": {"type": "integer", "format": "int64"},
        "nullable": True,
    }


def test_schema_of_a_struct_has_inherited_fields_wire_names_descriptions_and_defaults() -> None:
    assert schema_of(Derived) == {
        "type": "object",
        "description": "A struct.",
        "properties": {
            "first": {"type": "string", "description": "What the base describes."},
            "needed": {"type": "integer", "description": "Required."},
            "otherName": {"type": "string", "description": "Renamed."},
            "port": {"type": "integer", "minimum": 0, "maximum": 65535, "description": "A port. Default: 9283."},
            "undescribed": {"type": "integer"},
        },
        "required": ["needed"],
    }


@pytest.mark.parametrize("annotation", [set[str], Any, bytes, int | str])
def test_refuses_a_type_without_a_structural_schema(annotation: Any) -> None:
    with pytest.raises(TypeError, match="no structural schema for"):
        schema_of(annotation)


MAY_LACK_SPEC = {"CephObjectRealm"}
"""Kinds of which upstream's users write objects with a name alone."""


@pytest.mark.parametrize(("kind", "struct"), KINDS.items(), ids=lambda value: getattr(value, "crd_name", ""))
def test_a_crd_survives_uninstalling_and_has_what_kubectl_needs(kind: Any, struct: Any) -> None:
    definition = crd(kind, struct)
    version = definition["spec"]["versions"][0]

    assert definition["metadata"]["name"] == f"{kind.plural}.{kind.group}"
    assert definition["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    assert definition["spec"]["names"].get("shortNames", []) == list(kind.short_names)
    scaled = {"scale"} if kind.scale is not None else set()
    assert set(version.get("subresources", {})) == ({"status"} if hasattr(struct, "status") else set()) | scaled
    assert version["schema"]["openAPIV3Schema"]["required"] == [
        "metadata",
        *(["spec"] if hasattr(struct, "spec") and kind.kind not in MAY_LACK_SPEC else []),
    ]
    assert [column["name"] for column in version["additionalPrinterColumns"]] == [c.name for c in kind.columns]


def test_what_can_be_scaled_has_the_paths_for_it() -> None:
    version = crd(CEPH_OBJECT_STORE, CephObjectStore)["spec"]["versions"][0]

    assert version["subresources"]["scale"] == {
        "specReplicasPath": ".spec.gateway.instances",
        "statusReplicasPath": ".status.replicas",
        "labelSelectorPath": ".status.selector",
    }


def test_descriptions_say_what_is_not_served_and_which_values_are() -> None:
    def described(text: str, **more: Any) -> dict[str, Any]:
        return {"type": "object", "description": text, **more}

    inner = {"yes": described("A."), "no": described("B."), "some": described("C."), "moot": described("D.")}
    schema = described("S.", properties={"list": {"type": "array", "items": described("I.", properties=inner)}})
    marked = mark(schema, {"list": {"yes": None, "some": only("1", "2"), "moot": Moot("it is so anyway")}})
    found = {name: field["description"] for name, field in marked["properties"]["list"]["items"]["properties"].items()}
    assert found == {
        "yes": "A.",
        "no": "Not served. B.",
        "some": "C. Served: 1, 2.",
        "moot": "D. Without effect: it is so anyway.",
    }


def test_what_is_below_a_field_that_is_not_served_says_so_too() -> None:
    leaf = {"type": "string", "description": "L."}
    item = {"type": "object", "properties": {"leaf": leaf}}
    below = {"type": "object", "properties": {"list": {"type": "array", "items": item}}}
    schema = {"type": "object", "properties": {"map": {"type": "object", "additionalProperties": below}}}
    marked = mark(schema, {})["properties"]["map"]["additionalProperties"]["properties"]["list"]
    assert marked["description"] == "Not served."
    assert marked["items"]["properties"]["leaf"]["description"] == "Not served. L."
