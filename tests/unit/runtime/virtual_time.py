"""An event loop whose clock jumps to the next timer when nothing else is to be done: hours pass in milliseconds.

Timers, timeouts and sleeps run in their order at exactly their times. Only what needs no real I/O can be tested so.
"""

import asyncio
import functools
import selectors
from collections.abc import Callable, Coroutine
from typing import Any


class _JumpingSelector(selectors.DefaultSelector):
    """Does not wait for files: it lets the loop's clock jump over the wait."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready and timeout is None:
            raise RuntimeError("deadlock: every task waits, and no timer is set")
        if not ready and timeout is not None and timeout > 0:
            self.now += timeout
        return ready


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """See the module."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._jumping.now

    def skip(self, seconds: float) -> None:
        """Lets time pass while nothing runs: the process was stopped, or one task held up all others."""
        self._jumping.now += seconds


def now() -> float:
    """The virtual time."""
    return asyncio.get_running_loop().time()


def pause(seconds: float) -> None:
    """Stops everything for so long."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    loop.skip(seconds)


def virtual_time[**P](test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Runs an async test in a loop with virtual time."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
            runner.run(test(*args, **kwargs))

    return run


async def until(condition: Callable[[], bool], step: float = 0.01) -> None:
    """Lets virtual time pass until the condition holds; the test's own timeout bounds it."""
    while not condition():  # noqa: ASYNC110  # what is waited for has no event; virtual time costs nothing
        await asyncio.sleep(step)
