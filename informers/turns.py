"""Long work on the event loop, in slices: after each slice the other tasks run.

Leases, probes and streams live on the same loop. Code that goes through a collection of any size lets them run every
few milliseconds.
"""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

SLICE: Final = 0.005
"""Seconds of work after which other tasks run."""


class Turns:
    """The time slices of one piece of work, which begins when this is made."""

    __slots__ = ("_ends",)

    def __init__(self) -> None:
        self._ends = monotonic() + SLICE

    @property
    def over(self) -> bool:
        """Whether the slice is used up."""
        return monotonic() >= self._ends

    async def checkpoint(self) -> None:
        """Let other tasks run if the slice is used up; otherwise return at once."""
        if self.over:
            await asyncio.sleep(0)
            self._ends = monotonic() + SLICE


async def sliced[T](items: Iterable[T]) -> AsyncIterator[T]:
    """The items, with a checkpoint between each and the next.

    Other tasks may change the collection meanwhile: pass a list or tuple, and expect that an object may be gone when it
    is yielded.
    """
    turns = Turns()
    for item in items:
        yield item
        await turns.checkpoint()
