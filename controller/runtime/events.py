"""Events that people read with `kubectl describe`: events.k8s.io/v1, aggregated, rate-limited, and never in the way.

`EventRecorder.event` only puts a note into a bounded buffer. Its own task writes: the first occurrence at once, further
ones of the same kind as a series on the same Event object, at most once a minute. Each object has a token bucket for
warnings and one for the rest, so that a reconciler in trouble cannot flood the API server. The metrics
count what is left out.

Source: https://github.com/kubernetes/enhancements/tree/master/keps/sig-instrumentation/383-new-event-api-ga-graduation
"""

from __future__ import annotations

import math
import uuid
from collections import OrderedDict, deque
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

import anyio
import structlog

from controller.runtime.kube import EVENT
from controller.runtime.leader import NotLeaderError
from controller.runtime.log import redact_text
from informers import ApiError, TransportError
from informers.media import MERGE_PATCH
from workqueue import loop_clock

if TYPE_CHECKING:
    from collections.abc import Callable

    from informers import Client, JsonObject

log = structlog.get_logger(__name__)

type EventType = Literal["Normal", "Warning"]

BUFFER = 1000
"""Events that wait to be written; further ones are dropped."""

SERIES_KEPT = 4096
"""Series that are remembered; beyond that the one that is longest without an occurrence is forgotten."""

SERIES_ENDS = 360.0
"""Seconds without an occurrence after which the next one begins a new Event, as in client-go."""

SERIES_WRITTEN_EVERY = 60.0
"""Seconds between writes of one series."""

BURST = 25
REFILL = 30.0
"""New Events of one type for one object: so many at once, then one in so many seconds."""

ATTEMPTS = 3
RETRY_DELAY = 1.0
WRITE_DEADLINE = 10.0

MAX_NOTE = 1024
MAX_WORD = 128
"""Limits of the API, in bytes and in characters."""


@dataclass(frozen=True, slots=True)
class _Kind:
    """What makes two events occurrences of the same."""

    object: tuple[str, str, str, str]  # kind, namespace, name, uid
    type: EventType
    reason: str
    action: str
    note: str


@dataclass(slots=True)
class _Series:
    """An Event object that has been written, and what happened since."""

    name: str
    last: float
    observed: datetime
    written: float
    count: int = 1
    written_count: int = 1


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at: float


@dataclass(slots=True)
class EventStats:
    """What became of events: `written` counts requests that succeeded, the others count occurrences."""

    written: int = 0
    dropped_buffer_full: int = 0
    dropped_rate_limited: int = 0
    dropped_failed: int = 0


