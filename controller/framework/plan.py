"""Plans: what an analysis wants done, as data that can be shown, waited on, consented to and carried out.

An analysis returns a `Plan`; `execute` carries out what is permitted now. Steps of one lane run in order, and a step
that waits, lacks consent or fails holds back the rest of its lane only: a stuck node or daemon never blocks another
lane. A lane that failed backs off alone: the object is looked at again as soon as any lane wants it. Waiting is data:
no coroutine is parked until a daemon answers; the reconciler looks again when an event arrives or after
`Plan.look_again` seconds.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
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
"""Lanes carried out at once; bounds what one reconcile asks of the API server and the storage system."""

MAX_NAMED = 10
"""Failures that an error names."""

MAX_ROWS, MAX_SUBJECTS, MAX_TEXT = 50, 5, 400
"""Rows of a plan's public form, subjects that a row names, and characters of each of its texts."""

MODE_ANNOTATION = "rook.io/mode"
"""The annotation by which a user asks to see the plan for an object first."""
PLAN_ONLY, APPLY = "plan", "apply"
"""What `status.plan.mode` shows: that the plan is only shown, which the annotation asks for, or carried out."""

type Handler = Callable[[Any], Awaitable[None]]
"""Carries out one action. Must be idempotent: the operator may die at any instruction and repeat it."""


class StepState(StrEnum):
    """What became of a step. Values are what `status.plan.steps[].state` shows."""

    PENDING = "Pending"
    WAITING = "Waiting"
    NEEDS_CONSENT = "NeedsConsent"
    DONE = "Done"
    FAILED = "Failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing to do, or to wait for.

    Attributes:
        subject: What it is about, as a person names it: "mon b", "device worker-1/sdb".
        action: What to do, an instance of a type that `execute`'s handlers know. None: there is nothing to do but wait.
        reason: Why, in words that a person understands.
        lane: Steps of the same lane run in order. Defaults to the subject.
        waits_for: What has to happen first, and nothing is done until then. Empty: the step may be carried out now.
        consent: The spec field that must be set before the step may be carried out. Empty: none is needed, or given.
        deadline: Seconds that the action may take.
        observes: The action only finds something out, and is carried out also where the plan is only shown.
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
        """What tells the step from the others of its object, from one look to the next."""
        return self.lane or self.subject, self.subject, self.title

    @property
    def title(self) -> str:
        """The action's name as status shows it: its type, or "Wait"."""
        return "Wait" if self.action is None else type(self.action).__name__

    @property
    def held_by(self) -> StepState | None:
        """Why the step may not be carried out now, or None when it may."""
        if self.consent:
            return StepState.NEEDS_CONSENT
        return StepState.WAITING if self.waits_for else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Ordered steps, and the seconds after which to look again though no event came (None: only on an event)."""

    steps: tuple[Step, ...] = ()
    look_again: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StepResult:
    """A step, what became of it, and the error where it failed.

    `tried`: whether its action was carried out in this look; a step that failed before and may not be tried again yet
    was not.
    """

    step: Step
    state: StepState
    error: str = ""
    tried: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of each step of a plan, in the plan's order.

    Attributes:
        results: That.
        retry_after: Seconds until the first lane that failed may be tried again; None when none failed.
        soon: Seconds until a look shows what came of what was done: more with each in a row that does the same; None
            when nothing was done.
    """

    results: tuple[StepResult, ...] = ()
    retry_after: float | None = None
    soon: float | None = None

    @property
    def changed(self) -> bool:
        """Whether any action was carried out, so that the observation is out of date."""
        return any(result.state is StepState.DONE for result in self.results)

    @property
    def held(self) -> tuple[StepResult, ...]:
        """The steps that wait, lack consent or failed."""
        return tuple(r for r in self.results if r.state not in (StepState.DONE, StepState.PENDING))

    @property
    def failures(self) -> tuple[StepResult, ...]:
        """The steps whose action failed or ran into its deadline, now or when they were tried last."""
        return tuple(result for result in self.results if result.state is StepState.FAILED)


