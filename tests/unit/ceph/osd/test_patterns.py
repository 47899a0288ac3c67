"""Regular expressions are Go's."""

from __future__ import annotations

import pytest

from controller.ceph.osd.patterns import PatternError, matches, pattern_problem


@pytest.mark.parametrize(
    ("pattern", "text", "found"),
    [
        ("^sd[b-d]", "sdb", True),
        ("^sd[b-d]", "sda", False),
        ("db", "sdb", True),
        (r"^sd[a-z]\z", "sdb", True),
        ("^sd[[:alpha:]]$", "sdb", True),
        ("^(?i)SDB$", "sdb", True),
        (r"^\Qvg.lv\E$", "vg.lv", True),
        (r"^\Qvg.lv\E$", "vg-lv", False),
        (r"^nvme\dn\d$", "nvme\u0660n1", False),
    ],
)
def test_patterns_mean_what_they_mean_in_go(pattern: str, text: str, found: bool) -> None:
    assert matches(pattern, text) is found


@pytest.mark.parametrize("pattern", ["[", "(", "(?=sd)", r"(a)\1", "(?!sda)"])
def test_what_is_none_in_go_is_named(pattern: str) -> None:
    with pytest.raises(PatternError, match="is not a regular expression of Go's"):
        matches(pattern, "sdb")
    assert pattern_problem("storage.deviceFilter", pattern).startswith(f"storage.deviceFilter: {pattern!r}")


def test_a_pattern_that_takes_ages_elsewhere_does_not_hold_anybody_up() -> None:
    assert not matches("(a*)*b$", "a" * 5000)
