"""What a daemon's containers may use: the spec's `resources` by kind of daemon."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from controller.runtime.quantities import quantity

if TYPE_CHECKING:
    from collections.abc import Mapping


def requirements(resources: Mapping[str, Mapping[str, Any]], *keys: str) -> dict[str, Any]:
    """The container resources of the first of `keys` that the spec's `resources` has; empty: none are set."""
    for key in keys:
        if resources.get(key):
            return dict(resources[key])
    return {}


def memory_bytes(container_resources: Mapping[str, Any]) -> int | None:
    """The memory limit in bytes; None where there is none."""
    amount = (container_resources.get("limits") or {}).get("memory")
    number = None if amount is None else quantity(amount)
    return None if number is None else int(number)
