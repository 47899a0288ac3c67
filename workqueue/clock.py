"""Which clock goes with the event loop's timers."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def loop_clock(otherwise: Callable[[], float] = time.monotonic) -> Callable[[], float]:
    """The clock to measure with what is waited for by timers: the running loop's `clock` if it has one.

    Ordinary loops have none, and `otherwise` is right for them: their own `time()` may be coarse or of an earlier
    moment. Loops of tests have one, since their time is not the machine's.
    """
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return otherwise
    found: Callable[[], float] = getattr(loop, "clock", otherwise)
    return found
