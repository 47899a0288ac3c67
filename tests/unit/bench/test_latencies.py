"""What users wait for: the pace of the runs, and what is told of them."""

from __future__ import annotations

import itertools

import pytest

from bench import latencies
from bench.latencies import Latency, paced, percentile, table


class Clock:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_runs_are_begun_at_their_pace_and_each_is_timed_from_its_own_beginning() -> None:
    clock, begun = Clock(), list[float]()
    took = [2.0, 0.3, 5.0, 0.0]

    def arrived() -> list[int]:
        return [number for number, began in enumerate(begun) if clock.now >= began + took[number]]

    found = paced(4, lambda _: begun.append(clock.now), arrived, every=1.0, clock=clock, sleep=clock.sleep)
    assert [later - before for before, later in itertools.pairwise(begun)] == pytest.approx([1, 1, 1], abs=0.06)
    assert found == pytest.approx(took, abs=1.5 * latencies.LOOK_SECONDS)


def test_what_does_not_arrive_is_named_after_the_deadline() -> None:
    clock = Clock()
    with pytest.raises(TimeoutError, match=r"after the last was begun still not: 1, 2$"):
        paced(3, lambda _: None, lambda: [0], every=1.0, clock=clock, sleep=clock.sleep)
    assert clock.now == pytest.approx(100 + 2 + latencies.DEADLINE, abs=1)


@pytest.mark.parametrize(
    ("count", "percent", "expected"), [(50, 99, 50), (200, 99, 198), (50, 50, 25), (1, 99, 1), (3, 0, 1)]
)
def test_percentile(count: int, percent: float, expected: float) -> None:
    assert percentile(reversed(range(1, count + 1)), percent) == expected


def test_the_table_has_a_dash_for_what_was_not_measured() -> None:
    lines = table([Latency("CephFS", "claim to bound", [0.2, 0.4, 0.9])]).splitlines()
    assert lines[0] == "| 50 runs of each | RBD median s | RBD p99 s | CephFS median s | CephFS p99 s |"
    assert lines[2] == "| claim to bound | - | - | 0.40 | 0.90 |"
    assert lines[-1] == "| clone to bound | - | - | - | - |"


def test_block_volumes_are_measured_with_snapshots_and_clones() -> None:
    rbd, _ = latencies.SYSTEMS
    assert rbd.measures == latencies.MEASURES
