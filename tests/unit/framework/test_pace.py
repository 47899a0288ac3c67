"""How often an object is looked at: bursts become one look, and long looks are further apart."""

from __future__ import annotations

from controller.framework.pace import BURST, INTERVAL, LONGEST, SHARE, Pace
from controller.runtime import Request

REQUEST, OTHER = Request("ns", "x"), Request("ns", "y")


class Time:
    """A clock that is moved by hand."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def looks(pace: Pace, clock: Time, *, seconds: float, event_every: float, took: float = 0.0) -> int:
    """How many looks so many seconds of events come to."""
    count, ends, due = 0, clock.now + seconds, clock.now
    while clock.now < ends:
        if clock.now >= due:
            wait = pace.wait(REQUEST)
            due = clock.now + wait
            if not wait:
                count += 1
                pace.took(REQUEST, took)
        clock.now += event_every
    return count


def test_a_burst_is_followed_by_few_looks_and_the_last_event_is_seen() -> None:
    clock = Time()
    pace = Pace(clock)
    assert looks(pace, clock, seconds=60, event_every=0.01) <= BURST + 60 / INTERVAL + 1
    while not (wait := pace.wait(REQUEST)):
        pass
    assert wait <= INTERVAL
    clock.now += wait
    assert pace.wait(REQUEST) == 0.0
    assert pace.wait(OTHER) == 0.0, "others do not wait for it"


def test_looks_that_take_long_take_a_share_of_the_time() -> None:
    clock = Time()
    pace = Pace(clock)
    pace.wait(REQUEST)
    pace.took(REQUEST, 1.0)
    found = looks(pace, clock, seconds=400, event_every=0.05, took=1.0)
    assert found <= BURST + 400 * SHARE + 1
    pace.took(REQUEST, 1000.0)
    assert pace.wait(REQUEST) <= LONGEST


def test_after_a_rest_a_burst_is_possible_again() -> None:
    clock = Time()
    pace = Pace(clock)
    looks(pace, clock, seconds=30, event_every=0.01)
    clock.now += 1000
    assert [pace.wait(REQUEST) for _ in range(BURST)] == [0.0] * BURST
    assert pace.wait(REQUEST) > 0
    pace.forget(REQUEST)
    assert pace.wait(REQUEST) == 0.0
