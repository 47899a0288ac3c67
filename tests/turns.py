"""For tests that long work lets everything else on the event loop have its turns: counted, not timed."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count

import pytest

from informers import turns

LOOKS = 6
"""Looks at the clock in a slice of 5 ms, its first and its last included."""


@asynccontextmanager
async def counted_turns() -> AsyncIterator[list[int]]:
    """The turns that another task has had since the context was entered, by a clock that each look moves by 1 ms.

    Virtual time stands still in it, since that task always has something to do.
    """
    had = [0]

    async def other() -> None:
        while True:
            await asyncio.sleep(0)
            had[0] += 1

    started, ticks = time.monotonic(), count()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(turns, "monotonic", lambda: started + next(ticks) / 1000)
        task = asyncio.create_task(other())
        await asyncio.sleep(0)
        yield had
        task.cancel()
