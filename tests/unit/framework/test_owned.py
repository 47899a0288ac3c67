"""Settings that are ours are set, put back and unset; others are left alone."""

from __future__ import annotations

import pytest

from controller.framework.owned import Changes, Owned, compare

SET, UNSET, LEFT = Changes(set=("a",), unset=()), Changes[str](set=(), unset=("a",)), Changes[str](set=(), unset=())


@pytest.mark.parametrize(
    ("wanted", "live", "owned", "changes"),
    [
        pytest.param("1G", None, None, SET, id="new"),
        pytest.param("1G", "1073741824", Owned("1G", "1073741824"), LEFT, id="spelled otherwise"),
        pytest.param("1G", "1G", None, SET, id="somebody else's until now"),
        pytest.param("2G", "1073741824", Owned("1G", "1073741824"), SET, id="asked otherwise"),
        pytest.param("1G", "5", Owned("1G", "1073741824"), SET, id="changed by somebody"),
        pytest.param("1G", None, Owned("1G", "1073741824"), SET, id="removed by somebody"),
        pytest.param("", None, Owned("", ""), SET, id="removed, though it was empty"),
        pytest.param(None, "1073741824", Owned("1G", "1073741824"), UNSET, id="left the spec"),
        pytest.param(None, None, Owned("1G", "1073741824"), UNSET, id="left the spec and is gone"),
        pytest.param(None, "1G", None, LEFT, id="somebody else's"),
    ],
)
def test_a_setting(wanted: str | None, live: str | None, owned: Owned | None, changes: Changes[str]) -> None:
    def of[T](value: T | None) -> dict[str, T]:
        return {} if value is None else {"a": value}

    assert compare(of(wanted), of(live), of(owned)) == changes


def test_what_the_system_moves_on_is_not_put_back() -> None:
    owned = {"a": Owned("16", "")}
    assert compare({"a": "16"}, {"a": "64"}, owned, followed={"a"}) == LEFT
    assert compare({"a": "32"}, {"a": "64"}, owned, followed={"a"}) == SET


def test_records_may_be_digests() -> None:
    owned = {"a": Owned("olleh", "dlrow")}
    assert compare({"a": "hello"}, {"a": "world"}, owned, kept_as=lambda value: value[::-1]) == LEFT
    assert compare({"a": "hello"}, {"a": "there"}, owned, kept_as=lambda value: value[::-1]) == SET


def test_settings_are_set_in_the_order_in_which_they_are_wanted() -> None:
    assert compare({"b": "1", "a": "2"}, {}, {}).set == ("b", "a")
