"""Fields that are set but not served."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from controller.apis.meta import Nullable, SpecStruct
from controller.apis.served import Honoured, Moot, only
from controller.framework.honoured import MAX_NAMED, condition, unhonoured


class Item(SpecStruct, frozen=True, kw_only=True):
    a: int = 0
    b: int = 0


class Switch(SpecStruct, frozen=True, kw_only=True):
    enabled: bool = False
    ssl: bool | None = None
    port: int = 0


class Deep(SpecStruct, frozen=True, kw_only=True):
    port: int = 9926
    inner: Nullable[Item] = Item()


class Spec(SpecStruct, frozen=True, kw_only=True):
    served: dict[str, Any] = msgspec.field(default_factory=dict)
    partly: dict[str, Any] = msgspec.field(default_factory=dict)
    list: Nullable[tuple[Item, ...]] = ()
    map: dict[str, dict[str, int]] = msgspec.field(default_factory=dict)
    config: dict[str, str] = msgspec.field(default_factory=dict)
    resources: dict[str, Any] = msgspec.field(default_factory=dict)
    switch: Switch = Switch()
    deep: Nullable[Deep] = Deep()
    inherited: bool | None = None
    minutes: int = 10
    interval: float | None = None
    other: bool = False
    moot: str = ""


TREE: dict[str, Honoured] = {
    "served": None,
    "partly": {"yes": None},
    "list": {"a": None},
    "map": {"*": {"known": None}},
    "config": {"perDevice": only("1"), "encrypted": only("false")},
    "resources": {"osd": None, "osd-*": None},
    "moot": Moot("the field that it belongs to is named"),
}


@pytest.mark.parametrize(
    ("spec", "paths"),
    [
        ({}, ()),
        ({"served": {"anything": {"below": 1}}}, ()),
        ({"partly": {"yes": 1, "no": 2}}, ("partly.no",)),
        ({"other": True, "partly": {"no": 2}}, ("other", "partly.no")),
        ({"list": [{"a": 1}, {"a": 1, "b": 2}]}, ("list[1].b",)),
        ({"map": {"x": {"known": 1}, "y": {"strange": 1}}}, ("map.y.strange",)),
        ({"resources": {"osd-ssd": {"a": 1}, "osdx": {"a": 1}}}, ("resources.osdx",)),
        ({"moot": "x"}, ()),
        ({"unknown": "x"}, ("unknown",)),
        ({"deep": {"port": 1, "inner": {"a": 1}}}, ("deep.port", "deep.inner.a")),
    ],
)
def test_paths(spec: dict[str, Any], paths: tuple[str, ...]) -> None:
    assert unhonoured(spec, TREE, Spec) == paths


@pytest.mark.parametrize(
    "spec",
    [
        {"other": False, "minutes": 10},
        {"minutes": 0},
        {"deep": {"port": 9926, "inner": {"a": 0}}},
        {"deep": None, "inherited": None},
        {"switch": {"enabled": False, "ssl": False, "port": 7000}},
        {"switch": {"ssl": False}},
        {"config": {"perDevice": "1", "encrypted": "false"}},
        {"partly": {"no": {}}, "list": [{}]},
    ],
)
def test_what_it_would_be_anyway_asks_for_nothing(spec: dict[str, Any]) -> None:
    assert unhonoured(spec, TREE, Spec) == ()


@pytest.mark.parametrize(
    ("spec", "paths"),
    [
        ({"inherited": False}, ("inherited",)),
        ({"interval": 0}, ("interval",)),
        ({"minutes": 11}, ("minutes",)),
        ({"switch": {"enabled": True, "ssl": False}}, ("switch.enabled", "switch.ssl")),
        ({"config": {"perDevice": "2"}}, ("config.perDevice=2",)),
        ({"config": {"strange": "false"}}, ("config.strange",)),
    ],
)
def test_a_value_that_means_something_is_named_though_it_is_false_or_zero(
    spec: dict[str, Any], paths: tuple[str, ...]
) -> None:
    assert unhonoured(spec, TREE, Spec) == paths


def test_the_condition_names_what_is_lost_and_what_is_missing_by_default() -> None:
    assert condition((), (), 3).status == "True"
    missing = condition((), ("crash collectors",), 3)
    assert (missing.status, missing.observed_generation) == ("True", 3)
    assert "crash collectors" in missing.message
    lost = condition(("a.b",), (), 3)
    assert (lost.status, lost.reason) == ("False", "FieldsNotServed")
    assert "a.b" in lost.message


def test_a_condition_of_many_fields_counts_those_that_it_does_not_name() -> None:
    message = condition([f"f{i}" for i in range(MAX_NAMED + 3)], (), 1).message
    assert message.endswith("f19 and 3 more")
    message = condition((), (), 1, invalid=[f"v{i}" for i in range(MAX_NAMED + 3)]).message
    assert message.endswith("; v19; and 3 more")
