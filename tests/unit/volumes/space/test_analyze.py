"""When space is given back, by what the claim, its class and the last try say."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from controller.apis.rook.node_report import NodeReport, Trim, Trimmed
from controller.runtime.kube import (
    ObjectMeta,
    PartialObject,
    PersistentVolume,
    PersistentVolumeClaim,
    StorageClass,
    VolumeAttachment,
)
from controller.volumes.backend import volume_from
from controller.volumes.capabilities import BLOCK
from controller.volumes.space.analyze import (
    ASKED,
    LOOK_AT_NODE,
    MOST_TRIMS,
    RECLAIMED,
    SCHEDULE,
    AskNode,
    NoteTrimmed,
    Reclaimed,
    ReclaimSpace,
    RefuseSchedule,
    SpaceObservation,
    analyze,
    last_of,
    schedule_of,
)
from tests.unit.volumes.objects import DRIVER, UID, attachment, claim, storage_class, volume

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


def plan(found: PersistentVolumeClaim, hours: float, *, of: Any = None, within: Any = None, **seen: Any) -> Any:
    """`of`: its class; `within`: its namespace; `seen`: what else there is."""
    schedule = schedule_of(found, within, of)
    observed = SpaceObservation(**{"schedule": schedule, "volume": volume(), "trimmable": True, **seen})
    return analyze(found, observed, MIDNIGHT + hours * HOUR)


def actions(found: PersistentVolumeClaim, hours: float, **seen: Any) -> list[Any]:
    return [step.action for step in plan(found, hours, **seen).steps]


def attachments(*nodes: str) -> tuple[VolumeAttachment, ...]:
    return tuple(attachment(node, attached=True) for node in nodes)


def block() -> PersistentVolume:
    found = volume()
    return msgspec.structs.replace(found, spec=msgspec.structs.replace(found.spec, volume_mode=BLOCK))


def report(node: str, **told: Any) -> NodeReport:
    return NodeReport(metadata=ObjectMeta(name=node), **told)


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
    assert not schedule_of(bound(), None, storage_class()).text


def test_the_order_of_schedules_is_that_of_csi_addons() -> None:
    within = PartialObject(metadata=ObjectMeta(name="app", annotations={SCHEDULE: "@daily"}))
    assert actions(bound(), 24, within=within) == [reclaim()]
    assert actions(bound(), 24, within=within, of=of_class("@yearly")) == [reclaim()]
    assert actions(bound(schedule="@yearly"), 24, within=within) == []


def test_what_is_asked_for_is_done_once_for_each_text() -> None:
    assert actions(bound(asked="one"), 0) == [reclaim("one")]
    done = Reclaimed(time="2026-01-01T00:00:01Z", asked="one", error="it did not work")
    assert actions(bound(asked="one", done=done), 1) == []
    assert actions(bound(asked="two", done=done), 1) == [reclaim("two")]
    assert actions(bound(asked="one", schedule="@daily", done=done), 24) == [reclaim("one")]


@pytest.mark.parametrize(
    "seen",
    [
        pytest.param({"attachments": attachments("b", "a")}, id="of two nodes"),
        pytest.param({"attachments": attachments("b", "a"), "trimmable": False}, id="encrypted"),
        pytest.param({"attachments": attachments("b", "a"), "volume": block()}, id="a block volume"),
    ],
)
def test_a_volume_that_is_attached_and_cannot_be_trimmed_is_waited_for(seen: dict[str, Any]) -> None:
    (step,) = plan(bound(schedule="@daily"), 30, **seen).steps
    assert (step.action, step.waits_for) == (None, "the volume to be detached from a, b")


def test_the_node_that_has_it_is_asked_to_trim_answers_and_is_asked_no_more() -> None:
    found, on_a = bound(schedule="@daily"), attachments("a")
    (asks,) = actions(found, 30, attachments=on_a, reports={"a": report("a")})
    assert isinstance(asks, AskNode)
    assert asks.trim is not None
    assert (asks.node, asks.trim.driver, asks.trim.volume_handle) == ("a", DRIVER, reclaim().volume.handle)
    asked = {"app/data": asks.trim}
    (step,) = plan(found, 31, attachments=on_a, reports={"a": report("a", trims=asked)}).steps
    assert step.waits_for == "fstrim on node a"
    answer = Trimmed(claim="app/data", id=asks.trim.id, bytes=7)
    answered = {"a": report("a", trims=asked, trimmed=(answer,))}
    assert actions(found, 31, attachments=on_a, reports=answered) == [NoteTrimmed("a", answer, "")]
    noted = bound(schedule="@daily", done=Reclaimed(time="2026-01-02T07:00:00Z", trim=asks.trim.id))
    assert actions(noted, 31, attachments=on_a, reports=answered) == [AskNode("a", None)]
    assert actions(noted, 31, attachments=on_a, reports={"a": report("a")}) == []


def test_what_is_asked_for_while_a_scheduled_trim_runs_is_done_after_it() -> None:
    on_a = attachments("a")
    (asks,) = actions(bound(schedule="@daily"), 24, attachments=on_a, reports={"a": report("a")})
    trims, answer = {"app/data": asks.trim}, Trimmed(claim="app/data", id=asks.trim.id)
    answered = {"a": report("a", trims=trims, trimmed=(answer,))}
    both = bound(schedule="@daily", asked="now")
    assert actions(both, 24, attachments=on_a, reports=answered) == [NoteTrimmed("a", answer, "")]
    noted = bound(schedule="@daily", asked="now", done=Reclaimed(time="2026-01-02T00:05:00Z", trim=asks.trim.id))
    assert actions(noted, 25, attachments=on_a, reports=answered) == [AskNode("a", None)]
    (once,) = actions(noted, 25, attachments=on_a, reports={"a": report("a")})
    assert once.trim.id != asks.trim.id


def test_a_node_is_asked_no_more_when_the_volume_goes_elsewhere_or_is_detached() -> None:
    found, standing = bound(asked="now"), {"app/data": Trim(driver=DRIVER, volume_handle="v", id="1")}
    reports = {"a": report("a", trims=standing), "b": report("b")}
    withdraws, asks = actions(found, 0, attachments=attachments("b"), reports=reports)
    assert (withdraws, asks.node) == (AskNode("a", None), "b")
    assert actions(found, 0, reports={"a": reports["a"]}) == [AskNode("a", None), reclaim("now")]
    assert actions(bound(), 0, attachments=attachments("a"), reports=reports) == [AskNode("a", None)]
    assert actions(found, 0, volume=None, reports=reports) == [AskNode("a", None)]


def test_a_node_that_has_much_to_trim_is_not_asked_yet_and_looked_at_again() -> None:
    trims = {f"app/{number}": Trim(id="1") for number in range(MOST_TRIMS)}
    found = plan(bound(asked="now"), 0, attachments=attachments("a"), reports={"a": report("a", trims=trims)})
    assert [step.waits_for for step in found.steps] == ["fstrim on other volumes of node a"]
    assert found.look_again == LOOK_AT_NODE
    assert [step.waits_for for step in plan(bound(asked="now"), 0, attachments=attachments("a")).steps] == [
        "the agent of node a to report"
    ]


def test_what_is_not_attached_yet_or_leaves_is_not_trimmed() -> None:
    for found in (attachment("a"), attachment("a", attached=True, deleting=True)):
        (step,) = plan(bound(asked="now"), 0, attachments=(found,), reports={"a": report("a")}).steps
        assert step.waits_for == "the volume to be detached from a"


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
    assert actions(bound(asked="now"), 0, volume=None) == []
    unbound = msgspec.structs.replace(bound(asked="now"), status=claim().status)
    assert actions(unbound, 0) == []


def test_what_a_claim_says_of_the_last_try_may_be_nonsense() -> None:
    for text in ("", "{}", "[]", '{"time":"then"}'):
        assert last_of(claim(annotations={RECLAIMED: text})) is None
