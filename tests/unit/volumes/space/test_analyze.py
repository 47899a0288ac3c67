"""When space is given back, by what the claim, its class and the last try say."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from controller.runtime.kube import ObjectMeta, PersistentVolumeClaim, StorageClass
from controller.volumes.backend import volume_from
from controller.volumes.space.analyze import (
    ASKED,
    RECLAIMED,
    SCHEDULE,
    Reclaimed,
    ReclaimSpace,
    RefuseSchedule,
    analyze,
    is_asked,
    last_of,
)
from tests.unit.volumes.objects import UID, claim, storage_class, volume

HOUR = 3600.0
MIDNIGHT = 1767225600.0
"""2026-01-01T00:00:00Z, when the claim was made."""


def bound(*, done: Reclaimed | None = None, **notes: str) -> PersistentVolumeClaim:
    """A claim with annotations; `done`: what the last try has brought."""
    annotations = {{"schedule": SCHEDULE, "asked": ASKED}[key]: value for key, value in notes.items()}
    if done is not None:
        annotations[RECLAIMED] = msgspec.json.encode(done).decode()
    made = claim(phase="Bound", volume_name=f"pvc-{UID}", annotations=annotations)
    return msgspec.structs.replace(
        made, metadata=msgspec.structs.replace(made.metadata, creation_timestamp="2026-01-01T00:00:00Z")
    )


def of_class(schedule: str) -> StorageClass:
    return storage_class(metadata=ObjectMeta(name="rbd", annotations={SCHEDULE: schedule}))


def plan(found: PersistentVolumeClaim, hours: float, *, attached: tuple[str, ...] = (), of: Any = None) -> Any:
    return analyze(found, of, volume(), attached, MIDNIGHT + hours * HOUR)


def actions(found: PersistentVolumeClaim, hours: float, **seen: Any) -> list[object]:
    return [step.action for step in plan(found, hours, **seen).steps]


def reclaim(asked: str = "") -> ReclaimSpace:
    source = volume().spec.csi
    assert source is not None
    return ReclaimSpace(volume_from(source), asked)


@pytest.mark.parametrize(
    ("done", "hours", "expected"),
    [
        pytest.param(None, 1, False, id="the claim is new"),
        pytest.param(None, 24, True, id="it is time"),
        pytest.param(None, 30, True, id="it was time"),
        pytest.param(Reclaimed(time="2026-01-02T00:05:00Z"), 30, False, id="it was done"),
        pytest.param(Reclaimed(time="2026-01-02T00:05:00Z", error="x"), 30, False, id="it was tried"),
        pytest.param(Reclaimed(time="2026-01-02T00:05:00Z"), 48, True, id="it is time again"),
        pytest.param(Reclaimed(time="yesterday"), 30, True, id="somebody has written nonsense"),
    ],
)
def test_schedules(done: Reclaimed | None, hours: float, expected: bool) -> None:
    assert actions(bound(schedule="@daily", done=done), hours) == ([reclaim()] if expected else [])


def test_the_next_look_is_at_the_next_time() -> None:
    assert plan(bound(schedule="@daily"), 1).look_again == 23 * HOUR
    assert plan(bound(schedule="@daily"), 24).look_again == 24 * HOUR
    assert plan(bound(asked="now"), 1).look_again is None


def test_a_class_has_the_schedule_of_claims_without_one() -> None:
    assert actions(bound(), 24, of=of_class("@daily")) == [reclaim()]
    assert actions(bound(schedule="@yearly"), 24, of=of_class("@daily")) == []
    assert is_asked(bound(), of_class("@daily"))
    assert not is_asked(bound(), storage_class())


def test_what_is_asked_for_is_done_once_for_each_text() -> None:
    assert actions(bound(asked="one"), 0) == [reclaim("one")]
    done = Reclaimed(time="2026-01-01T00:00:01Z", asked="one", error="it did not work")
    assert actions(bound(asked="one", done=done), 1) == []
    assert actions(bound(asked="two", done=done), 1) == [reclaim("two")]
    assert actions(bound(asked="one", schedule="@daily", done=done), 24) == [reclaim("one")]


def test_a_volume_that_is_attached_is_waited_for() -> None:
    (step,) = plan(bound(schedule="@daily"), 30, attached=("b", "a")).steps
    assert (step.action, step.waits_for) == (None, "the volume to be detached from a, b")


@pytest.mark.parametrize("schedule", ["weekly", "* * * *", "61 * * * *"])
def test_a_schedule_that_means_nothing_is_named_and_does_not_keep_from_what_is_asked_for(schedule: str) -> None:
    refused, once = actions(bound(schedule=schedule, asked="now"), 24)
    assert isinstance(refused, RefuseSchedule)
    assert refused.problem.startswith(f'PersistentVolumeClaim app/data: annotation {SCHEDULE} is "{schedule}": ')
    assert once == reclaim("now")
    (refused,) = actions(bound(), 24, of=of_class(schedule))
    assert isinstance(refused, RefuseSchedule)
    assert refused.problem.startswith("StorageClass rbd: annotation")


def test_a_claim_that_is_deleted_or_has_no_volume_is_left_alone() -> None:
    metadata = claim(deleting=True, annotations={ASKED: "now"}).metadata
    leaving = msgspec.structs.replace(bound(), metadata=metadata)
    assert actions(leaving, 0) == []
    assert analyze(bound(asked="now"), None, None, (), MIDNIGHT).steps == ()
    unbound = msgspec.structs.replace(bound(asked="now"), status=claim().status)
    assert actions(unbound, 0) == []


def test_what_a_claim_says_of_the_last_try_may_be_nonsense() -> None:
    for text in ("", "{}", "[]", '{"time":"then"}'):
        assert last_of(claim(annotations={RECLAIMED: text})) is None
