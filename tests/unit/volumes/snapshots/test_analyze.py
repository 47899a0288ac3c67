"""What is done for a VolumeSnapshotContent: tables."""

from __future__ import annotations

from typing import Any

import pytest

from controller.volumes.snapshots.analyze import (
    ContentObservation,
    DestroySnapshot,
    FindSnapshot,
    TakeSnapshot,
    analyze,
    reprieve,
)
from controller.volumes.snapshots.flow import LOOK_AGAIN, MarkContent, RefuseContent, ReleaseContent, UnmarkContent
from controller.volumes.snapshots.kinds import BEING_CREATED, BEING_DELETED, CONTENT_FINALIZER, GROUP_HANDLE
from tests.unit.volumes.snapshots.objects import READY, SNAPSHOT_HANDLE, VOLUME, content

TAKEABLE = ContentObservation(volume=VOLUME, handle=SNAPSHOT_HANDLE)
TAKE, UNMARK = TakeSnapshot(VOLUME, SNAPSHOT_HANDLE), UnmarkContent()
DESTROY, RELEASE = DestroySnapshot(SNAPSHOT_HANDLE, VOLUME), ReleaseContent()
GONE: dict[str, Any] = {"deleting": True, "annotations": {BEING_DELETED: "yes"}}


def actions(this: Any, seen: ContentObservation) -> list[object]:
    return [step.action for step in analyze(this, seen).steps]


@pytest.mark.parametrize(
    ("this", "seen", "expected"),
    [
        pytest.param(content(), TAKEABLE, [MarkContent(), TAKE, UNMARK], id="it is marked before anything is stored"),
        pytest.param(content(annotations={BEING_CREATED: "yes"}), TAKEABLE, [TAKE, UNMARK], id="goes on"),
        pytest.param(
            content(annotations={BEING_CREATED: "yes"}, finalizers=()),
            TAKEABLE,
            [MarkContent(), TAKE, UNMARK],
            id="a mark without a finalizer would not keep it",
        ),
        pytest.param(content(status=READY), TAKEABLE, [], id="nothing is left to do"),
        pytest.param(content(status=READY, annotations={BEING_CREATED: "yes"}), TAKEABLE, [UNMARK], id="but the mark"),
        pytest.param(
            content(status=READY), ContentObservation(problem="the class is gone"), [], id="what is ready stays so"
        ),
        pytest.param(
            content(handle="given"), ContentObservation(), [FindSnapshot("given")], id="somebody else took it"
        ),
        pytest.param(content(annotations={GROUP_HANDLE: "g"}), TAKEABLE, [], id="groups are taken together"),
        pytest.param(
            content(annotations={GROUP_HANDLE: "g", BEING_DELETED: "yes"}, deleting=True, status=READY),
            TAKEABLE,
            [RELEASE],
            id="and destroyed together",
        ),
        pytest.param(
            content(annotations={GROUP_HANDLE: "g"}, deleting=True, status=READY),
            TAKEABLE,
            [],
            id="a content of a group whose VolumeSnapshot is there",
        ),
        pytest.param(
            content(annotations={GROUP_HANDLE: "g"}, status={"snapshotHandle": SNAPSHOT_HANDLE}),
            ContentObservation(problem="no class"),
            [FindSnapshot(SNAPSHOT_HANDLE)],
            id="a snapshot-controller that tells only the handle",
        ),
        pytest.param(
            content(annotations={GROUP_HANDLE: "g"}, status=READY), TAKEABLE, [], id="one that tells all is enough"
        ),
        pytest.param(content(**GONE, status=READY), TAKEABLE, [DESTROY, RELEASE], id="deletion"),
        pytest.param(
            content(deleting=True, annotations={BEING_DELETED: "yes", BEING_CREATED: "yes"}),
            TAKEABLE,
            [DESTROY, RELEASE],
            id="deletion while it is taken: a part may be there",
        ),
        pytest.param(content(deleting=True, status=READY), TAKEABLE, [], id="its VolumeSnapshot is not being deleted"),
        pytest.param(content(**GONE, status=READY, finalizers=()), TAKEABLE, [], id="it is not held"),
        pytest.param(content(**GONE, status=READY, policy="Retain"), TAKEABLE, [RELEASE], id="it is retained"),
        pytest.param(content(**GONE), ContentObservation(), [RELEASE], id="there can be none"),
        pytest.param(
            content(**GONE, status=READY),
            ContentObservation(volume=VOLUME, handle=SNAPSHOT_HANDLE, others=("backup",)),
            [ReleaseContent(("backup",))],
            id="another content has the snapshot",
        ),
        pytest.param(
            content(deleting=True, handle=SNAPSHOT_HANDLE, status=READY, uid=""),
            ContentObservation(handle=SNAPSHOT_HANDLE),
            [DestroySnapshot(SNAPSHOT_HANDLE, None), RELEASE],
            id="one that was never bound: nobody says that it is being deleted",
        ),
        pytest.param(
            content(deleting=True, handle=SNAPSHOT_HANDLE, status=READY),
            ContentObservation(handle=SNAPSHOT_HANDLE),
            [],
            id="one that is bound",
        ),
    ],
)
def test_what_is_done(this: Any, seen: ContentObservation, expected: list[object]) -> None:
    assert actions(this, seen) == expected


def test_what_is_wrong_is_told_and_looked_at_again() -> None:
    plan = analyze(content(), ContentObservation(problem="VolumeSnapshotClass c does not exist"))
    assert [step.action for step in plan.steps] == [RefuseContent("VolumeSnapshotClass c does not exist")]
    assert plan.look_again == LOOK_AGAIN


@pytest.mark.parametrize(
    ("now", "others", "why"),
    [
        (content(**GONE, status=READY), (), ""),
        (content(**GONE, status=READY, policy="Retain"), (), "has deletion policy Retain by now"),
        (content(status=READY), (), "or is not being deleted"),
        (content(**GONE, status=READY, content_uid="new"), (), "has uid new, not content-uid: it is another"),
        (content(**GONE, status={"snapshotHandle": "other"}), (), "has the snapshot other by now"),
        (content(**GONE, status=READY), ("b",), "has the same snapshot as VolumeSnapshotContent b"),
    ],
)
def test_a_snapshot_is_destroyed_only_if_that_is_still_so(now: Any, others: tuple[str, ...], why: str) -> None:
    found = reprieve(content(**GONE, status=READY), now, others)
    assert why in found
    assert bool(found) is bool(why)


def test_the_finalizer_is_the_snapshot_controllers() -> None:
    assert CONTENT_FINALIZER == "snapshot.storage.kubernetes.io/volumesnapshotcontent-bound-protection"
