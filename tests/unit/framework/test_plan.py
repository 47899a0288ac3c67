"""Plans: what is carried out, what is held back by what, and what a status tells of it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import anyio
import pytest

from controller.apis.plan import PlanStep
from controller.framework.backoff import Backoffs
from controller.framework.plan import (
    AT_REST,
    MAX_CONCURRENT_LANES,
    WHILE_BLOCKED,
    WHILE_WAITING,
    Outcome,
    Plan,
    PlanError,
    Step,
    StepResult,
    StepState,
    UnderWayError,
    carry_out,
    conclude,
    execute,
    plan_status,
    polled,
    preview,
)
from controller.runtime import Request
from controller.runtime.leader import NotLeaderError, causes


@dataclass(frozen=True)
class Do:
    what: str


class Doer:
    """Carries out `Do`; fails where told to."""

    def __init__(self, *failing: str) -> None:
        self.done: list[str] = []
        self._failing = failing

    async def __call__(self, action: Do) -> None:
        if action.what in self._failing:
            raise RuntimeError(f"{action.what} cannot be done")
        self.done.append(action.what)


def step(what: str, *, lane: str = "", **more: str) -> Step:
    return Step(subject=what, reason="because", action=Do(what), lane=lane, **more)  # type: ignore[arg-type]


def states(outcome: Outcome) -> list[str]:
    return [result.state.value for result in outcome.results]


async def test_a_step_that_is_under_way_waits_and_is_no_failure() -> None:
    told = ["half", "whole"]
    done: list[str] = []
    now = [0.0]

    async def copy(action: Do) -> None:
        if action.what == "copy" and told:
            raise UnderWayError(told.pop(0))
        done.append(action.what)

    plan, backoffs = Plan(steps=(step("copy", lane="l"), step("use", lane="l"))), Backoffs(lambda: now[0])
    recorded: list[StepResult] = []

    async def look() -> Outcome:
        return await carry_out(plan, {Do: copy}, Request("", "x"), backoffs, record=recorded.append)

    first = await look()
    assert states(first) == ["Waiting", "Pending"]
    assert (first.failures, first.changed, first.results[0].step.waits_for) == ((), False, "half")
    after = conclude(first, None).requeue_after
    assert after is not None
    assert 0 < after < 1
    assert (await look()).results[0].step.waits_for == "half", "it is not asked again before its time"
    (row, _) = plan_status(first, (), "now")
    assert (row.state, row.waits_for, row.error) == ("Waiting", "half", "")
    for expected in (["Waiting", "Pending"], ["Done", "Done"]):
        now[0] += 60
        assert states(await look()) == expected
    assert done == ["copy", "use"]
    assert [(result.state.value, result.step.waits_for) for result in recorded[:2]] == [
        ("Waiting", "half"),
        ("Waiting", "whole"),
    ]


async def test_steps_of_a_lane_run_in_order() -> None:
    doer = Doer()
    outcome = await execute(Plan(steps=tuple(step(n, lane="l") for n in "abc")), {Do: doer})
    assert doer.done == ["a", "b", "c"]
    assert outcome.changed
    assert states(outcome) == ["Done", "Done", "Done"]


@pytest.mark.parametrize(
    ("held", "state"),
    [({"waits_for": "rain"}, "Waiting"), ({"consent": "spec.yes"}, "NeedsConsent")],
)
async def test_a_step_that_is_held_holds_back_its_lane_only(held: dict[str, str], state: str) -> None:
    doer = Doer()
    steps = (step("a", lane="1"), step("b", lane="1", **held), step("c", lane="1"), step("d", lane="2"))
    outcome = await execute(Plan(steps=steps), {Do: doer})
    assert sorted(doer.done) == ["a", "d"]
    assert states(outcome) == ["Done", state, "Pending", "Done"]


async def test_a_failure_holds_back_its_lane_only_and_is_told() -> None:
    doer = Doer("b")
    steps = (step("a", lane="1"), step("b", lane="1"), step("c", lane="1"), step("d", lane="2"))
    outcome = await execute(Plan(steps=steps), {Do: doer})
    assert sorted(doer.done) == ["a", "d"]
    assert states(outcome) == ["Done", "Failed", "Pending", "Done"]
    assert str(PlanError(outcome.failures, 1.0)) == "Do b: b cannot be done"


async def test_the_subject_is_the_lane_where_none_is_named() -> None:
    doer = Doer("x")
    steps = tuple(Step(subject="s", reason="r", action=Do(what)) for what in ("x", "y"))
    outcome = await execute(Plan(steps=steps), {Do: doer})
    assert states(outcome) == ["Failed", "Pending"]


async def test_an_action_that_takes_too_long_fails() -> None:
    async def for_ever(_: Do) -> None:
        await anyio.sleep_forever()

    slow = Step(subject="a", reason="r", action=Do("a"), deadline=0.01)
    outcome = await execute(Plan(steps=(slow,)), {Do: for_ever})
    assert [r.error for r in outcome.failures] == ["not done within 0.01 s"]


@pytest.mark.parametrize("nested", [False, True])
async def test_a_loss_of_leadership_is_no_failure_of_the_step_and_stops_every_lane(nested: bool) -> None:
    recorded: list[StepResult] = []
    cancelled = False
    lost = NotLeaderError("another holds the lease")

    async def do(action: Do) -> None:
        nonlocal cancelled
        if action.what == "a":
            raise ExceptionGroup("of a task group", [lost]) if nested else lost
        try:
            await anyio.sleep_forever()
        finally:
            cancelled = True

    with anyio.fail_after(60), pytest.raises(ExceptionGroup) as caught:
        await execute(Plan(steps=(step("b"), step("a"))), {Do: do}, record=recorded.append)
    assert causes(caught.value) == (lost,)
    assert cancelled
    assert recorded == []


async def test_lanes_run_side_by_side_up_to_a_bound() -> None:
    running = most = 0
    everybody_waits = anyio.Event()

    async def count(_: Do) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        if running == MAX_CONCURRENT_LANES:
            everybody_waits.set()
        await everybody_waits.wait()
        running -= 1

    steps = tuple(step(str(n)) for n in range(MAX_CONCURRENT_LANES + 3))
    with anyio.fail_after(60):
        await execute(Plan(steps=steps), {Do: count})
    assert most == MAX_CONCURRENT_LANES


async def test_an_unknown_action_is_found_before_anything_is_done() -> None:
    @dataclass(frozen=True)
    class Unknown:
        pass

    doer = Doer()
    steps = (step("a"), Step(subject="b", reason="r", action=Unknown()))
    with pytest.raises(KeyError, match="no handler for action Unknown of b"):
        await execute(Plan(steps=steps), {Do: doer})
    assert doer.done == []


async def test_every_step_that_was_tried_is_recorded() -> None:
    recorded: list[tuple[str, str]] = []
    steps = (step("a"), step("b"), step("c", waits_for="rain"))
    await execute(Plan(steps=steps), {Do: Doer("b")}, record=lambda r: recorded.append((r.step.subject, r.state.value)))
    assert sorted(recorded) == [("a", "Done"), ("b", "Failed")]


def test_a_preview_does_nothing() -> None:
    steps = (step("a"), step("b", waits_for="rain"), step("c", consent="spec.yes"))
    assert states(preview(Plan(steps=steps))) == ["Pending", "Waiting", "NeedsConsent"]


def test_a_step_has_something_to_do_or_to_wait_for() -> None:
    with pytest.raises(ValueError, match="neither an action nor something that it waits for"):
        Step(subject="a", reason="r")


def waiting(reason: str = "r") -> StepResult:
    return StepResult(step=Step(subject="a", reason=reason, waits_for="rain"), state=StepState.WAITING)


def test_a_step_keeps_the_time_since_when_it_is_in_its_state() -> None:
    first = plan_status(Outcome(results=(waiting(),)), (), "09:00")
    again = plan_status(Outcome(results=(waiting("another reason"),)), first, "10:00")
    assert [s.since for s in again] == ["09:00"]
    failed = StepResult(step=waiting().step, state=StepState.FAILED, error="no")
    assert [s.since for s in plan_status(Outcome(results=(failed,)), again, "11:00")] == ["11:00"]


def test_what_is_done_is_not_shown() -> None:
    done = StepResult(step=step("a"), state=StepState.DONE)
    shown = plan_status(Outcome(results=(done, waiting())), (), "09:00")
    assert shown == (
        PlanStep(subject="a", action="Wait", reason="r", state="Waiting", waits_for="rain", since="09:00"),
    )


async def test_what_only_finds_something_out_is_done_for_a_plan_that_is_only_shown() -> None:
    doer = Doer()
    steps = (replace(step("look"), observes=True), step("change"), replace(step("wait", waits_for="x"), observes=True))
    outcome = await execute(Plan(steps=steps), {Do: doer}, only_observing=True)
    assert doer.done == ["look"]
    assert states(outcome) == ["Done", "Pending", "Waiting"]


def test_what_no_event_tells_of_is_looked_at_the_sooner_the_more_it_moves() -> None:
    waits = Step(subject="x", reason="r", waits_for="w")
    blocked = Step(subject="y", action=Do("y"), reason="r", consent="c")
    assert [polled(steps) for steps in ((), (waits,), (waits, blocked))] == [
        Plan(look_again=AT_REST),
        Plan(steps=(waits,), look_again=WHILE_WAITING),
        Plan(steps=(waits, blocked), look_again=WHILE_BLOCKED),
    ]
    told = [polled(steps, at_rest=7.0, while_waiting=8.0).look_again for steps in ((), (waits,), (blocked,))]
    assert told == [7.0, 8.0, WHILE_BLOCKED]
