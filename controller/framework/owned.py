"""Settings in a system that are ours: what was asked, what the system stored and what it has now -> set, unset, leave.

A system may store another spelling than what was asked ("1G" becomes "1073741824"), and users set things beside the
operator. So each setting that is set has a record, in the system itself or in a status. Contract:

- A setting is left alone while its record has what is asked now, and what was stored is what the system has: nothing is
  set again and again for the sake of spelling.
- It is set where it has no record, something else is asked, or somebody changed or removed it.
- A setting with a record that left the spec is unset.
- What somebody else set, and the spec does not ask for, is left alone.

A record is written after its setting is set, and removed after it is unset: an interrupted change is done again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping


@dataclass(frozen=True, slots=True)
class Owned:
    """The record of a setting: what was asked, and what the system stored; as they are, or digests of them."""

    asked: str
    stored: str


@dataclass(frozen=True, slots=True)
class Changes[N]:
    """What is to be set, in the order of what is wanted, and what is to be unset."""

    set: tuple[N, ...]
    unset: tuple[N, ...]


def compare[N](
    wanted: Mapping[N, str],
    live: Mapping[N, str],
    owned: Mapping[N, Owned],
    *,
    kept_as: Callable[[str], str] = str,
    followed: Collection[N] = (),
) -> Changes[N]:
    """What to set and to unset. Pure.

    Args:
        wanted: The settings that the spec asks for.
        live: What the system has of them; one that is missing is not set there.
        owned: The records.
        kept_as: What a record has of a value; by default the value, otherwise a digest of it.
        followed: Settings that the system moves on by itself: set where something else is asked, and never put back.
    """

    def is_as_asked(name: N) -> bool:
        record = owned.get(name)
        if record is None or record.asked != kept_as(wanted[name]):
            return False
        return name in followed or (name in live and record.stored == kept_as(live[name]))

    return Changes(
        set=tuple(name for name in wanted if not is_as_asked(name)),
        unset=tuple(name for name in owned if name not in wanted),
    )
