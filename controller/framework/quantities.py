"""Sizes of volumes: bytes to and from Kubernetes quantities."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING

from controller.runtime.quantities import quantity as parse

if TYPE_CHECKING:
    from collections.abc import Mapping

MIB = 1 << 20
GIB = 1 << 30
_SUFFIXES = (("Ei", 1 << 60), ("Pi", 1 << 50), ("Ti", 1 << 40), ("Gi", 1 << 30), ("Mi", 1 << 20), ("Ki", 1 << 10))


def storage_bytes(quantities: Mapping[str, int | str]) -> int:
    """Bytes of the key "storage", rounded up; 0 when it is not set.

    Raises:
        ValueError: It is not a quantity.
    """
    found = quantities.get("storage", 0)
    number = parse(found)
    if number is None:
        raise ValueError(f'storage is {found!r}: expected a quantity such as "10Gi"')
    return ceil(number)


def round_up(size: int) -> int:
    """The next whole MiB."""
    return -(-size // MIB) * MIB


def quantity(size: int) -> str:
    """Bytes as a quantity, with the largest binary suffix that is exact."""
    for suffix, unit in _SUFFIXES:
        if size and size % unit == 0:
            return f"{size // unit}{suffix}"
    return str(size)
