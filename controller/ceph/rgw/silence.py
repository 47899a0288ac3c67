"""How often gateways are asked that do not answer: by one request for all that is in their store, with growing pauses.

A store may have thousands of users and buckets, each looked at every few seconds, and a request that nobody answers
takes seconds. While a store is silent, whatever would ask it is told at once what the last request came to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from workqueue import loop_clock

if TYPE_CHECKING:
    from collections.abc import Callable

FIRST, LONGEST = 1.0, 30.0
"""Seconds until gateways are asked again that did not answer: at first, and at most. They double in between."""


class Silence:
    """Whether the gateways of one store answered when they were asked last.

    Args:
        clock: Seconds that only move forward; the event loop's by default.
    """

    def __init__(self, clock: Callable[[], float] | None = None) -> None:
        self._clock = clock or loop_clock()
        self._about: object = None
        self._error = ""
        self._asking = False
        self._pause = self._due = 0.0

    def about(self, store: object) -> Silence:
        """Forgets what was, if what the gateways are known by is not what it was: they may answer now."""
        if store != self._about:
            self._about = store
            self.answered()
        return self

    def told(self, patience: float) -> str:
        """What the last request came to, while none may be sent; empty: one may, and its sender does so.

        Args:
            patience: Seconds that a request may take: until then others are told what the one before came to.
        """
        if not self._error:
            return ""
        if self._clock() < self._due:
            return self._error
        self._asking, self._due = True, self._clock() + patience
        return ""

    def failed(self, error: str) -> None:
        """Says that nobody answered. Requests that were sent together are one."""
        if self._error and not self._asking:
            return
        self._pause = min(self._pause * 2, LONGEST) if self._error else FIRST
        self._error, self._asking, self._due = error, False, self._clock() + self._pause

    def answered(self) -> None:
        """Says that a gateway answered, whatever it said."""
        self._error, self._asking = "", False
