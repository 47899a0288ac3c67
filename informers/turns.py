"""Long work on the event loop, in slices: after each, everything else has its turn.

Leases, probes and streams live on the same loop. Whatever goes through a collection, whose size is the user's, lets
them in every few milliseconds.
"""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

SLICE: Final = 0.005
"""Seconds of work after which the rest of the event loop has its turn."""


class Turns:
    """The slices of one piece of work, which begins when this is made."""

    __slots__ = ("_ends",)

    def __init__(self) -> None:
        self._ends = monotonic() + SLICE

    @property
    def over(self) -> bool:
        """Whether the slice is used up."""
        return monotonic() >= self._ends

    async def checkpoint(self) -> None:
        """Let everything else have its turn if the slice is used up; return at once if it is not."""
        if self.over:
            await asyncio.sleep(0)
            self._ends = monotonic() + SLICE


async def sliced[T](items: Iterable[T]) -> AsyncIterator[T]:
    """The items, with a checkpoint between each and the next.

    Whatever else runs in between may change what the items were taken from: hand in a list or tuple, and expect that an
    object may be gone when its turn comes.
    """
    turns = Turns()
    for item in items:
        yield item
        await turns.checkpoint()
