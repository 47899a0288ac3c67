"""Sizes of volumes, to and from quantities."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.framework.quantities import MIB, quantity, round_up, storage_bytes


@pytest.mark.parametrize(
    ("found", "expected"),
    [({"storage": "1Gi"}, 1 << 30), ({"storage": 5}, 5), ({"storage": "0.5"}, 1), ({"cpu": "1"}, 0), ({}, 0)],
)
def test_bytes_of_storage(found: dict[str, int | str], expected: int) -> None:
    assert storage_bytes(found) == expected


def test_what_is_no_quantity_is_named() -> None:
    with pytest.raises(ValueError, match=r'storage is \'much\': expected a quantity such as "10Gi"'):
        storage_bytes({"storage": "much"})


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0"), (5, "5"), (300 * MIB, "300Mi"), (1 << 30, "1Gi"), (3 << 39, "1536Gi")]
)
def test_the_largest_unit_that_is_exact(size: int, text: str) -> None:
    assert quantity(size) == text


@given(st.integers(0, 1 << 60))
def test_nothing_is_lost_on_the_way_there_and_back(size: int) -> None:
    assert storage_bytes({"storage": quantity(size)}) == size
    assert size <= round_up(size) < size + MIB
    assert round_up(size) % MIB == 0
