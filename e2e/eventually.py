"""Waiting for something to become so: with a deadline, and saying what is still missing."""

import time
from collections.abc import Callable

from e2e.progress import say

POLL_SECONDS = 0.25
"""Between two looks, or as long as the last one took: else those that start processes would keep a machine busy."""
LONGEST_POLL_SECONDS = 2.0
PATIENCE = 3.0
"""How many times as long a machine may take that has other things to do. It costs time only where something fails."""


class NotYetError(Exception):
    """What is missing, in words that follow "waiting for WHAT: "."""


def eventually[T](what: str, look: Callable[[], T], *, deadline: float) -> T:
    """Call `look` until it returns, and return what it returned.

    Args:
        what: What is waited for, as a person names it.
        look: Looks once. Raises `NotYetError` with what is missing; anything else that it raises comes through at once.
        deadline: Seconds that it takes at most on a machine that does nothing else; `PATIENCE` times that is waited.

    Raises:
        TimeoutError: It is still not so; the message says what was missing at the end.
    """
    limit = PATIENCE * deadline
    end = time.monotonic() + limit
    said = ""
    while True:
        began = time.monotonic()
        try:
            return look()
        except NotYetError as missing:
            if str(missing) != said:
                said = str(missing)
                say(f"    waiting for {what}: {said}")
            if time.monotonic() >= end:
                raise TimeoutError(f"{what} after {limit:g} s: {said}") from missing
        time.sleep(min(max(POLL_SECONDS, time.monotonic() - began), LONGEST_POLL_SECONDS))
