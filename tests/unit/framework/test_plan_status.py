"""A plan's public form: bounded, whatever the plan has."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from controller.framework.plan import MAX_ROWS, Outcome, Step, StepResult, StepState, plan_status

if TYPE_CHECKING:
    from collections.abc import Iterable


def waiting(numbers: Iterable[int], waits_for: str = "osd.1 to be restarted") -> list[StepResult]:
    return [
        StepResult(
            step=Step(subject=f"osd.{n}", reason="the image is new", waits_for=waits_for), state=StepState.WAITING
        )
        for n in numbers
    ]


def test_steps_that_wait_for_the_same_thing_are_one_row() -> None:
    alone = waiting([7], waits_for="osd.3 to be back")
    (first, second) = plan_status(Outcome(results=(*waiting(range(10, 5010)), *alone)), (), "09:00")
    assert first.subject == "osd.10, osd.11, osd.12, osd.13, osd.14 and 4995 more"
    assert (first.count, first.reason, first.waits_for) == (5000, "the image is new", "osd.1 to be restarted")
    assert (second.count, second.subject, second.waits_for) == (0, "osd.7", "osd.3 to be back")
    later = plan_status(Outcome(results=tuple(waiting(range(30, 5010), "osd.20"))), (first, second), "10:00")
    assert [row.since for row in later] == ["09:00"], "who of many waits changes; since when they do does not"


def test_what_differs_by_its_own_name_only_is_alike() -> None:
    found = [waiting([n], waits_for=f"osd.{n} to be dispensable")[0] for n in (1, 11)]
    (row,) = plan_status(Outcome(results=tuple(found)), (), "09:00")
    assert (row.subject, row.count, row.waits_for) == ("osd.1, osd.11", 2, "osd.1 to be dispensable")


@pytest.mark.parametrize("count", [MAX_ROWS + 1, 5_000])
def test_whatever_a_plan_has_its_rows_are_few_and_short_and_tell_of_failures(count: int) -> None:
    unlike = [
        StepResult(step=Step(subject=f"s{n}" * 99, reason=f"r{n}" * 99, waits_for="w" * 999), state=StepState.WAITING)
        for n in range(count)
    ]
    failed = StepResult(step=Step(subject="bad", reason="r", waits_for="w"), state=StepState.FAILED, error="e" * 10**6)
    outcome = Outcome(results=(*unlike, failed))
    rows = plan_status(outcome, (), "09:00")
    assert len(rows) == MAX_ROWS
    assert rows[-2].subject == "bad"
    assert rows[-1].reason == f"{count + 2 - MAX_ROWS} more steps"
    assert len(msgspec.json.encode(rows)) < 100 << 10
    assert plan_status(outcome, rows, "10:00") == rows, "no write at rest"
