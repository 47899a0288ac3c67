"""Measurements as plain integers: counting costs nanoseconds, whoever publishes them reads them when asked.

A `prometheus_client` histogram costs microseconds for each observation, more than the queue's own work. So the hot
paths count here, and a collector turns the counts into samples at scrape time.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field
from typing import Final


class Histogram:
    """Counts of observed seconds by bucket.

    Attributes:
        bounds: Upper bounds of the buckets in ascending order, each inclusive (Prometheus' `le`); +Inf is implied.
        counts: Observations of each bucket, not cumulative; the last one is beyond all bounds.
        total: Sum of everything observed.
    """

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count one observation."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    @property
    def count(self) -> int:
        """How many observations there were."""
        return sum(self.counts)

    def cumulative(self) -> list[tuple[str, int]]:
        """The buckets as Prometheus wants them: (upper bound, observations up to it), "+Inf" last."""
        buckets, running = [], 0
        for bound, count in zip((*map(str, self.bounds), "+Inf"), self.counts, strict=True):
            running += count
            buckets.append((bound, running))
        return buckets


QUEUE_BUCKETS: Final = tuple(1e-8 * 10**n for n in range(12))
"""Seconds; the buckets of controller-runtime's `workqueue_*_duration_seconds`, so that dashboards fit."""


@dataclass(slots=True)
class QueueStats:
    """What a queue has done since it was made.

    Attributes:
        adds: Keys that entered the queue. Adding a key that is in the queue does not count.
        retries: Calls of `add_rate_limited`.
        queue_duration: Seconds from a key's entry to its hand-out.
        work_duration: Seconds from a key's hand-out to `done`.
    """

    adds: int = 0
    retries: int = 0
    queue_duration: Histogram = field(default_factory=lambda: Histogram(QUEUE_BUCKETS))
    work_duration: Histogram = field(default_factory=lambda: Histogram(QUEUE_BUCKETS))
