"""Worker threads for calls that block, and may hang: a bounded number of each kind.

A thread cannot be stopped. So a place is taken by the thread and not by whoever waits for it: a call that nobody waits
for any more holds its place until it returns. Kinds have places of their own, and calls of one kind that all hang never
keep those of another from being made.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import threading
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

import anyio

if TYPE_CHECKING:
    from collections.abc import Callable


class Lane(Enum):
    """The kinds of calls to a cluster, and how many of each may be under way."""

    VITAL = 4
    """Who is in quorum, and how the cluster is: the first to be known when all else hangs."""
    CONTROL = 8
    """Other commands to mons and mgrs, and connecting."""
    MGRS = 3
    """Commands to mgrs, which hang while none is active."""
    MDSS = 1
    """Questions to MDS daemons, each of which is a process with a client of its own."""
    IMAGES = 16
    """Calls to librbd, which hang while the OSDs of a pool do not answer."""
    GATEWAYS = 6
    """Requests to the gateways of one object store."""
    LONG = 2
    """Calls that take minutes: the removal of an image, object by object."""


class BusyError(OSError):
    """All places are taken by calls that have not returned."""


class AbandonedError(OSError):
    """A call did not return in time. Its thread goes on."""


@dataclass(slots=True)
class _Places:
    free: anyio.Semaphore
    taken: int = 0


@dataclass(slots=True)
class Threads:
    """Runs calls in threads, a bounded number of each lane."""

    _lanes: dict[Lane, _Places] = field(default_factory=dict)

    def taken(self, lane: Lane) -> int:
        """Calls of a lane that have not returned."""
        return self._lanes[lane].taken if lane in self._lanes else 0

    async def run[T](
        self, lane: Lane, function: Callable[[], T], *, seconds: float, settled: Callable[[], None] | None = None
    ) -> T:
        """Runs `function` in a thread of its own.

        Args:
            lane: Whose places it takes one of.
            function: What to run.
            seconds: How long it may take, from when it begins; and how long it may wait for a place.
            settled: Called once in the event loop: when the thread has returned, whether or not somebody still waits
                for it, or when it turns out that there will be none.

        Raises:
            BusyError: No place became free in time; the function was not called.
            AbandonedError: It did not return in time.
        """
        places = self._lanes.get(lane)
        if places is None:
            places = self._lanes[lane] = _Places(anyio.Semaphore(lane.value))
        acquired = False
        try:
            with anyio.move_on_after(seconds):
                await places.free.acquire()
                acquired = True
        finally:
            if not acquired and settled is not None:
                settled()
        if not acquired:
            text = f"{places.taken} calls before it have not returned within {seconds:g} s"
            raise BusyError(errno.EBUSY, text)
        future = self._start(places, function, settled)
        try:
            with anyio.fail_after(seconds):
                return await future
        except TimeoutError:
            if not future.cancelled():
                raise  # the function's own
            raise AbandonedError(errno.ETIME, f"no answer within {seconds:g} s") from None

    def _start[T](
        self, places: _Places, function: Callable[[], T], settled: Callable[[], None] | None
    ) -> asyncio.Future[T]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()

        def returned(result: T | None, error: BaseException | None) -> None:
            places.taken -= 1
            places.free.release()
            if settled is not None:
                settled()
            if future.done():
                return  # nobody waits any more
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(result)  # type: ignore[arg-type]  # None only where T has it

        def work() -> None:
            result: T | None = None
            failure: BaseException | None = None
            try:
                result = function()
            except BaseException as error:  # whatever it is, it is for whoever waits
                failure = error
            with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
                loop.call_soon_threadsafe(returned, result, failure)

        places.taken += 1
        threading.Thread(target=work, name="ceph", daemon=True).start()
        return future
