"""Plans: the steps that an analysis decides on, as data that can be shown, and carried out where permitted.

An analysis returns a `Plan`; `execute` carries out the steps that are permitted now. Steps of one lane run in order. A
step that waits, lacks consent or fails holds back the rest of its own lane only, so a stuck node or daemon never blocks
another lane. Each lane that failed has its own backoff, and does not delay the next look for the others. Waiting is
data: no coroutine waits for a daemon; the reconciler looks again when an event arrives or after `Plan.look_again`
seconds.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import anyio
import msgspec

from controller.apis.meta import ObjectMeta
from controller.apis.plan import PlanStep
from controller.framework.backoff import SOON, Backoffs, LaneBackoff, StepKey
from controller.framework.text import cut
from controller.runtime import Request, Result, RetryAfterError
from controller.runtime.leader import is_lost
from controller.runtime.log import redact_text
from informers.turns import sliced

MAX_CONCURRENT_LANES = 8
"""Most lanes that are carried out at once; bounds the load of one reconcile on API server and storage system."""

MAX_NAMED = 10
"""Most failures that an error names."""

MAX_ROWS, MAX_SUBJECTS, MAX_TEXT = 50, 5, 400
"""Most rows of a plan in the status, subjects that a row names, and characters of each text in a row."""

MODE_ANNOTATION = "rook.io/mode"
"""The annotation by which a user asks to see the plan for an object first."""
PLAN_ONLY, APPLY = "plan", "apply"
"""Values of `status.plan.mode`: the plan is only shown, as the annotation asks, or it is carried out."""

AT_REST, WHILE_BLOCKED, WHILE_WAITING = 60.0, 20.0, 3.0
"""Seconds until the next look where no event tells of changes: at what is as it should be, at what is held back until
somebody consents, and at what waits for something else."""

type Handler = Callable[[Any], Awaitable[None]]
"""Carries out one action. It must be idempotent: the operator may die at any instruction, and repeats the action."""


class StepState(StrEnum):
    """The state of a step. The values are those of `status.plan.steps[].state`."""

    PENDING = "Pending"
    WAITING = "Waiting"
    NEEDS_CONSENT = "NeedsConsent"
    DONE = "Done"
    FAILED = "Failed"


class UnderWayError(Exception):
    """What an action has begun goes on elsewhere, and is not done yet. The message is what the step waits for.

    It is no failure. The step waits, with the pauses of a lane that failed, and its action is the next question.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing to do, or to wait for.

    Attributes:
        subject: The name of the thing that the step is about, for people: "mon b", "device worker-1/sdb".
        action: An instance of a type for which `execute` has a handler. None: the step only waits.
        reason: The reason, in words for people.
        lane: Steps of the same lane run in order. Default: the subject.
        waits_for: What has to happen before the step is carried out. Empty: nothing.
        consent: The spec field that must be set before the step is carried out. Empty: none, or it is set.
        deadline: Seconds that the action may take.
        observes: The action only reads. It is carried out even if the plan is only shown.
    """

    subject: str
    reason: str
    action: object | None = None
    lane: str = ""
    waits_for: str = ""
    consent: str = ""
    deadline: float = 60.0
    observes: bool = False

    def __post_init__(self) -> None:
        if self.action is None and not self.waits_for:
            raise ValueError(f"step for {self.subject} has neither an action nor something that it waits for")

    @property
    def key(self) -> StepKey:
        """The identity of the step among those of its object, from one look to the next."""
        return self.lane or self.subject, self.subject, self.title

    @property
    def title(self) -> str:
        """The action's name in the status: its type, or "Wait"."""
        return "Wait" if self.action is None else type(self.action).__name__

    @property
    def held_by(self) -> StepState | None:
        """The state of a step that must not be carried out now; None if it may be."""
        if self.consent:
            return StepState.NEEDS_CONSENT
        return StepState.WAITING if self.waits_for else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Ordered steps, and the seconds until the next look if no event arrives (None: wait for an event)."""

    steps: tuple[Step, ...] = ()
    look_again: float | None = None


def polled(steps: Sequence[Step], *, at_rest: float = AT_REST, while_waiting: float = WHILE_WAITING) -> Plan:
    """The plan for what changes in a storage system, of which no event tells.

    Args:
        steps: Its steps.
        at_rest: Seconds until the next look where there is no step.
        while_waiting: Seconds until the next look where there are steps, none of which lacks consent.
    """
    if any(step.consent for step in steps):
        return Plan(steps=tuple(steps), look_again=WHILE_BLOCKED)
    return Plan(steps=tuple(steps), look_again=while_waiting if steps else at_rest)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepResult:
    """A step, its state, and its error if it failed.

    `tried`: whether this look carried out its action. It is false for a step whose backoff has not passed yet.
    """

    step: Step
    state: StepState
    error: str = ""
    tried: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The result of each step of a plan, in the plan's order.

    Attributes:
        results: The results.
        retry_after: Seconds until the first retry of a failed lane; None if none failed.
        soon: Seconds until the look that shows the effect of the actions; it grows while look after look carries out
            the same. None if no action was carried out.
    """

    results: tuple[StepResult, ...] = ()
    retry_after: float | None = None
    soon: float | None = None

    @property
    def changed(self) -> bool:
        """Whether any action was carried out, which makes the observation out of date."""
        return any(result.state is StepState.DONE for result in self.results)

    @property
    def held(self) -> tuple[StepResult, ...]:
        """The steps that wait, lack consent or failed."""
        return tuple(r for r in self.results if r.state not in (StepState.DONE, StepState.PENDING))

    @property
    def failures(self) -> tuple[StepResult, ...]:
        """The steps whose action failed or missed its deadline, now or at the last try."""
        return tuple(result for result in self.results if result.state is StepState.FAILED)


