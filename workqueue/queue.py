"""The queue: which key is next, which are being processed, and which have to come again.

A key is in at most one of two places: *ready* (a first-in-first-out line for each priority) or *delayed* (until a
time). It is there once, with the earliest time and the highest priority that was asked for. Beside that it may be *in
process*; a ready key that is in process stays *dirty*, outside of the lines, until `done`. So the queue holds at most
two entries for each distinct key, and needs no other bound: dropping a key would lose a change.

All methods belong to one event loop; none but `get` and `wait_idle` suspends.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import itertools
import math
from collections import OrderedDict, deque
from typing import TYPE_CHECKING, Final, NamedTuple

from workqueue.clock import loop_clock
from workqueue.ratelimit import RateLimiter, default_rate_limiter
from workqueue.stats import QueueStats

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

LOW_PRIORITY: Final = -100
"""For keys of an initial list: a restart never delays a fresh edit (controller-runtime)."""

SHARE: Final = 10
"""Of so many keys that are handed out while keys of a lower priority wait, one is of a lower priority.

Else a steady flow of changes, or of keys that fail, would keep the keys of an initial list waiting for ever.
"""

SLICE: Final = 0.01
"""Seconds for which workers that never suspend may draw keys before `get` lets the rest of the event loop run."""

_LONGEST_TIMER: Final = 86400.0
"""Seconds; what is due later, or never, is looked at again then: event loops have no timers of any length."""

_COMPACT_ABOVE: Final = 64
"""Superseded timers that are left alone; more of them than live ones are cleared away."""


class QueueShutDown(Exception):  # noqa: N818  # as asyncio.QueueShutDown
    """The queue was shut down and hands out no more keys."""


class _Delayed(NamedTuple):
    due: float
    order: int
    priority: int


class _InProcess(NamedTuple):
    since: float
    priority: int


class WorkQueue[K: Hashable]:
    """A de-duplicating, rate-limited, prioritised queue.

    Args:
        name: Names the queue in metrics, as controller-runtime does: the controller's name.
        rate_limiter: For `add_rate_limited`. Default: `default_rate_limiter`.
        clock: Monotonic seconds. It must run as the event loop's own clock does, whose timers wake the delayed keys.
            Default: `loop_clock`.

    Attributes:
        stats: What it has counted.
    """

    def __init__(
        self,
        name: str,
        *,
        rate_limiter: RateLimiter[K] | None = None,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self.name = name
        self.stats = QueueStats()
        self._clock = clock or loop_clock()
        self._limiter: RateLimiter[K] = rate_limiter or default_rate_limiter(self._clock)
        self._ready: dict[K, int] = {}
        """The priority of every ready key, be it in a line or dirty."""
        self._lines: dict[int, OrderedDict[K, float]] = {}
        """By priority, highest first: ready keys that may be handed out, with the time of their entry.

        A line that is empty stays until a priority needs a line of its own, since most are filled again at once.
        """
        self._processing: dict[K, _InProcess] = {}
        self._delayed: dict[K, _Delayed] = {}
        self._timers: list[tuple[float, int, K]] = []
        """A heap of (due, order, key). An entry whose order is not that of the key's `_delayed` is superseded."""
        self._order = 0
        self._timer: asyncio.TimerHandle | None = None
        self._rings_at = 0.0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._idle: list[asyncio.Future[None]] = []
        self._shut_down = False
        self._draining = False
        self._slice_ends = 0.0
        self._passed_over = 0
        """Keys that were handed out since one of a lower priority began to wait, or had its turn."""

    def __len__(self) -> int:
        """Number of ready keys, those included that were added while in process. Delayed keys do not count."""
        return len(self._ready)

    @property
    def shutting_down(self) -> bool:
        """Whether `shut_down` was called: nothing new is taken."""
        return self._shut_down

    def depths(self) -> dict[int, int]:
        """Ready keys by priority, for `workqueue_depth`."""
        counts = dict.fromkeys(self._lines, 0)
        for priority in self._ready.values():
            counts[priority] = counts.get(priority, 0) + 1
        return counts

    def delayed(self) -> int:
        """Number of delayed keys."""
        return len(self._delayed)

    def next_ready(self, limit: int) -> list[tuple[K, int]]:
        """The ready keys by priority, at most `limit`, with their priorities; last those that are in process."""
        lines = ((key, priority) for priority, line in self._lines.items() for key in line)
        dirty = ((key, priority) for key, priority in self._ready.items() if key in self._processing)
        return list(itertools.islice(itertools.chain(lines, dirty), limit))

    def next_delayed(self, limit: int) -> list[tuple[K, float]]:
        """The delayed keys that are due first, at most `limit`, with the seconds until then."""
        now = self._clock()
        soonest = heapq.nsmallest(limit, self._delayed.items(), key=lambda item: item[1])
        return [(key, max(0.0, delayed.due - now)) for key, delayed in soonest]

    def processing(self) -> dict[K, float]:
        """Keys in process, with the seconds since their hand-out, longest first."""
        now = self._clock()
        return {key: now - entry.since for key, entry in self._processing.items()}

    def priority(self, key: K) -> int:
        """The priority at which a key in process was handed out. A retry of the key should keep it.

        Raises:
            KeyError: The key is not in process.
        """
        return self._processing[key].priority

    def add(self, key: K, *, priority: int = 0) -> None:
        """Make the key ready. It is handed out once, however often it is added; if in process, again after `done`.

        A delay that the key still has ends. Of several priorities the highest counts. After `shut_down` it does
        nothing.
        """
        if self._shut_down:
            return
        if self._delayed:
            delayed = self._delayed.pop(key, None)
            if delayed is not None and delayed.priority > priority:
                priority = delayed.priority
        self._make_ready(key, priority)

    def add_after(self, key: K, delay: float, *, priority: int = 0) -> None:
        """Make the key ready after `delay` seconds; at the earliest time that was asked for, if it was added before.

        A key that is ready already stays ready: its run is to come, and decides anew when to look again.

        Raises:
            ValueError: The delay is not a number.
        """
        if math.isnan(delay):
            raise ValueError(f"queue {self.name}: the delay of {key} is not a number")
        if delay <= 0:
            self.add(key, priority=priority)
            return
        if self._shut_down:
            return
        queued = self._ready.get(key)
        if queued is not None:
            if priority > queued:
                self._make_ready(key, priority)
            return
        due = self._clock() + delay
        present = self._delayed.get(key)
        if present is not None:
            priority = max(priority, present.priority)
            if present.due <= due:
                self._delayed[key] = present._replace(priority=priority)
                return
        self._order += 1
        self._delayed[key] = _Delayed(due, self._order, priority)
        heapq.heappush(self._timers, (due, self._order, key))
        if len(self._timers) > _COMPACT_ABOVE + 2 * len(self._delayed):
            self._compact()
        self._arm()

    def add_rate_limited(self, key: K, *, priority: int = 0) -> None:
        """Make the key ready when the rate limiter allows: after a failure."""
        self.stats.retries += 1
        self.add_after(key, self._limiter.when(key), priority=priority)

    def forget(self, key: K) -> None:
        """Reset the key's backoff, after a success."""
        self._limiter.forget(key)

    def requeues(self, key: K) -> int:
        """How often the key has failed since it was last forgotten."""
        return self._limiter.requeues(key)

    async def get(self) -> K:
        """Wait for the next key: the oldest of the highest priority. The caller must call `done` with it.

        While keys of lower priorities wait, every `SHARE`-th key is one of theirs.

        Raises:
            QueueShutDown: `shut_down` was called and, when draining, no key is ready.
        """
        if self._clock() >= self._slice_ends:
            await self._begin_slice()
        while True:
            line = self._next_line()
            if line is not None:
                now = self._clock()
                key, entered = line.popitem(last=False)
                self._processing[key] = _InProcess(now, self._ready.pop(key))
                self.stats.queue_duration.observe(now - entered)
                return key
            # With nothing to hand out a dirty key may remain: it comes back at its `done`, and is waited for.
            if self._shut_down and not (self._draining and self._ready):
                raise QueueShutDown(self.name)
            await self._wait()

    def done(self, key: K) -> None:
        """Finish the key that `get` returned.

        Raises:
            KeyError: The key is not in process.
        """
        now = self._clock()
        self.stats.work_duration.observe(now - self._processing.pop(key).since)
        priority = self._ready.get(key)
        if priority is not None:
            self._line(priority)[key] = now
            self._wake()
        elif self._shut_down or self._idle:
            self._settle()

    def shut_down(self, *, drain: bool = False) -> None:
        """Accept no more keys, and drop the delayed ones.

        Args:
            drain: Hand out the ready keys first. Else they are dropped too, and every `get` raises.
        """
        self._shut_down = True
        self._draining = drain
        self._delayed.clear()
        self._timers.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not drain:
            self._ready.clear()
            for line in self._lines.values():
                line.clear()
        self._settle()

    async def wait_idle(self) -> None:
        """Return once no key is ready or in process. Delayed keys do not count."""
        while self._ready or self._processing:
            future = asyncio.get_running_loop().create_future()
            self._idle.append(future)
            await future

    def _make_ready(self, key: K, priority: int) -> None:
        queued = self._ready.get(key)
        if queued is not None:
            if priority > queued:
                self._ready[key] = priority
                if key not in self._processing:
                    self._line(priority)[key] = self._lines[queued].pop(key)
            return
        self._ready[key] = priority
        self.stats.adds += 1
        if key not in self._processing:
            line = self._lines.get(priority)
            if line is None:
                line = self._line(priority)
            line[key] = self._clock()
            if self._waiting:
                self._wake()

    def _line(self, priority: int) -> OrderedDict[K, float]:
        line = self._lines.get(priority)
        if line is None:
            line = OrderedDict()
            lines = [(other, waiting) for other, waiting in self._lines.items() if waiting]
            self._lines = dict(sorted([*lines, (priority, line)], key=lambda item: -item[0]))
        return line

    def _next_line(self) -> OrderedDict[K, float] | None:
        waiting = [line for line in self._lines.values() if line]
        if len(waiting) < 2:
            self._passed_over = 0
            return waiting[0] if waiting else None
        self._passed_over += 1
        if self._passed_over < SHARE:
            return waiting[0]
        self._passed_over = 0
        return min(waiting[1:], key=lambda line: next(iter(line.values())))

    async def _begin_slice(self) -> None:
        """Let the loop run: leases and streams go on though the workers find a key each time that they ask."""
        await asyncio.sleep(0)
        self._slice_ends = self._clock() + SLICE

    async def _wait(self) -> None:
        future = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        try:
            await future
        except asyncio.CancelledError:
            if future.cancelled():
                with contextlib.suppress(ValueError):  # `_wake` has passed over it already
                    self._waiting.remove(future)
            else:
                # Woken and cancelled at once: the key that it was woken for is another worker's now.
                self._wake()
            raise

    def _wake(self) -> None:
        while self._waiting:
            future = self._waiting.popleft()
            if not future.done():
                future.set_result(None)
                return

    def _settle(self) -> None:
        """Release who waits for the end, if this is the end."""
        if self._shut_down and not self._ready:
            while self._waiting:
                self._wake()
        if not self._ready and not self._processing:
            for future in self._idle:
                if not future.done():
                    future.set_result(None)
            self._idle.clear()

    def _arm(self) -> None:
        """Have the loop's timer ring no later than the first delayed key is due."""
        while self._timers:
            due, order, key = self._timers[0]
            live = self._delayed.get(key)
            if live is not None and live.order == order:
                if self._timer is None or due < self._rings_at:
                    if self._timer is not None:
                        self._timer.cancel()
                    wait = min(max(0.0, due - self._clock()), _LONGEST_TIMER)
                    self._timer = asyncio.get_running_loop().call_later(wait, self._ring)
                    self._rings_at = due
                return
            heapq.heappop(self._timers)

    def _ring(self) -> None:
        self._timer = None
        now = self._clock()
        while self._timers and self._timers[0][0] <= now:
            _, order, key = heapq.heappop(self._timers)
            live = self._delayed.get(key)
            if live is not None and live.order == order:
                del self._delayed[key]
                self._make_ready(key, live.priority)
        self._arm()

    def _compact(self) -> None:
        self._timers = [(entry.due, entry.order, key) for key, entry in self._delayed.items()]
        heapq.heapify(self._timers)
