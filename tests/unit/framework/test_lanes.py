"""Lanes: a failed one backs off alone, and many of them are few tasks."""

from __future__ import annotations

import asyncio

import pytest

from controller.framework.backoff import FIRST_RETRY, JITTER, LAST_RETRY, SOON, Backoffs
from controller.framework.plan import (
    MAX_CONCURRENT_LANES,
    Outcome,
    Plan,
    PlanError,
    Step,
    carry_out,
    conclude,
    execute,
)
from controller.runtime import Controller, Request, Result
from controller.testkit import ApiServer, new_manager, running, virtual_time
from tests.turns import LOOKS, counted_turns
from tests.unit.framework.test_plan import Do, Doer

REQUEST, OTHER = Request("ns", "x"), Request("ns", "other")


class Time:
    """A clock that is moved by hand."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def step(what: str) -> Step:
    return Step(subject=what, reason="because", action=Do(what))


def states(outcome: Outcome) -> list[str]:
    return [result.state.value for result in outcome.results]


async def test_a_time_out_of_the_action_itself_is_not_told_as_the_steps_deadline() -> None:
    async def times_out(_: Do) -> None:
        raise TimeoutError("mon_command: no answer within 15 s")

    outcome = await execute(Plan(steps=(step("a"),)), {Do: times_out})
    assert [r.error for r in outcome.failures] == ["mon_command: no answer within 15 s"]


async def test_ten_thousand_lanes_are_not_ten_thousand_tasks() -> None:
    most = 0

    async def count(_: Do) -> None:
        nonlocal most
        most = max(most, len(asyncio.all_tasks()))
        await asyncio.sleep(0)

    before = len(asyncio.all_tasks())
    await execute(Plan(steps=tuple(step(str(n)) for n in range(10_000))), {Do: count})
    assert most <= before + MAX_CONCURRENT_LANES


async def test_a_plan_of_any_length_is_gone_through_in_slices() -> None:
    waiting = Plan(steps=tuple(Step(subject=str(n), reason="because", waits_for="others") for n in range(500)))
    async with counted_turns() as had:
        await execute(waiting, {})
        assert had[0] >= 2 * (500 // LOOKS - 1)


async def test_a_lane_that_failed_backs_off_alone() -> None:
    clock, doer = Time(), Doer("bad")
    backoffs = Backoffs(clock)
    plan = Plan(steps=(step("bad"), step("good")), look_again=45.0)
    waits: list[float] = []
    for _ in range(20):
        outcome = await carry_out(plan, {Do: doer}, REQUEST, backoffs)
        with pytest.raises(PlanError, match="bad cannot be done") as caught:
            conclude(outcome, plan.look_again)
        waits.append(caught.value.retry_after)
        again = await carry_out(plan, {Do: doer}, REQUEST, backoffs)
        assert states(again) == ["Failed", "Done"], "the other lane goes on meanwhile"
        assert again.failures[0].error == "bad cannot be done", "and the status goes on to say why"
        assert 0 < (conclude(again, plan.look_again).requeue_after or 0) <= LAST_RETRY, "it is no failure of this look"
        clock.now += caught.value.retry_after
    assert len(doer.done) == 40
    assert FIRST_RETRY * (1 - JITTER) <= waits[0] <= FIRST_RETRY
    assert LAST_RETRY * (1 - JITTER) <= waits[-1] <= LAST_RETRY


@virtual_time
async def test_what_is_undone_at_once_is_no_hot_loop() -> None:
    doer, looks = Doer(), 0

    class Fought:
        """Does what somebody undoes until the next look, and each time something else beside it."""

        def __init__(self) -> None:
            self.backoffs = Backoffs()

        async def reconcile(self, request: Request) -> Result:
            nonlocal looks
            looks += 1
            plan = Plan(steps=(step("fought over"), step(f"number {looks}")))
            outcome = await carry_out(plan, {Do: doer}, request, self.backoffs)
            return conclude(outcome, plan.look_again if outcome.soon is None else outcome.soon)

    server = ApiServer()
    manager = new_manager(server)
    controller = Controller("fought", Fought())
    manager.add(controller)
    async with running(manager):
        controller.queue.add(REQUEST)
        await asyncio.sleep(1.0)
        assert looks >= 4, "at first it is looked at again at once"
        await asyncio.sleep(600.0)
        assert 20 <= looks <= 40, "and later twice a minute"


async def test_different_changes_one_after_the_other_are_not_held_up() -> None:
    backoffs = Backoffs()
    for number in range(50):
        outcome = await carry_out(Plan(steps=(step(str(number)),)), {Do: Doer()}, REQUEST, backoffs)
        assert outcome.soon == SOON
    assert (await carry_out(Plan(), {}, REQUEST, backoffs)).soon is None
    assert backoffs.tracked == 0


async def test_the_object_is_looked_at_again_no_later_than_without_the_failure() -> None:
    clock = Time()
    backoffs = Backoffs(clock)
    plan = Plan(steps=(step("bad"),), look_again=2.0)
    for _ in range(20):
        outcome = await carry_out(plan, {Do: Doer("bad")}, REQUEST, backoffs)
        with pytest.raises(PlanError) as caught:
            conclude(outcome, plan.look_again)
        assert caught.value.retry_after <= 2.0
        clock.now += LAST_RETRY


async def test_a_step_with_another_action_is_tried_at_once() -> None:
    backoffs = Backoffs(Time())

    def asked(what: str) -> Plan:
        return Plan(steps=(Step(subject="setting", reason="r", action=Do(what)),))

    assert states(await carry_out(asked("typo"), {Do: Doer("typo")}, REQUEST, backoffs)) == ["Failed"]
    assert states(await carry_out(asked("typo"), {Do: Doer()}, REQUEST, backoffs)) == ["Failed"]
    assert states(await carry_out(asked("right"), {Do: Doer()}, REQUEST, backoffs)) == ["Done"]
    await carry_out(Plan(), {}, REQUEST, backoffs)
    assert backoffs.tracked == 0


@pytest.mark.parametrize("end", ["the step leaves the plan", "the object goes"])
async def test_failures_are_forgotten(end: str) -> None:
    backoffs = Backoffs(Time())
    await carry_out(Plan(steps=(step("bad"),)), {Do: Doer("bad")}, REQUEST, backoffs)
    await carry_out(Plan(steps=(step("good"),)), {Do: Doer()}, OTHER, backoffs)
    await carry_out(Plan(), {}, OTHER, backoffs)
    assert backoffs.tracked == 1, "only objects with a lane that failed are kept, or that were changed just now"
    if end == "the object goes":
        backoffs.forget(REQUEST)
    else:
        await carry_out(Plan(), {}, REQUEST, backoffs)
    assert backoffs.tracked == 0
