"""Fields that are set but not served."""

from __future__ import annotations

from typing import Any

import pytest

from controller.framework.honoured import Honoured, unhonoured

TREE: dict[str, Honoured] = {
    "served": None,
    "partly": {"yes": None, "list": {"a": None}},
    "map": {"*": {"known": None}},
}


@pytest.mark.parametrize(
    ("spec", "paths"),
    [
        ({}, ()),
        ({"served": {"anything": {"below": 1}}}, ()),
        ({"partly": {"yes": 1, "no": 2}}, ("partly.no",)),
        ({"other": 1, "partly": {"no": 2}}, ("other", "partly.no")),
        ({"partly": {"list": [{"a": 1}, {"a": 1, "b": 2}]}}, ("partly.list[1].b",)),
        ({"map": {"x": {"known": 1}, "y": {"strange": 1}}}, ("map.y.strange",)),
        ({"other": False, "more": 0, "some": "", "empty": {}, "none": None}, ()),
        ({"other": {"enabled": False, "names": [], "deep": [{"x": 0}]}}, ()),
        ({"other": {"enabled": False, "deep": [{"x": 1}]}}, ("other",)),
    ],
)
def test_paths(spec: dict[str, Any], paths: tuple[str, ...]) -> None:
    assert unhonoured(spec, TREE) == paths
