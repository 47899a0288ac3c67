"""What a kind's status tells: phase, conditions and message, from a plan and what became of it. Pure.

Conditions mean what the API's conventions say, so that tools wait for them unaided. Ready is true exactly when nothing
is left to do or to wait for, by a look that did nothing. Progressing is true while something is; Failure is there only
while a step fails; Deleting and DeletionIsBlocked only while the object is being deleted. A kind shows what is broken
and waits for a person, such as a dead disk, in its own condition Degraded beside them. Equal in, equal out: a condition
that says the same keeps its time, and a status that is the same is not written again (`controller.framework.kind`).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from controller.apis.meta import Condition
from controller.apis.plan import PlanStatus
from controller.framework.plan import PLAN_ONLY, Outcome, StepResult, StepState, plan_status
from controller.framework.text import brief
from controller.runtime.conditions import remove_condition, set_conditions

if TYPE_CHECKING:
    from collections.abc import Iterable

    from controller.framework.kind import Look
    from controller.runtime.kube import HasMetadata

READY, PROGRESSING, FAILURE, DELETING, BLOCKED = "Ready", "Progressing", "Failure", "Deleting", "DeletionIsBlocked"
"""Types of conditions; the first four are the phases, too."""


IDLE, FAILED, INVALID = "ReconcileSucceeded", "ReconcileFailed", "InvalidSpec"
IN_USE, UNUSED = "ObjectHasDependents", "ObjectHasNoDependents"
"""Reasons of conditions."""


class Shown(Protocol):
    """A status, as far as all of them are alike."""

    @property
    def observed_generation(self) -> int:
        """The metadata.generation that it is of."""
        ...

    @property
    def phase(self) -> str:
        """One of `READY`, `PROGRESSING`, `FAILURE`, `DELETING`."""
        ...

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """Aspects of the object's state."""
        ...

    @property
    def plan(self) -> PlanStatus:
        """What is about to be done."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """A kind's own words, upstream's where it has them.

    Attributes:
        well: The message where nothing is left to do.
        leaving: The message where the object is being deleted.
        ready: The reason of Ready where nothing is left to do.
        progressing: The reason of Ready and Progressing where something is.
        deleting: The reason of Ready and Deleting where the object is being deleted.
    """

    well: str
    leaving: str
    ready: str = IDLE
    progressing: str = "ReconcileStarted"
    deleting: str = "Deleting"


@dataclass(frozen=True, slots=True)
class Stage:
    """Where an object stands.

    Attributes:
        phase: One of `READY`, `PROGRESSING`, `FAILURE`, `DELETING`.
        reason: Why, in one word.
        message: What went wrong, what is next, or that all is well.
        next: The first thing that is left to do or to wait for, and how many more; empty when nothing is.
    """

    phase: str
    reason: str
    message: str
    next: str


def timestamp(seconds: float) -> str:
    """Seconds since the epoch as RFC 3339 text."""
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def stage_of(look: Look[HasMetadata], outcome: Outcome, words: Words, *, invalid: str = "") -> Stage:
    """Where an object stands.

    Args:
        look: The look at it.
        outcome: What became of its plan.
        words: Its kind's.
        invalid: Why its spec cannot be carried out at all; empty: it can.
    """
    left = _next(outcome)
    if left and look.mode == PLAN_ONLY:
        left = f"Only planned, not carried out: {left}"
    if look.obj.metadata.deletion_timestamp is not None:
        return Stage(DELETING, words.deleting, left or words.leaving, left)
    if invalid:
        return Stage(FAILURE, INVALID, brief(invalid), left)
    if outcome.failures:
        return Stage(FAILURE, FAILED, told(outcome.failures[0]), left)
    if left:
        return Stage(PROGRESSING, words.progressing, left, left)
    return Stage(READY, words.ready, words.well, "")


def is_settled(present: Shown, look: Look[HasMetadata], outcome: Outcome) -> bool:
    """Whether an object that was well was mended by itself: its status may stay, as the next look comes at once."""
    same = present.phase == READY and present.observed_generation == look.obj.metadata.generation
    return same and outcome.changed and not outcome.failures


def conditions(stage: Stage, words: Words, *, blocked: str = "", beside: str = "") -> tuple[Condition, ...]:
    """The conditions that all kinds have.

    Args:
        stage: Where the object stands.
        words: Its kind's.
        blocked: What its deletion is held back by, in words; empty: by nothing that uses it.
        beside: What the message of Ready adds, whatever the stage is; begins with what joins it, such as "; ".
    """
    deleting, failing = stage.phase == DELETING, stage.phase == FAILURE
    message = words.leaving if deleting else stage.message
    busy = bool(stage.next) and not deleting
    found = [
        _condition(PROGRESSING, busy, words.progressing if busy else IDLE, stage.next if busy else ""),
        _condition(READY, stage.phase == READY, stage.reason, message + beside),
    ]
    if failing:
        found.append(_condition(FAILURE, True, stage.reason, message + beside))
    if deleting:
        found.append(_condition(DELETING, True, stage.reason, stage.next))
        found.append(_condition(BLOCKED, bool(blocked), IN_USE if blocked else UNUSED, blocked))
    return tuple(found)


def fields(
    present: Shown, look: Look[HasMetadata], outcome: Outcome, stage: Stage, found: Iterable[Condition]
) -> dict[str, Any]:
    """The fields that all statuses have, equal to the present ones where nothing changed.

    Args:
        present: The present status. Its conditions that are not told now stay, but for those that are there only while
            something lasts.
        look: The look at the object.
        outcome: What became of its plan.
        stage: Where the object stands.
        found: Its conditions; generation and times are added.
    """
    generation, now = look.obj.metadata.generation, timestamp(look.now)
    told_of = tuple(msgspec.structs.replace(condition, observed_generation=generation) for condition in found)
    kept = present.conditions
    for lasting in {FAILURE, DELETING, BLOCKED}.difference(condition.type for condition in told_of):
        kept = remove_condition(kept, lasting)
    steps = plan_status(outcome, present.plan.steps, now)
    return {
        "observed_generation": generation,
        "phase": stage.phase,
        "conditions": set_conditions(kept, told_of, now),
        "plan": PlanStatus(mode=look.mode, observed_generation=generation, steps=steps),
    }


def told(result: StepResult) -> str:
    """A step that is left, and what it waits for or why it failed, in words."""
    step = result.step
    if result.state is StepState.FAILED:
        return brief(f"{step.title} {step.subject}: {result.error}")
    if result.state is StepState.NEEDS_CONSENT:
        return brief(f"{step.subject}: {step.reason}; needs {step.consent}")
    waits = f"; waits for {step.waits_for}" if step.waits_for else ""
    return brief(f"{step.subject}: {step.reason}{waits}")


def _next(outcome: Outcome) -> str:
    """The first thing that is left to do or to wait for, in words, and how many more; empty when nothing is.

    What was done a moment ago counts as left: only the next look can tell whether all is well now.
    """
    left = [r for r in outcome.results if r.state is not StepState.DONE] or list(outcome.results)
    if not left:
        return ""
    more = f" (and {len(left) - 1} more)" if len(left) > 1 else ""
    return told(left[0]) + more


def _condition(type_: str, holds: bool, reason: str, message: str) -> Condition:
    return Condition(type=type_, status=str(holds), reason=reason, message=message)
