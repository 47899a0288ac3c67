"""What a status tells of a plan and what became of it, by tables, and that the same is not told anew."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from controller.apis.meta import ApiStruct, Condition, ObjectMeta
from controller.apis.plan import PlanStatus
from controller.framework.kind import Look
from controller.framework.plan import APPLY, PLAN_ONLY, Outcome, Step, StepResult, StepState
from controller.framework.status import Words, conditions, fields, is_settled, stage_of, timestamp

NOW = 1_767_225_600.0
WORDS = Words(well="all is well", leaving="it goes", ready="AsWanted")
STEP = Step(subject="ring a", reason="it has 2, wanted 3", action=object())
WAITING = StepResult(
    step=Step(subject="ring a", reason="it grows", waits_for="member 3 to join"), state=StepState.WAITING
)
ASKED = StepResult(
    step=Step(subject="ring a", reason="it has data", action=object(), consent="spec.wipe"),
    state=StepState.NEEDS_CONSENT,
)
DONE = StepResult(step=STEP, state=StepState.DONE)
PENDING = StepResult(step=STEP, state=StepState.PENDING)
FAILED = StepResult(step=STEP, state=StepState.FAILED, error="no route\ndetails")


class RingStatus(ApiStruct, frozen=True, kw_only=True):
    observed_generation: int = 0
    phase: str = ""
    conditions: tuple[Condition, ...] = ()
    plan: PlanStatus = PlanStatus()
    size: int = 0


class Ring(ApiStruct, frozen=True, kw_only=True):
    metadata: ObjectMeta = ObjectMeta(generation=3)
    status: RingStatus = RingStatus()


RING, GOING = Ring(), Ring(metadata=ObjectMeta(generation=4, deletion_timestamp="2026-01-01T00:00:00Z"))


def look(ring: Ring = RING, *, mode: str = APPLY, now: float = NOW) -> Look[Ring]:
    return Look(obj=ring, spec={}, mode=mode, now=now)


def show(
    ring: Ring, *results: StepResult, mode: str = APPLY, now: float = NOW, invalid: str = "", **more: Any
) -> RingStatus:
    at, outcome = look(ring, mode=mode, now=now), Outcome(results=results)
    stage = stage_of(at, outcome, WORDS, invalid=invalid)
    found = conditions(stage, WORDS, **more)
    return msgspec.structs.replace(ring.status, **fields(ring.status, at, outcome, stage, found))


def told(status: RingStatus) -> dict[str, tuple[str, str, str]]:
    return {c.type: (c.status, c.reason, c.message) for c in status.conditions}


@pytest.mark.parametrize(
    ("ring", "results", "more", "phase", "ready", "progressing"),
    [
        pytest.param(
            RING, (), {}, "Ready", ("True", "AsWanted", "all is well"), ("False", "ReconcileSucceeded", ""), id="well"
        ),
        pytest.param(
            RING,
            (WAITING, ASKED),
            {},
            "Progressing",
            ("False", "ReconcileStarted", "ring a: it grows; waits for member 3 to join (and 1 more)"),
            ("True", "ReconcileStarted", "ring a: it grows; waits for member 3 to join (and 1 more)"),
            id="waiting",
        ),
        pytest.param(
            RING,
            (ASKED,),
            {},
            "Progressing",
            ("False", "ReconcileStarted", "ring a: it has data; needs spec.wipe"),
            ("True", "ReconcileStarted", "ring a: it has data; needs spec.wipe"),
            id="without consent",
        ),
        pytest.param(
            RING,
            (DONE,),
            {},
            "Progressing",
            ("False", "ReconcileStarted", "ring a: it has 2, wanted 3"),
            ("True", "ReconcileStarted", "ring a: it has 2, wanted 3"),
            id="only the next look can tell that all is well",
        ),
        pytest.param(
            RING,
            (PENDING,),
            {"mode": PLAN_ONLY},
            "Progressing",
            ("False", "ReconcileStarted", "Only planned, not carried out: ring a: it has 2, wanted 3"),
            ("True", "ReconcileStarted", "Only planned, not carried out: ring a: it has 2, wanted 3"),
            id="only shown",
        ),
        pytest.param(
            RING,
            (WAITING, FAILED),
            {},
            "Failure",
            ("False", "ReconcileFailed", "object ring a: no route"),
            ("True", "ReconcileStarted", "ring a: it grows; waits for member 3 to join (and 1 more)"),
            id="failed",
        ),
        pytest.param(
            RING,
            (),
            {"invalid": "size is 0: set at least 1"},
            "Failure",
            ("False", "InvalidSpec", "size is 0: set at least 1"),
            ("False", "ReconcileSucceeded", ""),
            id="a spec that cannot be carried out",
        ),
        pytest.param(
            GOING,
            (WAITING,),
            {},
            "Deleting",
            ("False", "Deleting", "it goes"),
            ("False", "ReconcileSucceeded", ""),
            id="deleted",
        ),
    ],
)
def test_where_an_object_stands(
    ring: Ring,
    results: tuple[StepResult, ...],
    more: dict[str, Any],
    phase: str,
    ready: tuple[str, str, str],
    progressing: tuple[str, str, str],
) -> None:
    status = show(ring, *results, **more)
    assert (status.phase, status.observed_generation) == (phase, ring.metadata.generation)
    assert (told(status)["Ready"], told(status)["Progressing"]) == (ready, progressing)
    assert {c.observed_generation for c in status.conditions} == {ring.metadata.generation}


def test_what_holds_only_while_it_lasts_is_told_only_then() -> None:
    failed = show(RING, FAILED)
    assert told(failed)["Failure"] == ("True", "ReconcileFailed", "object ring a: no route")
    assert "Failure" not in told(show(msgspec.structs.replace(RING, status=failed)))
    going = show(GOING, WAITING, blocked="to be deleted first: Pool p")
    assert told(going)["DeletionIsBlocked"] == ("True", "ObjectHasDependents", "to be deleted first: Pool p")
    assert told(going)["Deleting"][0] == "True"
    assert told(show(GOING, WAITING))["DeletionIsBlocked"] == ("False", "ObjectHasNoDependents", "")
    assert not {"Deleting", "DeletionIsBlocked"} & told(show(msgspec.structs.replace(RING, status=going))).keys()


def test_a_kinds_own_condition_stays_until_it_is_told_anew() -> None:
    own = Condition(type="Degraded", status="True", reason="DiskDead", last_transition_time="2025-01-01T00:00:00Z")
    assert own in show(msgspec.structs.replace(RING, status=RingStatus(conditions=(own,)))).conditions


@pytest.mark.parametrize("results", [(), (WAITING,), (FAILED, WAITING), (DONE,)])
def test_what_is_the_same_is_equal_whenever_it_is_told(results: tuple[StepResult, ...]) -> None:
    first = show(RING, *results)
    later = show(msgspec.structs.replace(RING, status=first), *results, now=NOW + 3600)
    assert later == first


def test_what_is_told_beside_is_part_of_ready() -> None:
    assert told(show(RING, beside="; a webhook meddles"))["Ready"][2] == "all is well; a webhook meddles"
    assert told(show(RING, WAITING, beside="; a webhook meddles"))["Ready"][2].endswith("to join; a webhook meddles")


@pytest.mark.parametrize(
    ("phase", "generation", "results", "settled"),
    [
        ("Ready", 3, (DONE,), True),
        ("Ready", 3, (DONE, FAILED), False),
        ("Ready", 3, (WAITING,), False),
        ("Ready", 2, (DONE,), False),
        ("Progressing", 3, (DONE,), False),
    ],
)
def test_what_mends_an_object_by_itself_need_not_make_it_look_unsettled(
    phase: str, generation: int, results: tuple[StepResult, ...], settled: bool
) -> None:
    present = RingStatus(phase=phase, observed_generation=generation)
    assert is_settled(present, look(), Outcome(results=results)) is settled


def test_times_are_rfc_3339() -> None:
    assert timestamp(NOW + 0.9) == "2026-01-01T00:00:00Z"