class EventRecorder:
    """Records events about objects.

    Args:
        client: Writes the events.
        controller: Who reports, `reportingController`.
        instance: Which of its replicas, `reportingInstance`.
        clock: Monotonic seconds, of the event loop's rate; `workqueue.loop_clock` by default.
        now: The wall clock.

    Attributes:
        stats: What it has counted.
    """

    def __init__(
        self,
        client: Client,
        *,
        controller: str,
        instance: str,
        clock: Callable[[], float] | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.stats = EventStats()
        self._client = client
        self._controller = controller[:MAX_WORD]
        self._instance = instance[:MAX_WORD]
        self._clock = clock or loop_clock()
        self._now = now
        self._buffer: deque[tuple[_Kind, JsonObject, datetime]] = deque()
        self._series: OrderedDict[_Kind, _Series] = OrderedDict()
        self._series_due = math.inf
        self._buckets: OrderedDict[tuple[str, ...], _Bucket] = OrderedDict()
        self._wake = anyio.Event()
        self._closing = False
        self._closed = anyio.Event()

    def event(self, regarding: JsonObject, type: EventType, reason: str, note: str, action: str = "") -> None:  # noqa: A002
        """Records that something happened to an object. It never raises and never waits.

        Args:
            regarding: The object, or a reference to it: see `object_reference`.
            type: "Normal", or "Warning" for what needs attention.
            reason: Why, one CamelCase word for programs.
            note: What happened, for people.
            action: What was done, one CamelCase word; by default the reason.
        """
        metadata = regarding.get("metadata", regarding)
        reference = {
            "apiVersion": regarding.get("apiVersion", ""),
            "kind": regarding.get("kind", ""),
            **{key: metadata[key] for key in ("namespace", "name", "uid", "resourceVersion") if metadata.get(key)},
        }
        key = (reference["kind"], reference.get("namespace", ""), reference.get("name", ""), reference.get("uid", ""))
        kind = _Kind(key, type, reason[:MAX_WORD], (action or reason)[:MAX_WORD], _shorten(redact_text(note)))
        series = self._series.get(kind)
        if series is not None and self._clock() - series.last < SERIES_ENDS:
            series.count += 1
            series.last, series.observed = self._clock(), self._now()
            self._series.move_to_end(kind)
            self._series_due = min(self._series_due, series.written + SERIES_WRITTEN_EVERY)
        elif not self._take_token((*key, type)):
            self.stats.dropped_rate_limited += 1
            return
        elif len(self._buffer) >= BUFFER:
            self.stats.dropped_buffer_full += 1
            return
        else:
            self._buffer.append((kind, reference, self._now()))
        self._wake.set()

    async def run(self) -> None:
        """Writes events until `close` is called and all are written."""
        while not (self._closing and not self._buffer):
            while self._buffer:
                await self._write_new(*self._buffer.popleft())
            wait = await self._write_due_series()
            if not self._buffer and not self._closing:
                with anyio.move_on_after(wait):
                    await self._wake.wait()
                self._wake = anyio.Event()
        await self._write_due_series()
        self._closed.set()

    async def close(self) -> None:
        """Returns once `run` has written all events and ended."""
        self._closing = True
        self._wake.set()
        await self._closed.wait()

    def _take_token(self, key: tuple[str, ...]) -> bool:
        now = self._clock()
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = self._buckets[key] = _Bucket(BURST, now)
            if len(self._buckets) > SERIES_KEPT:
                self._buckets.popitem(last=False)
        else:
            self._buckets.move_to_end(key)
        bucket.tokens = min(BURST, bucket.tokens + (now - bucket.at) / REFILL)
        bucket.at = now
        if bucket.tokens < 1:
            return False
        bucket.tokens -= 1
        return True

    async def _write_new(self, kind: _Kind, reference: JsonObject, observed: datetime) -> None:
        known = self._series.get(kind)
        if known is not None and self._clock() - known.last < SERIES_ENDS:
            # Another occurrence came while the first was waiting in the buffer.
            known.count += 1
            known.last, known.observed = self._clock(), observed
            self._series_due = min(self._series_due, known.written + SERIES_WRITTEN_EVERY)
            return
        # Where a long name is cut, it must not end as no part of a name may.
        name = f"{reference.get('name', 'unknown')[:200].rstrip('.-')}.{uuid.uuid4().hex[:16]}"
        # Set before the write, so that occurrences that come meanwhile join it.
        series = self._series[kind] = _Series(name, last=self._clock(), observed=observed, written=self._clock())
        self._series.move_to_end(kind)
        if len(self._series) > SERIES_KEPT:
            _, forgotten = self._series.popitem(last=False)
            self.stats.dropped_buffer_full += forgotten.count - forgotten.written_count
        body: JsonObject = {
            "apiVersion": EVENT.api_version,
            "kind": EVENT.kind,
            "metadata": {"namespace": _namespace(kind), "name": name},
            "eventTime": _micro_time(observed),
            "reportingController": self._controller,
            "reportingInstance": self._instance,
            "regarding": reference,
            "type": kind.type,
            "reason": kind.reason,
            "action": kind.action,
            "note": kind.note,
        }
        if not await self._attempt(lambda: self._client.create(EVENT, body)):
            self.stats.dropped_failed += series.count
            if self._series.get(kind) is series:
                del self._series[kind]

    async def _write_due_series(self) -> float:
        """Writes the series that are due; returns the seconds until the next one is."""
        if not self._closing and self._clock() < self._series_due:
            return self._series_due - self._clock()
        self._series_due = next_due = math.inf
        for kind, series in list(self._series.items()):
            if series.count == series.written_count:
                continue
            due = series.written + SERIES_WRITTEN_EVERY
            if self._closing or due <= self._clock():
                await self._write_series(kind, series)
            else:
                next_due = min(next_due, due)
        self._series_due = min(self._series_due, next_due)
        return self._series_due - self._clock()

    async def _write_series(self, kind: _Kind, series: _Series) -> None:
        series.written, count = self._clock(), series.count
        body = {"series": {"count": count, "lastObservedTime": _micro_time(series.observed)}}
        written = await self._attempt(
            lambda: self._client.patch(EVENT, _namespace(kind), series.name, body, content_type=MERGE_PATCH)
        )
        if not written:
            self.stats.dropped_failed += count - series.written_count
            if self._series.get(kind) is series:  # its Event may have outlived its time: begin a new one
                del self._series[kind]
        series.written_count = count

    async def _attempt(self, write: Callable[[], object]) -> bool:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                with anyio.fail_after(WRITE_DEADLINE):
                    await write()  # type: ignore[misc]
            except NotLeaderError:
                return False
            except (TransportError, TimeoutError, ApiError) as error:
                transient = not isinstance(error, ApiError) or error.status >= 500 or error.status == 429
                if not transient or attempt == ATTEMPTS or self._closing:
                    log.info("Could not write an event", error=str(error) or type(error).__name__)
                    return False
                await anyio.sleep(RETRY_DELAY * attempt)
            except Exception:  # an event that cannot be sent must not end the process, for whatever reason
                log.exception("Could not write an event")
                return False
            else:
                self.stats.written += 1
                return True
        return False


def _namespace(kind: _Kind) -> str:
    return kind.object[1] or "default"


def _micro_time(when: datetime) -> str:
    return when.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _shorten(note: str) -> str:
    encoded = note.encode(errors="replace")  # file names may hold what is no text
    if len(encoded) > MAX_NOTE:
        return encoded[: MAX_NOTE - 3].decode(errors="ignore") + "…"
    return encoded.decode()
