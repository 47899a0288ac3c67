"""While nobody listens at the server's address, one watcher at a time asks whether it is back, on behalf of all.

A refused connection costs the server nothing: the kernel of its machine answers, or the network does. So one may ask
often, and a server that has been restarted is noticed within a tenth of the time for which it was away, and within a
second at most, where a backoff for each watcher would leave it alone for up to a minute. Because all watchers of a
process share the turns, it asks once a second at most in a long outage, however many they are.

Any other trouble (errors, timeouts, connections that break) may come from a server that has too much to do: there each
watcher backs off by itself.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

PAUSES: Final = (0.05, 1.0)
"""Seconds between turns at least, and at most (with the jitter, a quarter more)."""

SHARE: Final = 0.1
"""Of an outage's length until now, what the next turn waits for."""

JITTER: Final = 0.25

SPREAD: Final = 0.1
"""Seconds over which those who waited come back once one of them has found the server."""


class Outage:
    """Whose turn it is to look for the server.

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
        """To be called when a connection was refused. Returns when the caller is to try again."""
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
        """To be called when a connection was not refused."""
        self._over.set()

    def _schedule(self, now: float) -> None:
        least, most = PAUSES
        pause = min(most, max(least, SHARE * (now - self._began)))
        self._next_turn = now + pause * (1 + JITTER * self._uniform())
