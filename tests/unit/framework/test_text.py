"""What a person is told of an error."""

from __future__ import annotations

import pytest

from controller.framework.text import brief, cut, some


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        ("not permitted", "not permitted"),
        ("\n  mkfs.xfs: too  small\nUsage: mkfs.xfs\n[options]", "mkfs.xfs: too small"),
        (ValueError("x is 1\nTraceback"), "x is 1"),
        (TimeoutError(), "TimeoutError"),
        ("", ""),
        ("a" * 500, "a" * 399 + "…"),
    ],
)
def test_an_error_in_a_line(error: object, expected: str) -> None:
    assert brief(error) == expected


def test_of_many_things_some_are_named() -> None:
    assert some(["a", "b"], 2) == "a, b"
    assert some(["a", "b", "c", "d"], 2) == "a, b and 2 more"
    assert some([], 2) == ""


def test_what_is_cut_shows_that_it_is() -> None:
    assert cut("abc", 3) == "abc"
    assert cut("ab cd", 4) == "ab…"
