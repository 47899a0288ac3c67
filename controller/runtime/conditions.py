"""Conditions of `metav1.Condition` form, so that `kubectl wait` and other tools understand a status unaided.

Source: https://github.com/kubernetes/community/blob/master/contributors/devel/sig-architecture/api-conventions.md
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from controller.apis.meta import Condition

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["Condition", "find_condition", "is_true", "remove_condition", "set_condition", "set_conditions"]


def find_condition(conditions: Iterable[Condition], type_: str) -> Condition | None:
    """The condition of that type, or None if there is none."""
    return next((c for c in conditions if c.type == type_), None)


def is_true(conditions: Iterable[Condition], type_: str) -> bool:
    """Whether there is a condition of that type with status "True"."""
    return any(c.type == type_ and c.status == "True" for c in conditions)


def set_condition(conditions: Sequence[Condition], new: Condition, now: str) -> tuple[Condition, ...]:
    """`conditions` with `new` in place of the condition of its type, or at the end.

    Args:
        conditions: As the status has them.
        new: The condition to set; its times are not looked at.
        now: The RFC 3339 time that becomes lastTransitionTime when the status differs from before. Otherwise the
            condition keeps its time, so that setting what is already there changes nothing.
    """
    old = find_condition(conditions, new.type)
    unchanged_since = old.last_transition_time if old is not None and old.status == new.status else ""
    placed = msgspec.structs.replace(new, last_transition_time=unchanged_since or now)
    if old is None:
        return (*conditions, placed)
    return tuple(placed if c.type == new.type else c for c in conditions)


def set_conditions(conditions: Sequence[Condition], new: Iterable[Condition], now: str) -> tuple[Condition, ...]:
    """`set_condition` for each of `new` in turn."""
    result = tuple(conditions)
    for condition in new:
        result = set_condition(result, condition, now)
    return result


def remove_condition(conditions: Iterable[Condition], type_: str) -> tuple[Condition, ...]:
    """`conditions` without the condition of that type."""
    return tuple(c for c in conditions if c.type != type_)
