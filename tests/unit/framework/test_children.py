"""Children: what is seen of them is of one moment, and decoded only where it is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from controller.framework.children import Snapshot, altered, is_held
from controller.runtime.altered import Held

if TYPE_CHECKING:
    from collections.abc import Callable

    from informers import JsonObject


def counted(name: str, decoded: list[str]) -> Callable[[], JsonObject]:
    def decode() -> JsonObject:
        decoded.append(name)
        return {"kind": "Toy", "metadata": {"name": name}}

    return decode


def test_objects_are_decoded_when_they_are_asked_for() -> None:
    decoded: list[str] = []
    live = Snapshot()
    for name in ("a", "b", "c"):
        live.add("Toy", name, counted(name, decoded))
    assert ("Toy", "a") in live
    assert ("Toy", "d") not in live
    assert list(live) == [("Toy", "a"), ("Toy", "b"), ("Toy", "c")]
    assert len(live) == 3
    assert not is_held(live, ("Toy", "a"))
    assert altered(live) == ()
    assert decoded == []
    assert live["Toy", "b"] == live.get(("Toy", "b"))
    assert decoded == ["b", "b"]
    with pytest.raises(KeyError):
        live["Toy", "d"]
    assert live == {("Toy", name): {"kind": "Toy", "metadata": {"name": name}} for name in ("a", "b", "c")}


def test_what_is_not_to_be_applied_again_yet() -> None:
    decoded: list[str] = []
    live = Snapshot()
    live.add("Toy", "a", counted("a", decoded))
    held = Held({"kind": "Toy"}, "digest", None, "spec.image differs")
    live.hold("Toy", "b", held)
    assert live["Toy", "b"] is held
    assert [is_held(live, ("Toy", name)) for name in ("a", "b", "d")] == [False, True, False]
    assert altered(live) == altered({("Toy", "b"): held}) == ("Toy b: spec.image differs",)
    assert decoded == []
