"""Plans: what an analysis wants done, as data that can be shown, waited on, consented to and carried out.

An analysis returns a `Plan`; `execute` carries out what is permitted now. Steps of one lane run in order, and a step
that waits, lacks consent or fails holds back the rest of its lane only: a stuck node or daemon never blocks another
lane. Waiting is data: no coroutine is parked until a daemon answers; the reconciler looks again when an event arrives
or after `Plan.look_again` seconds.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import anyio

from controller.apis.meta import ObjectMeta
from controller.apis.plan import PlanStep
from controller.runtime.leader import is_lost
from controller.runtime.log import redact_text

MAX_CONCURRENT_LANES = 8
"""Lanes carried out at once; bounds what one reconcile asks of the API server and the storage system."""

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
    """A step, what became of it, and the error where it failed."""

    step: Step
    state: StepState
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of each step of a plan, in the plan's order."""

    results: tuple[StepResult, ...] = ()

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
        """The steps whose action failed or ran into its deadline."""
        return tuple(result for result in self.results if result.state is StepState.FAILED)


class PlanError(Exception):
    """Steps of a plan failed; the message names each with its error. The rest of the plan was carried out."""

    def __init__(self, failures: tuple[StepResult, ...]) -> None:
        super().__init__("; ".join(f"{f.step.title} {f.step.subject}: {f.error}" for f in failures))
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
    only_observing: bool = False,
) -> Outcome:
    """Carries out the steps of `plan` that are permitted now.

    Args:
        plan: What to do.
        handlers: For each action type, what carries it out.
        record: Called with each step that was carried out or failed, at once: for events and metrics.
        only_observing: Carry out only what finds something out; the rest is as `preview` shows it.

    Returns:
        What became of each step. Errors of actions are in it, not raised, so that one bad lane never stops another.

    Raises:
        ExceptionGroup: With a `NotLeaderError` in it: an action was refused because this process is the leader no more.
            That is no failure of the step: it is not recorded, and every lane is cancelled. Let it pass.
        KeyError: A step's action has no handler; nothing was done.
    """
    for step in plan.steps:
        if step.action is not None and type(step.action) not in handlers:
            raise KeyError(f"no handler for action {step.title} of {step.subject}")
    lanes: dict[str, list[int]] = {}
    for index, step in enumerate(plan.steps):
        lanes.setdefault(step.lane or step.subject, []).append(index)
    results = list(preview(plan).results)
    limiter = anyio.CapacityLimiter(MAX_CONCURRENT_LANES)

    async def run_lane(indexes: list[int]) -> None:
        async with limiter:
            for index in indexes:
                step = plan.steps[index]
                if step.held_by is not None or (only_observing and not step.observes):
                    return
                results[index] = await _carry_out(step, handlers)
                if record is not None:
                    record(results[index])
                if results[index].state is StepState.FAILED:
                    return

    async with anyio.create_task_group() as tasks:
        for indexes in lanes.values():
            tasks.start_soon(run_lane, indexes)
    return Outcome(results=tuple(results))


async def _carry_out(step: Step, handlers: Mapping[type, Handler]) -> StepResult:
    try:
        with anyio.fail_after(step.deadline):
            await handlers[type(step.action)](step.action)
    except TimeoutError:
        return StepResult(step=step, state=StepState.FAILED, error=f"not done within {step.deadline:g} s")
    except Exception as error:  # any failure of an action is that lane's, reported in the outcome
        if is_lost(error):
            raise
        # It goes into events and statuses, which more people may read than may read Secrets.
        return StepResult(step=step, state=StepState.FAILED, error=redact_text(str(error)) or type(error).__name__)
    return StepResult(step=step, state=StepState.DONE)


def plan_status(outcome: Outcome, previous: tuple[PlanStep, ...], now: str) -> tuple[PlanStep, ...]:
    """The steps as status shows them: what is not done yet, with the time since when each has been in its state.

    Steps that are done are left out: events tell of them, and a status that listed them would change once more, for
    nothing, at the next look.
    """
    since = {(s.subject, s.action, s.state): s.since for s in previous}
    shown: list[PlanStep] = []
    for result in outcome.results:
        step = result.step
        if result.state is StepState.DONE:
            continue
        shown.append(
            PlanStep(
                subject=step.subject,
                action=step.title,
                reason=step.reason,
                state=result.state.value,
                waits_for=step.waits_for,
                consent=step.consent,
                error=result.error,
                since=since.get((step.subject, step.title, result.state.value)) or now,
            )
        )
    return tuple(shown)
