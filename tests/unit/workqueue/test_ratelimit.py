"""Rate limiters."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workqueue import ItemExponentialBackoff, MaxOf, RateLimiter, TokenBucket, default_rate_limiter


@given(
    failures=st.integers(1, 200),
    base=st.floats(0.001, 10),
    factor=st.floats(1, 1e6),
    jitter=st.floats(0, 1),
    random=st.floats(0, 1, exclude_max=True),
)
def test_backoff_doubles_within_its_bounds(
    failures: int, base: float, factor: float, jitter: float, random: float
) -> None:
    limiter: ItemExponentialBackoff[str] = ItemExponentialBackoff(
        base, base * factor, jitter=jitter, uniform=lambda: random
    )
    for failure in range(failures):
        nominal = min(base * 2.0**failure, base * factor)
        delay = limiter.when("a")
        assert nominal * (1 - jitter) <= delay * (1 + 1e-9)
        assert delay <= nominal * (1 + 1e-9)
    assert limiter.requeues("a") == failures
    assert limiter.requeues("b") == 0
    limiter.forget("a")
    assert limiter.requeues("a") == 0
    assert limiter.when("a") <= base


def test_bucket_allows_a_burst_and_then_the_rate() -> None:
    clock = [100.0]
    bucket: TokenBucket[str] = TokenBucket(10.0, 3, clock=lambda: clock[0])
    assert [bucket.when("a") for _ in range(5)] == pytest.approx([0, 0, 0, 0.1, 0.2])
    clock[0] += 0.2
    assert bucket.when("b") == pytest.approx(0.1)
    clock[0] += 1000.0
    assert [bucket.when("c") for _ in range(4)] == pytest.approx([0, 0, 0, 0.1])
    assert bucket.requeues("c") == 0


def test_the_longest_delay_counts() -> None:
    clock = [0.0]
    limiter = MaxOf[str](ItemExponentialBackoff(1.0, 4.0, jitter=0.0), TokenBucket(0.1, 1, clock=lambda: clock[0]))
    assert [limiter.when("a") for _ in range(3)] == pytest.approx([1.0, 10.0, 20.0])
    assert limiter.requeues("a") == 3
    limiter.forget("a")
    assert limiter.requeues("a") == 0


def test_the_default_starts_at_5_ms_and_allows_100_at_once() -> None:
    limiter: RateLimiter[int] = default_rate_limiter(lambda: 0.0)
    delays = [limiter.when(key) for key in range(101)]
    assert all(0.0045 <= delay <= 0.005 for delay in delays[:100])
    assert delays[100] == pytest.approx(0.1)
