"""Since when a named fact has been true, kept in an object's status apart from its plan: the clock of failovers.

A plan's public form is cut to what a person reads, and its rows come and go with their words; a clock must not. Facts
belong to topics ("MonOutOfQuorum/b" is fact b of a topic): a fact whose subject is gone is forgotten, and one of which
nothing is known now goes on. The number of timers is that of things that can be named: none is ever cut.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

type Facts = Mapping[str, Collection[str] | None]
"""For each topic, the names of which it is true now; None where that is not known now."""


def advance(previous: Mapping[str, str], facts: Facts, now: str) -> dict[str, str]:
    """The timers after a look: those of facts that are still true go on, and those of new ones start.

    Args:
        previous: The timers before, by topic and name: RFC 3339 times.
        facts: What is true now. Timers of topics that are not in it end.
        now: RFC 3339 time.
    """
    timers: dict[str, str] = {}
    for topic, names in sorted(facts.items()):
        if names is None:
            timers |= {key: since for key, since in previous.items() if key.startswith(f"{topic}/")}
        else:
            timers |= {key: previous.get(key) or now for key in (f"{topic}/{name}" for name in sorted(names))}
    return timers


def elapsed(timers: Mapping[str, str], topic: str, now: float) -> dict[str, float]:
    """For how many seconds each fact of a topic has been true, by name.

    Args:
        timers: As `advance` made them.
        topic: Of which facts.
        now: Seconds since the epoch.
    """
    prefix = f"{topic}/"
    return {
        key.removeprefix(prefix): max(now - datetime.fromisoformat(since).timestamp(), 0.0)
        for key, since in timers.items()
        if key.startswith(prefix)
    }
