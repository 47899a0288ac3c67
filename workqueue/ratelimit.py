"""How long a key must wait before it is tried again: per-key exponential backoff under an overall token bucket.

Figures and meaning are those of client-go's `DefaultTypedControllerRateLimiter`.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Hashable
from typing import Protocol

from workqueue.clock import loop_clock


class RateLimiter[K: Hashable](Protocol):
    """Decides when a key may be retried."""

    def when(self, key: K) -> float:
        """Count a failure of the key, and return the seconds until it may be retried."""

    def forget(self, key: K) -> None:
        """Reset the key's backoff: it succeeded, or is given up."""

    def requeues(self, key: K) -> int:
        """How often the key has failed since it was last forgotten."""


class ItemExponentialBackoff[K: Hashable]:
    """Doubles each key's delay from `base` to `cap`. Keeps one number per failing key, until it is forgotten.

    Args:
        base: Seconds after the first failure.
        cap: Seconds that no delay exceeds.
        jitter: The share of the delay that is random, from 0 to 1: keys that failed together come back apart. A delay
            is between `1 - jitter` of its nominal value and its nominal value.
        uniform: Random numbers from [0, 1).
    """

    def __init__(
        self,
        base: float = 0.005,
        cap: float = 1000.0,
        *,
        jitter: float = 0.1,
        uniform: Callable[[], float] = random.random,
    ) -> None:
        self._base = base
        self._cap = cap
        self._jitter = jitter
        self._uniform = uniform
        # From this failure on the delay is the cap; the exponent stays small however often a key fails.
        self._capped_at = max(0, math.ceil(math.log2(cap / base)))
        self._failures: dict[K, int] = {}

    def when(self, key: K) -> float:
        """Count a failure of the key, and return the seconds until it may be retried."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        delay = self._cap if failures >= self._capped_at else self._base * 2**failures
        return delay * (1.0 - self._jitter * self._uniform())

    def forget(self, key: K) -> None:
        """Reset the key's backoff."""
        self._failures.pop(key, None)

    def requeues(self, key: K) -> int:
        """How often the key has failed since it was last forgotten."""
        return self._failures.get(key, 0)


class TokenBucket[K: Hashable]:
    """Bounds the retries of all keys together to `qps` a second on average, with bursts of `burst`.

    A retry takes a token at once. If none is left it takes a future one, and waits until that is due.
    """

    def __init__(self, qps: float = 10.0, burst: int = 100, *, clock: Callable[[], float] | None = None) -> None:
        self._qps = qps
        self._burst = burst
        self._clock = clock or loop_clock()
        self._tokens = float(burst)
        self._updated = self._clock()

    def when(self, key: K) -> float:
        """Take a token, and return the seconds until it is available."""
        now = self._clock()
        self._tokens = min(self._burst, self._tokens + (now - self._updated) * self._qps) - 1.0
        self._updated = now
        return max(0.0, -self._tokens / self._qps)

    def forget(self, key: K) -> None:
        """Nothing is kept by key."""

    def requeues(self, key: K) -> int:
        """Always 0: nothing is kept by key."""
        return 0


class MaxOf[K: Hashable]:
    """Combines several limiters: the longest delay counts."""

    def __init__(self, *limiters: RateLimiter[K]) -> None:
        self._limiters = limiters

    def when(self, key: K) -> float:
        """Count a failure with every limiter, and return the longest delay."""
        return max(limiter.when(key) for limiter in self._limiters)

    def forget(self, key: K) -> None:
        """Reset the key's backoff with every limiter."""
        for limiter in self._limiters:
            limiter.forget(key)

    def requeues(self, key: K) -> int:
        """The most failures that a limiter has counted."""
        return max(limiter.requeues(key) for limiter in self._limiters)


def default_rate_limiter[K: Hashable](clock: Callable[[], float] | None = None) -> RateLimiter[K]:
    """5 ms doubling to 1000 s for each key, 10 retries a second with bursts of 100 for all together."""
    return MaxOf(ItemExponentialBackoff[K](), TokenBucket[K](clock=clock))
