"""While connections are refused, one watcher at a time tries to connect, on behalf of all watchers of the process.

A refused connection costs the server nothing: the kernel of its machine answers, or the network does. So frequent
attempts do no harm, and a restarted server is noticed within a tenth of its downtime and within a second at most, where
a backoff for each watcher would take up to a minute. All watchers share the attempts, so that a process makes one a
second at most in a long outage.

Other errors (timeouts, broken connections) may come from an overloaded server: then each watcher backs off by itself.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

PAUSES: Final = (0.05, 1.0)
"""The least and the most seconds between attempts; jitter adds up to a quarter."""

SHARE: Final = 0.1
"""The share of the outage's length until now after which the next attempt comes."""

JITTER: Final = 0.25

SPREAD: Final = 0.1
"""Seconds over which the waiting watchers reconnect once one of them has reached the server."""


class Outage:
    """Decides which watcher tries to connect next.

    Args:
        clock: Monotonic seconds, those of the event loop.
        uniform: Random numbers from [0, 1).
    """

    def __init__(self, clock: Callable[[], float], uniform: Callable[[], float]) -> None:
        self._clock = clock
        self._uniform = uniform
        self._began = 0.0
        self._next_turn = 0.0
        self._over = asyncio.Event()
        self._over.set()

    async def turn(self) -> None:
        """Call this when a connection was refused. It returns when the caller should try again."""
        if self._over.is_set():
            self._over.clear()
            self._began = self._clock()
            self._schedule(self._began)
        while not self._over.is_set():
            now = self._clock()
            if now >= self._next_turn:
                self._schedule(now)
                return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._next_turn - now):
                    await self._over.wait()
        await asyncio.sleep(SPREAD * self._uniform())

    def over(self) -> None:
        """Call this when a connection was not refused."""
        self._over.set()

    def _schedule(self, now: float) -> None:
        least, most = PAUSES
        pause = min(most, max(least, SHARE * (now - self._began)))
        self._next_turn = now + pause * (1 + JITTER * self._uniform())
