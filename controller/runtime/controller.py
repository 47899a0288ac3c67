"""A Controller: changes become requests on a queue, and workers hand them to a reconciler, one worker to a request.

Handlers do not handle events: they enqueue requests, and the queue merges those of the same object. Requests of the
initial list have low priority, so that a restart does not delay a fresh edit. A reconcile that fails is counted, logged
and retried with exponential backoff; one that takes too long is cancelled and counts as failed. A request is not
reconciled again before the caches show what its last reconcile wrote.
"""

from __future__ import annotations

import asyncio
import itertools
import math
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING, NamedTuple

import anyio
import structlog

from controller.runtime.leader import causes, is_lost
from controller.runtime.reconciler import (
    Reconcile,
    Request,
    Result,
    RetryAfterError,
    TerminalError,
    Write,
    current_reconcile,
)
from informers import ApiError
from informers.turns import Turns
from workqueue import LOW_PRIORITY, Histogram, QueueShutDown, WorkQueue, loop_clock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from controller.runtime.mapping import Predicate, ToRequests
    from controller.runtime.reconciler import ReconcileFunction, Reconciler
    from informers import Delta, Informer
    from informers.cache import Cache
    from workqueue import RateLimiter

log = structlog.get_logger(__name__)

RECONCILE_TIME_BUCKETS = (
    *(0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.25, 1.5),
    *(1.75, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 15.0, 20.0, 25.0, 30.0, 40.0, 50.0, 60.0),
)
"""Seconds; the buckets of controller-runtime's `controller_runtime_reconcile_time_seconds`."""

WARN_EVERY = 120.0
"""Seconds between warnings that caches do not show writes; bookmarks move a live cache on within about 60 s."""

HEEDED_WITHIN = 60.0
"""Seconds that a cancelled reconcile may take to end."""

SLOWEST_KEPT = 10

PROGRAMMING_ERRORS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    ImportError,
    LookupError,
    NameError,
    NotImplementedError,
    RecursionError,
    TypeError,
)
"""What corresponds to a panic in Go: the program is wrong, not the world. Counted apart, and else handled alike."""

type Follow = Callable[[Sequence[Write], Callable[[], None]], bool]
"""Returns whether the caches show the writes of a reconcile; if not, it calls back once they do."""

_FORMS = (attrgetter("old"), attrgetter("new"))

_numbers = itertools.count(1)

_NOTHING_MORE = Result()


class SlowReconcile(NamedTuple):
    """One of a controller's longest reconciles.

    Attributes:
        seconds: How long it took.
        ended: When it ended, UTC.
        request: What was reconciled.
        id: The `reconcileID` of its log entries.
    """

    seconds: float
    ended: datetime
    request: Request
    id: str


@dataclass(slots=True)
class ControllerStats:
    """What a controller has counted since it was made; plain numbers, published by the metrics collector."""

    success: int = 0
    requeue_after: int = 0
    error: int = 0
    terminal: int = 0
    panics: int = 0
    timeouts: int = 0
    stale: int = 0
    """Times that a request had to wait because the caches were behind its own writes."""
    active: int = 0
    reconcile_time: Histogram = field(default_factory=lambda: Histogram(RECONCILE_TIME_BUCKETS))
    slowest: list[SlowReconcile] = field(default_factory=list)
    """The longest reconciles, longest first."""


@dataclass(slots=True, eq=False)
class _Worker:
    """What a worker does now. `since` is when it began, infinite while it is idle."""

    scope: anyio.CancelScope
    request: Request | None = None
    since: float = math.inf


@dataclass(slots=True, eq=False)
class _Behind:
    """A request whose writes the caches do not show yet.

    Attributes:
        warned: When a warning was last logged, or the wait began.
        priority: Of the adds since then; None: there were none.
    """

    warned: float
    priority: int | None = None


