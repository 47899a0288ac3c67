"""What librbd's answers about clients and locks mean. What is done to images is tested with the backend."""

from __future__ import annotations

import pytest

from controller.ceph.access.clients import address_of
from controller.ceph.rbd.images import lost


@pytest.mark.parametrize(
    ("entity", "expected"),
    [
        ("10.0.0.1:0/123", "10.0.0.1"),
        ("v1:10.0.0.1:0/123", "10.0.0.1"),
        ("[fd00::1]:0/123", "fd00::1"),
        ("v2:[fd00::1]:0/123", "fd00::1"),
    ],
)
def test_addresses_of_clients(entity: str, expected: str) -> None:
    assert address_of(entity) == expected


@pytest.mark.parametrize(
    ("before", "watchers", "after", "expected"),
    [
        ({"10.0.0.1:0/1"}, {"10.0.0.2:0/2"}, {"10.0.0.1:0/1"}, {"10.0.0.1:0/1"}),
        ({"10.0.0.1:0/1"}, {"10.0.0.1:0/1"}, {"10.0.0.1:0/1"}, set()),
        ({"10.0.0.1:0/1"}, set(), set(), set()),
        (set(), set(), {"10.0.0.1:0/1"}, set()),
    ],
)
def test_owners_of_a_lock_that_are_lost(
    before: set[str], watchers: set[str], after: set[str], expected: set[str]
) -> None:
    assert lost(before, watchers, after) == expected
