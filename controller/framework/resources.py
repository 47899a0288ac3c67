"""What a daemon's containers may use: the spec's `resources` by daemon, and quantities as numbers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

_QUANTITY = re.compile(r"([+-]?(?:\d+(?:\.\d*)?|\.\d+))([numkMGTPE]|[KMGTPE]i|[eE][+-]?\d+)?")
_SUFFIXES: Mapping[str, Decimal] = {
    "": Decimal(1),
    **{suffix: Decimal(10) ** power for suffix, power in zip("num", (-9, -6, -3), strict=True)},
    **{suffix: Decimal(1000) ** power for power, suffix in enumerate("kMGTPE", start=1)},
    **{f"{suffix}i": Decimal(1024) ** power for power, suffix in enumerate("KMGTPE", start=1)},
}


def requirements(resources: Mapping[str, Mapping[str, Any]], *keys: str) -> dict[str, Any]:
    """The container resources of the first of `keys` that the spec's `resources` has; empty: none are set."""
    for key in keys:
        if resources.get(key):
            return dict(resources[key])
    return {}


def parse_quantity(quantity: int | str) -> Decimal:
    """A Kubernetes quantity such as "1536Mi", "1.5Gi" or "250m" as a number of bytes, cores or pieces.

    Raises:
        ValueError: It is not a quantity.
    """
    match = _QUANTITY.fullmatch(str(quantity).strip())
    if match is None:
        raise ValueError(f'{quantity!r} is not a quantity: expected a number with a suffix such as "512Mi" or "250m"')
    number, suffix = match.group(1), match.group(2) or ""
    if suffix[:1] in ("e", "E") and len(suffix) > 1 and not suffix.endswith("i"):
        return Decimal(number + suffix)
    return Decimal(number) * _SUFFIXES[suffix]


def memory_bytes(container_resources: Mapping[str, Any], kind: str = "limits") -> int | None:
    """The memory limit (or, by `kind`, request) in bytes, or None when there is none."""
    quantity = container_resources.get(kind, {}).get("memory")
    return None if quantity is None else int(parse_quantity(quantity))