class Controller:
    """Reconciles the objects of one kind with a number of workers.

    Args:
        name: Unique among the controllers of a manager; the `controller` label of metrics.
        reconciler: What to call: a `Reconciler`, or its `reconcile` as a plain async function.
        workers: How many requests are reconciled at the same time.
        rate_limiter: Delays of requests whose reconcile failed. Default: per request 5 ms doubling up to 1000 s.
        reconcile_timeout: Seconds that one reconcile may take.
        clock: Monotonic seconds; `workqueue.loop_clock` by default.

    Attributes:
        queue: Requests to reconcile; anyone may add to it.
        caches: The caches that it watches.
        stats: What it has counted.
        reconcile: What the workers call.
    """

    def __init__(
        self,
        name: str,
        reconciler: Reconciler | ReconcileFunction,
        *,
        workers: int = 1,
        rate_limiter: RateLimiter[Request] | None = None,
        reconcile_timeout: float = 600.0,
        clock: Callable[[], float] | None = None,
    ) -> None:
        if workers < 1:
            raise ValueError(f"controller {name}: workers is {workers}, must be at least 1")
        self.name = name
        self.workers = workers
        self._clock = clock or loop_clock()
        self.queue: WorkQueue[Request] = WorkQueue(name, rate_limiter=rate_limiter, clock=self._clock)
        self.caches: list[Cache] = []
        self.stats = ControllerStats()
        self.reconcile: ReconcileFunction = reconciler if callable(reconciler) else reconciler.reconcile
        self._reconcile_timeout = reconcile_timeout
        self._busy: list[_Worker] = []
        self._behind: dict[Request, _Behind] = {}

    def watch[T](
        self,
        informer: Informer[T],
        to_requests: ToRequests[T] | None = None,
        predicate: Predicate[T] | None = None,
    ) -> None:
        """Enqueues requests for each present object of an informer, and for each later change.

        Args:
            informer: The cache to watch.
            to_requests: The requests that an object stands for; by default one for the object itself. Called for the
                old and the new form of an object, so that a change of owner enqueues both.
            predicate: Which changes matter; by default all. A change for which it raises matters.
        """

        def enqueue(delta: Delta[T]) -> None:
            # What one of them makes of an odd object must not lose what the others say: an object that could not be
            # read is one that somebody puts right, and then its old form cannot be read either.
            failed: Exception | None = None
            try:
                if predicate is not None and not predicate(delta):
                    return
            except Exception as error:  # raised again below: the cache logs and counts it
                failed = error
            priority = LOW_PRIORITY if delta.initial else 0
            if to_requests is None:
                self.queue.add(Request(delta.namespace, delta.name), priority=priority)
            else:
                for form in _FORMS:
                    try:
                        obj = form(delta)
                        if obj is not None:
                            self._add_all(iter(to_requests(obj)), priority)
                    except Exception as error:  # the same
                        failed = error
            if failed is not None:
                raise failed

        self.caches.append(informer.cache)
        informer.add_handler(enqueue)

    def _add_all(self, requests: Iterator[Request], priority: int) -> None:
        """Adds requests, many of them in slices that let other tasks run."""
        turns = Turns()
        for request in requests:
            self.queue.add(request, priority=priority)
            if turns.over:
                asyncio.get_running_loop().call_soon(self._add_all, requests, priority)
                return

    @property
    def active(self) -> list[tuple[Request, float]]:
        """The requests that are being reconciled, and for how many seconds."""
        now = self._clock()
        return [(worker.request, now - worker.since) for worker in self._busy if worker.request is not None]

    @property
    def stuck(self) -> list[tuple[Request, float]]:
        """Reconciles that go on long after they were cancelled, and for how many seconds: their workers are lost."""
        within = self._reconcile_timeout + HEEDED_WITHIN
        return [(request, seconds) for request, seconds in self.active if seconds > within]

    async def run(self, follow: Follow) -> None:
        """Runs the workers until `shut_down` was called and they have finished their present requests.

        Args:
            follow: Called after a reconcile that wrote something. The request is not reconciled again before the caches
                show the writes.

        Raises:
            RuntimeError: A worker was cancelled by something else than this method's own cancellation.
        """
        async with anyio.create_task_group() as watchdog:
            watchdog.start_soon(self._enforce_timeout)
            async with anyio.create_task_group() as workers:
                for _ in range(self.workers):
                    workers.start_soon(self._work, follow)
            watchdog.cancel_scope.cancel()
        if not self.queue.shutting_down:
            # A task that is cancelled from outside of its scope ends its group without a word.
            raise RuntimeError(f"controller {self.name}: a worker was ended by something that is not its manager")

    def shut_down(self) -> None:
        """Takes no more work: queued requests are dropped, present reconciles go on."""
        self.queue.shut_down()

    async def _work(self, follow: Follow) -> None:
        worker = _Worker(anyio.CancelScope())
        self._busy.append(worker)
        try:
            while True:
                # A cancel scope for each reconcile would cost more than many a reconcile: one lasts until a timeout.
                with worker.scope:
                    while not worker.scope.cancel_called:
                        await self._process(await self.queue.get(), worker, follow)
                worker.scope = anyio.CancelScope()
        except QueueShutDown:
            pass  # the worker's end
        finally:
            self._busy.remove(worker)

    async def _process(self, request: Request, worker: _Worker, follow: Follow) -> None:
        stats = self.stats
        worker.request, worker.since = request, self._clock()
        stats.active += 1
        reconcile = Reconcile(self.name, request, next(_numbers))
        current_reconcile.set(reconcile)
        try:
            if request in self._behind:
                self._park(request)
                return
            self._ended(request, await self.reconcile(request) or _NOTHING_MORE)
        except asyncio.CancelledError:
            if self._timed_out(worker):
                stats.timeouts += 1
                self._failed(request, TimeoutError(f"not done within {self._reconcile_timeout:g} s"))
            elif not _being_cancelled():
                # What the reconciler waited for was cancelled, or it has cancelled itself: the worker must live on.
                _uncancel()
                self._failed(request, RuntimeError("something that the reconcile waited for was cancelled"))
                return
            raise
        except (SystemExit, KeyboardInterrupt, GeneratorExit):
            raise
        except BaseException as error:  # whatever it is (libraries in Rust panic with their own), the others go on
            self._failed(request, error)
        finally:
            if reconcile.writes and not follow(reconcile.writes, partial(self._observed, request)):
                self._behind[request] = _Behind(self._clock())
            self._took(self._clock() - worker.since, reconcile)
            worker.request, worker.since = None, math.inf
            stats.active -= 1
            self.queue.done(request)

    def _timed_out(self, worker: _Worker) -> bool:
        return worker.scope.cancel_called and self._clock() >= worker.since + self._reconcile_timeout

    async def _enforce_timeout(self) -> None:
        while True:
            now = self._clock()
            next_deadline = now + self._reconcile_timeout  # of whatever begins while this sleeps
            for worker in self._busy:
                deadline = worker.since + self._reconcile_timeout
                if deadline <= now:
                    worker.scope.cancel()
                else:
                    next_deadline = min(next_deadline, deadline)
            await anyio.sleep(next_deadline - now)

    def _park(self, request: Request) -> None:
        """Keeps the request outside of the queue until the caches show what its last reconcile wrote."""
        behind, now, priority = self._behind[request], self._clock(), self.queue.priority(request)
        behind.priority = priority if behind.priority is None else max(priority, behind.priority)
        self.stats.stale += 1
        if now - behind.warned >= WARN_EVERY:
            log.warning("Not reconciled: the caches do not show what its last reconcile wrote", request=str(request))
            behind.warned = now
        self.queue.add_after(request, behind.warned + WARN_EVERY - now, priority=priority)

    def _observed(self, request: Request) -> None:
        priority = self._behind.pop(request).priority
        if priority is not None:
            self.queue.add(request, priority=priority)

    def _ended(self, request: Request, result: Result) -> None:
        wait, priority = result.requeue_after, self.queue.priority(request)
        if wait is None:
            self.queue.forget(request)
            self.stats.success += 1
        elif wait > 0:
            self.queue.forget(request)
            self.stats.requeue_after += 1
            self.queue.add_after(request, wait, priority=priority)
        else:
            self.stats.requeue_after += 1
            self.queue.add_rate_limited(request, priority=priority)

    def _failed(self, request: Request, error: BaseException) -> None:
        stats, found = self.stats, causes(error)
        if is_lost(error):
            # Not the request's fault, and this process is about to end.
            log.info("Reconcile stopped: not the leader any more")
            self.queue.add_rate_limited(request, priority=self.queue.priority(request))
            return
        stats.error += 1
        text = "; ".join(map(_text, found))
        if all(isinstance(cause, TerminalError) for cause in found):
            stats.terminal += 1
            self.queue.forget(request)
            log.error("Reconcile failed; not tried again until a change", error=text)
            return
        programming_error = any(
            isinstance(cause, PROGRAMMING_ERRORS) or not isinstance(cause, Exception) for cause in found
        )
        if programming_error:
            stats.panics += 1
        priority = self.queue.priority(request)
        if isinstance(error, RetryAfterError):
            self.queue.forget(request)
            self.queue.add_after(request, error.retry_after, priority=priority)
        else:
            self.queue.add_rate_limited(request, priority=priority)
        conflict = all(isinstance(cause, ApiError) and cause.is_conflict for cause in found)
        log.log(
            20 if conflict else 40,
            "Reconcile failed; tried again",
            error=text,
            attempt=self.queue.requeues(request),
            exc_info=error if programming_error else None,
        )

    def _took(self, seconds: float, reconcile: Reconcile) -> None:
        self.stats.reconcile_time.observe(seconds)
        slowest = self.stats.slowest
        if len(slowest) < SLOWEST_KEPT or seconds > slowest[-1].seconds:
            slowest.append(SlowReconcile(seconds, datetime.now(UTC), reconcile.request, reconcile.id))
            slowest.sort(key=lambda slow: -slow.seconds)
            del slowest[SLOWEST_KEPT:]


def _being_cancelled() -> bool:
    """Whether this task must end: only their scopes cancel workers."""
    return anyio.current_effective_deadline() == -math.inf


def _uncancel() -> None:
    task = asyncio.current_task()
    while task is not None and task.cancelling():
        task.uncancel()


def _text(error: BaseException) -> str:
    try:
        return str(error) or type(error).__name__
    except Exception:  # its own text fails, and must not take the worker with it
        return type(error).__name__