class PlanError(RetryAfterError):
    """Steps of a plan failed. The message names some of them with their errors. Other lanes were carried out."""

    def __init__(self, failures: tuple[StepResult, ...], retry_after: float) -> None:
        told = [f"{f.step.title} {f.step.subject}: {f.error}" for f in failures[:MAX_NAMED]]
        more = len(failures) - MAX_NAMED
        super().__init__("; ".join(told) + (f" and {more} more" if more > 0 else ""), retry_after)
        self.failures = failures


def is_plan_only(metadata: ObjectMeta) -> bool:
    """Whether the object's annotation asks that its plan is only shown."""
    return metadata.annotations.get(MODE_ANNOTATION) == PLAN_ONLY


def preview(plan: Plan) -> Outcome:
    """The outcome of a plan of which nothing is carried out: its `rook.io/mode: plan` view."""
    return Outcome(results=tuple(StepResult(step=s, state=s.held_by or StepState.PENDING) for s in plan.steps))


async def execute(
    plan: Plan,
    handlers: Mapping[type, Handler],
    *,
    record: Callable[[StepResult], None] | None = None,
    lanes: LaneBackoff | None = None,
    only_observing: bool = False,
) -> Outcome:
    """Carries out the steps of `plan` that are permitted now.

    Args:
        plan: The plan.
        handlers: The handler of each type of action.
        record: Called at once with each step that is done, under way or has failed, for events and metrics.
        lanes: The backoff of the object's lanes, which is updated. None: every lane is tried.
        only_observing: Carry out only steps that observe; the others are as in `preview`.

    Returns:
        The result of each step. It contains the errors of actions, which are not raised: no lane stops another.

    Raises:
        ExceptionGroup: Contains a `NotLeaderError`: an action was refused because this process no longer leads. This is
            no failure of the step: it is not recorded, and every lane is cancelled. The caller must not catch it.
        KeyError: A step's action has no handler. Nothing was carried out.
    """
    by_lane: dict[str, list[int]] = {}
    async for index, step in sliced(list(enumerate(plan.steps))):
        if step.action is not None and type(step.action) not in handlers:
            raise KeyError(f"no handler for action {step.title} of {step.subject}")
        by_lane.setdefault(step.lane or step.subject, []).append(index)
    backoff = lanes if lanes is not None else LaneBackoff()
    backoff.keep(step.key for step in plan.steps)
    results = [StepResult(step=s, state=s.held_by or StepState.PENDING) async for s in sliced(plan.steps)]

    async def run_lane(indexes: list[int]) -> None:
        for index in indexes:
            step = plan.steps[index]
            if step.held_by is not None or (only_observing and not step.observes):
                return
            results[index] = result = await _try(step, handlers, backoff)
            if record is not None and result.tried:
                record(result)
            if result.state is not StepState.DONE:
                return

    # Workers take lanes from one iterator: ten thousand lanes are not ten thousand tasks.
    ready = [lane for lane in by_lane.values() if plan.steps[lane[0]].held_by is None]
    lanes_left = iter(ready)

    async def work() -> None:
        for indexes in lanes_left:
            await run_lane(indexes)

    async with anyio.create_task_group() as tasks:
        for _ in range(min(MAX_CONCURRENT_LANES, len(ready))):
            tasks.start_soon(work)
    soon = backoff.looked(result.step.key for result in results if result.state is StepState.DONE)
    return Outcome(results=tuple(results), retry_after=backoff.retry_after(), soon=soon)


async def carry_out(
    plan: Plan,
    handlers: Mapping[type, Handler],
    request: Request,
    backoffs: Backoffs,
    *,
    record: Callable[[StepResult], None] | None = None,
    only_observing: bool = False,
) -> Outcome:
    """`execute`, with the backoff of the object's lanes kept in `backoffs`."""
    lanes = backoffs.of(request)
    try:
        return await execute(plan, handlers, record=record, lanes=lanes, only_observing=only_observing)
    finally:
        backoffs.keep(request, lanes)


def conclude(outcome: Outcome, look_again: float | None) -> Result:
    """The result of a reconcile that carried out a plan: the earliest time of the next look.

    Args:
        outcome: The outcome of the plan.
        look_again: Seconds until the next look, unless a retry comes first; None: only after an event.

    Raises:
        PlanError: Steps were tried and failed.
    """
    waits = [seconds for seconds in (look_again, outcome.retry_after) if seconds is not None]
    failed = tuple(result for result in outcome.failures if result.tried)
    if failed:
        raise PlanError(failed, max(min(waits, default=SOON), SOON))
    return Result(requeue_after=max(min(waits), SOON) if waits else None)


