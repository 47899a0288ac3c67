"""Virtual time: an event loop whose clock jumps to the next timer when no task can run.

Hours pass in milliseconds. Timers, timeouts and sleeps run in order and exactly on time. The clock stands still while
a worker thread of `anyio.to_thread` runs: what it computes takes no time. Code under test must not use real I/O: the
clock would jump while the loop waits for it.
"""

from __future__ import annotations

import asyncio
import functools
import selectors
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from anyio.to_thread import current_default_thread_limiter

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
"""The time of the kit's wall clocks when virtual time begins."""
THREAD_SECONDS = 60.0
"""How long a worker thread may run, in real seconds."""


class _JumpingSelector(selectors.DefaultSelector):
    """Does not wait for files: the loop's clock jumps over the wait."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready and timeout != 0 and current_default_thread_limiter().borrowed_tokens:
            ready = super().select(THREAD_SECONDS)
            if not ready:
                raise RuntimeError(f"a worker thread has not ended after {THREAD_SECONDS:g} s")
        if not ready and timeout is None:
            raise RuntimeError("deadlock: every task waits, and no timer is set")
        if not ready and timeout is not None and timeout > 0:
            self.now += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop in virtual time. Code that takes its clock from `workqueue.loop_clock` uses that time, too."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._jumping.now

    def clock(self) -> float:
        """The same, for `workqueue.loop_clock`."""
        return self._jumping.now

    def skip(self, seconds: float) -> None:
        """Let time pass while nothing runs, as when the process is stopped or one task blocks all others."""
        self._jumping.now += seconds


def virtual_time[**P](test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Decorates an async test, so that it runs in a loop with virtual time."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            runner.run(test(*args, **kwargs))

    return run


def now() -> float:
    """The running loop's time in seconds."""
    return asyncio.get_running_loop().time()


def wall_clock() -> datetime:
    """`EPOCH` plus the running loop's time; `EPOCH` if no loop runs."""
    try:
        return EPOCH + timedelta(seconds=now())
    except RuntimeError:
        return EPOCH


def pause(seconds: float) -> None:
    """Stop everything for that many virtual seconds, as if the process were stopped and continued."""
    loop = asyncio.get_running_loop()
    if not isinstance(loop, VirtualLoop):
        raise TypeError(f"pause needs a test in virtual time, not in {type(loop).__name__}")
    loop.skip(seconds)


async def until(condition: Callable[[], object], *, within: float = 3600.0, step: float = 0.01) -> None:
    """Let virtual time pass until a condition holds.

    Args:
        condition: Holds when its return value is true.
        within: Virtual seconds until the timeout.
        step: Virtual seconds between two checks.

    Raises:
        TimeoutError: The condition did not hold in time.
    """
    ends = now() + within
    while not condition():  # a condition has no event to wait for; virtual time costs nothing
        if now() >= ends:
            raise TimeoutError(f"after {within:g} s of virtual time the condition does not hold: {condition}")
        await asyncio.sleep(step)
