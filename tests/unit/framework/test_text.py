"""What a person is told of an error."""

from __future__ import annotations

import pytest

from controller.framework.text import brief


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
