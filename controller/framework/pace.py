"""How often an object may be looked at: a burst at once, and after that no more than a share of the time.

A rollout of twenty daemons is hundreds of events. Each look sees all that has happened until then, so one look after a
burst is as good as one for each event of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from workqueue import loop_clock

if TYPE_CHECKING:
    from collections.abc import Callable

    from controller.runtime import Request

BURST = 20
"""Looks that may follow each other at once: those that make a new cluster are about as many."""
INTERVAL = 1.0
"""Seconds between two looks after a burst."""
SHARE = 0.25
"""Part of the time that looks at one object may take: where each takes long, they are further apart."""
LONGEST = 10.0
"""Seconds between two looks at most, however long they take."""


@dataclass(slots=True)
class _Looks:
    left: float
    at: float
    interval: float = INTERVAL


class Pace:
    """The looks of a reconciler, by object.

    Args:
        clock: Seconds that only move forward; the event loop's by default.
    """

    def __init__(self, clock: Callable[[], float] | None = None) -> None:
        self._clock = clock or loop_clock()
        self._objects: dict[Request, _Looks] = {}

    def wait(self, request: Request) -> float:
        """Seconds until the object may be looked at again; 0: it may now, and this look counts."""
        now = self._clock()
        looks = self._objects.setdefault(request, _Looks(BURST, now))
        looks.left = min(BURST, looks.left + (now - looks.at) / looks.interval)
        looks.at = now
        if looks.left < 1.0:
            return (1.0 - looks.left) * looks.interval
        looks.left -= 1.0
        return 0.0

    def took(self, request: Request, seconds: float) -> None:
        """Says how long the work of the last look at the object took, waiting for others not counted."""
        looks = self._objects.get(request)
        if looks is not None:
            looks.interval = min(max(INTERVAL, seconds / SHARE), LONGEST)

    def forget(self, request: Request) -> None:
        """Forgets an object that is gone."""
        self._objects.pop(request, None)