class PlanError(RetryAfterError):
    """Steps of a plan failed; the message names some with their errors. The rest of the plan was carried out."""

    def __init__(self, failures: tuple[StepResult, ...], retry_after: float) -> None:
        told = [f"{f.step.title} {f.step.subject}: {f.error}" for f in failures[:MAX_NAMED]]
        more = len(failures) - MAX_NAMED
        super().__init__("; ".join(told) + (f" and {more} more" if more > 0 else ""), retry_after)
        self.failures = failures


def is_plan_only(metadata: ObjectMeta) -> bool:
    """Whether the plan for the object with this metadata is only to be shown."""
    return metadata.annotations.get(MODE_ANNOTATION) == PLAN_ONLY


def preview(plan: Plan) -> Outcome:
    """What `execute` would find, without doing anything: the `rook.io/mode: plan` view of a plan."""
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
        plan: What to do.
        handlers: For each action type, what carries it out.
        record: Called with each step that was carried out or failed, at once: for events and metrics.
        lanes: Which lanes of the object failed before; brought up to date. None: every lane is tried.
        only_observing: Carry out only what finds something out; the rest is as `preview` shows it.

    Returns:
        What became of each step. Errors of actions are in it, not raised, so that one bad lane never stops another.

    Raises:
        ExceptionGroup: With a `NotLeaderError` in it: an action was refused because this process is the leader no more.
            That is no failure of the step: it is not recorded, and every lane is cancelled. Let it pass.
        KeyError: A step's action has no handler; nothing was done.
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
            if result.state is StepState.FAILED:
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
    """`execute` for an object whose failed lanes are remembered in `backoffs`."""
    lanes = backoffs.of(request)
    try:
        return await execute(plan, handlers, record=record, lanes=lanes, only_observing=only_observing)
    finally:
        backoffs.keep(request, lanes)


def conclude(outcome: Outcome, look_again: float | None) -> Result:
    """What a reconcile that carried out a plan returns: when to look again, for whichever reason comes first.

    Args:
        outcome: What became of the plan.
        look_again: Seconds after which to look again but for failures and what was done; None: only after a change.

    Raises:
        PlanError: Steps were tried and failed.
    """
    waits = [seconds for seconds in (look_again, outcome.retry_after) if seconds is not None]
    failed = tuple(result for result in outcome.failures if result.tried)
    if failed:
        raise PlanError(failed, max(min(waits, default=SOON), SOON))
    return Result(requeue_after=max(min(waits), SOON) if waits else None)


async def _try(step: Step, handlers: Mapping[type, Handler], lanes: LaneBackoff) -> StepResult:
    error = lanes.held(step.key, step.action)
    if error:
        return StepResult(step=step, state=StepState.FAILED, error=error)
    error = await _carry_out(step, handlers)
    if error:
        lanes.failed(step.key, step.action, error)
        return StepResult(step=step, state=StepState.FAILED, error=error, tried=True)
    lanes.succeeded(step.key)
    return StepResult(step=step, state=StepState.DONE, tried=True)


async def _carry_out(step: Step, handlers: Mapping[type, Handler]) -> str:
    """Carries out an action, and returns the error where it failed; empty: it is done."""
    try:
        with anyio.move_on_after(step.deadline) as scope:
            await handlers[type(step.action)](step.action)
    except Exception as error:  # any failure of an action is that lane's, reported in the outcome
        if is_lost(error):
            raise
        # It goes into events and statuses, which more people may read than may read Secrets.
        return redact_text(str(error)) or type(error).__name__
    return f"not done within {step.deadline:g} s" if scope.cancelled_caught else ""


def plan_status(outcome: Outcome, previous: tuple[PlanStep, ...], now: str) -> tuple[PlanStep, ...]:
    """The steps as status shows them: what is not done yet, with the time since when each has been in its state.

    Steps that are done are left out: events tell of them, and a status that listed them would change once more, for
    nothing, at the next look. Steps that differ in nothing but their subject are one row, and there are never more than
    `MAX_ROWS` rows: what a plan of ten thousand steps shows stays a few KiB.
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
    """What alike steps have in common: everything but their subjects."""
    step = result.step
    texts = (step.reason, step.waits_for, step.consent, result.error)
    return step.title, result.state, *(_without(text, step.subject) for text in texts)


def _without(text: str, name: str) -> str:
    """The text without a name, where that stands by itself: osd.1 is not part of osd.11."""
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