async def _try(step: Step, handlers: Mapping[type, Handler], lanes: LaneBackoff) -> StepResult:
    held = lanes.held(step.key, step.action)
    if held is not None:
        return _unfinished(step, held.error, under_way=held.under_way)
    try:
        error = await _carry_out(step, handlers)
    except UnderWayError as progress:
        told = redact_text(str(progress))
        lanes.failed(step.key, step.action, told, under_way=True)
        return _unfinished(step, told, under_way=True, tried=True)
    if error:
        lanes.failed(step.key, step.action, error)
        return _unfinished(step, error, tried=True)
    lanes.succeeded(step.key)
    return StepResult(step=step, state=StepState.DONE, tried=True)


def _unfinished(step: Step, why: str, *, under_way: bool = False, tried: bool = False) -> StepResult:
    if under_way:
        return StepResult(step=replace(step, waits_for=why), state=StepState.WAITING, tried=tried)
    return StepResult(step=step, state=StepState.FAILED, error=why, tried=tried)


async def _carry_out(step: Step, handlers: Mapping[type, Handler]) -> str:
    """Carries out an action. Returns its error; empty if it is done.

    Raises:
        UnderWayError: It has begun, and goes on.
    """
    try:
        with anyio.move_on_after(step.deadline) as scope:
            await handlers[type(step.action)](step.action)
    except UnderWayError:
        raise
    except Exception as error:  # an error of an action concerns its lane only, and is in the outcome
        if is_lost(error):
            raise
        # Events and statuses show it, and more people may read these than may read Secrets.
        return redact_text(str(error)) or type(error).__name__
    return f"not done within {step.deadline:g} s" if scope.cancelled_caught else ""


def plan_status(outcome: Outcome, previous: tuple[PlanStep, ...], now: str) -> tuple[PlanStep, ...]:
    """The steps that are not done yet, as the status shows them, each with the time since which it is in its state.

    Steps that are done are in events only: in the status they would cause one more write at the next look. Steps that
    differ only in their subject are one row, and there are at most `MAX_ROWS` rows, so that even a plan of ten thousand
    steps takes only a few KiB.
    """
    alike: dict[tuple[str, ...], list[StepResult]] = {}
    for result in outcome.results:
        if result.state is not StepState.DONE:
            alike.setdefault(_kind(result), []).append(result)
    groups = list(alike.values())
    rest: list[list[StepResult]] = []
    if len(groups) > MAX_ROWS:
        failed_first = sorted(range(len(groups)), key=lambda i: groups[i][0].state is not StepState.FAILED)
        shown = frozenset(failed_first[: MAX_ROWS - 1])
        rest = [group for i, group in enumerate(groups) if i not in shown]
        groups = [group for i, group in enumerate(groups) if i in shown]
    rows = [_row(group) for group in groups]
    if rest:
        count = sum(map(len, rest))
        row = _row([result for group in rest for result in group])
        rows.append(msgspec.structs.replace(row, reason=f"{count} more steps", waits_for="", error=""))
    since = {_identity(row): row.since for row in previous}
    return tuple(msgspec.structs.replace(row, since=since.get(_identity(row)) or now) for row in rows)


def _kind(result: StepResult) -> tuple[str, ...]:
    """The key by which steps are one row: everything but their subjects."""
    step = result.step
    texts = (step.reason, step.waits_for, step.consent, result.error)
    return step.title, result.state, *(_without(text, step.subject) for text in texts)


def _without(text: str, name: str) -> str:
    """The text without a name, where the name is a word of its own: osd.1 is not part of osd.11."""
    start = text.find(name)
    while start >= 0:
        end = start + len(name)
        if text[max(start - 1, 0) : start].isalnum() or text[end : end + 1].isalnum():
            start = text.find(name, end)
        else:
            text = text[:start] + text[end:]
            start = text.find(name, start)
    return text


def _row(alike: Sequence[StepResult]) -> PlanStep:
    first = alike[0]
    step = first.step
    names = list(dict.fromkeys(result.step.subject for result in alike[: MAX_SUBJECTS + 1]))
    more = len(alike) - MAX_SUBJECTS
    return PlanStep(
        subject=cut(", ".join(names[:MAX_SUBJECTS]) + (f" and {more} more" if more > 0 else ""), MAX_TEXT),
        action=step.title,
        reason=cut(step.reason, MAX_TEXT),
        state=first.state.value,
        waits_for=cut(step.waits_for, MAX_TEXT),
        consent=cut(step.consent, MAX_TEXT),
        error=cut(first.error, MAX_TEXT),
        count=len(alike) if len(alike) > 1 else 0,
    )


def _identity(row: PlanStep) -> tuple[str, ...]:
    """What tells a row from others from one look to the next: of many steps, the subjects come and go."""
    return (row.reason if row.count else row.subject, row.action, row.state)
