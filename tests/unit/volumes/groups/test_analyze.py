"""What is done for a VolumeGroupSnapshotContent: tables."""

from __future__ import annotations

from typing import Any

import pytest

from controller.volumes.features import Snapshot
from controller.volumes.groups.analyze import (
    DestroyGroup,
    FindGroup,
    GroupObservation,
    TakeGroup,
    analyze,
    reprieve,
    users_of,
)
from controller.volumes.groups.kinds import BEING_CREATED, BEING_DELETED, list_of, listed, member_uid
from controller.volumes.snapshots.flow import LOOK_AGAIN, MarkContent, RefuseContent, ReleaseContent, UnmarkContent
from controller.volumes.snapshots.kinds import BEING_DELETED as ONE_BEING_DELETED
from controller.volumes.snapshots.kinds import GROUP_HANDLE as GROUP_ANNOTATION
from tests.unit.volumes.groups.objects import (
    GIB,
    GROUP_HANDLE,
    GROUP_UID,
    HANDLES,
    LISTED,
    MEMBER_HANDLES,
    MEMBERS,
    READY,
    content,
)
from tests.unit.volumes.snapshots.objects import content as single

SEEN = GroupObservation(handle=GROUP_HANDLE, members=MEMBERS)
TAKE, UNMARK, RELEASE = TakeGroup(GROUP_HANDLE, MEMBERS), UnmarkContent(), ReleaseContent()
DESTROY = DestroyGroup(GROUP_HANDLE, MEMBERS)
MARKED = {BEING_CREATED: "yes"}
GONE: dict[str, Any] = {"deleting": True, "annotations": {BEING_DELETED: "yes"}}


@pytest.mark.parametrize(
    ("this", "seen", "expected"),
    [
        pytest.param(content(), SEEN, [MarkContent(), TAKE, UNMARK], id="it is marked before anything is stored"),
        pytest.param(content(annotations=MARKED), SEEN, [TAKE, UNMARK], id="goes on"),
        pytest.param(
            content(annotations=MARKED, finalizers=()),
            SEEN,
            [MarkContent(), TAKE, UNMARK],
            id="a mark without a finalizer would not keep it",
        ),
        pytest.param(content(status=READY), SEEN, [], id="nothing is left to do"),
        pytest.param(content(status=READY, annotations=MARKED), SEEN, [UNMARK], id="but the mark"),
        pytest.param(content(status=READY), GroupObservation(problem="no class"), [], id="what is ready stays so"),
        pytest.param(
            content(given=MEMBER_HANDLES), SEEN, [FindGroup(GROUP_HANDLE, MEMBERS)], id="somebody else took it"
        ),
        pytest.param(content(**GONE, status=READY), SEEN, [DESTROY, RELEASE], id="deletion"),
        pytest.param(
            content(deleting=True, annotations={**MARKED, BEING_DELETED: "yes"}),
            SEEN,
            [DESTROY, RELEASE],
            id="deletion while it is taken: a part may be there",
        ),
        pytest.param(content(deleting=True, status=READY), SEEN, [], id="its VolumeGroupSnapshot is not being deleted"),
        pytest.param(content(**GONE, status=READY, finalizers=()), SEEN, [], id="it is not held"),
        pytest.param(content(**GONE, status=READY, policy="Retain"), SEEN, [RELEASE], id="it is retained"),
        pytest.param(content(**GONE), GroupObservation(problem="x"), [RELEASE], id="there can be none"),
        pytest.param(
            content(**GONE, status=READY),
            GroupObservation(handle=GROUP_HANDLE, members=MEMBERS, others=("backup",)),
            [ReleaseContent(("backup",))],
            id="another content has the group snapshot",
        ),
        pytest.param(
            content(deleting=True, given=MEMBER_HANDLES, status=READY, uid=""),
            SEEN,
            [DESTROY, RELEASE],
            id="one that was never bound: nobody says that it is being deleted",
        ),
        pytest.param(content(deleting=True, given=MEMBER_HANDLES, status=READY), SEEN, [], id="one that is bound"),
    ],
)
def test_what_is_done(this: Any, seen: GroupObservation, expected: list[object]) -> None:
    assert [step.action for step in analyze(this, seen).steps] == expected


def test_what_is_wrong_is_told_and_looked_at_again() -> None:
    plan = analyze(content(), GroupObservation(problem="VolumeGroupSnapshotClass c does not exist"))
    assert [step.action for step in plan.steps] == [RefuseContent("VolumeGroupSnapshotClass c does not exist")]
    assert plan.look_again == LOOK_AGAIN


@pytest.mark.parametrize(
    ("now", "others", "why"),
    [
        (content(**GONE, status=READY), (), ""),
        (content(**GONE, status=READY, policy="Retain"), (), "has deletion policy Retain by now"),
        (content(status=READY), (), "or is not being deleted"),
        (content(**GONE, status=READY, content_uid="new"), (), "has uid new, not content-uid: it is another"),
        (content(**GONE, status={**READY, "volumeGroupSnapshotHandle": "x"}), (), "has the group snapshot x by now"),
        (content(**GONE, status=READY), ("b",), "has the same group snapshot as VolumeGroupSnapshotContent b"),
    ],
)
def test_snapshots_are_destroyed_only_if_that_is_still_so(now: Any, others: tuple[str, ...], why: str) -> None:
    found = reprieve(content(**GONE, status=READY), now, others)
    assert why in found
    assert bool(found) is bool(why)


def test_who_outside_a_group_needs_its_snapshots() -> None:
    one, other = MEMBER_HANDLES
    doomed: dict[str, Any] = {"deleting": True, "annotations": {ONE_BEING_DELETED: "yes"}}
    found = [
        single(name="member", annotations={GROUP_ANNOTATION: GROUP_HANDLE}, status={"snapshotHandle": one}),
        single(name="of-another-group", annotations={GROUP_ANNOTATION: "x"}, status={"snapshotHandle": one}),
        single(name="backup", handle=one),
        single(name="doomed", handle=other, **doomed),
        single(name="unrelated", handle="z"),
    ]
    assert users_of(MEMBER_HANDLES, GROUP_HANDLE, found) == {one: ("backup", "of-another-group")}


def test_the_list_of_snapshots_is_that_of_the_version() -> None:
    taken = [Snapshot(size=GIB, created=10**9)] * 2
    assert list_of("v1", MEMBERS, taken) == list_of("v1beta2", MEMBERS, taken) == {"volumeSnapshotInfoList": LISTED}
    pairs = {
        "volumeSnapshotHandlePairList": [
            {"volumeHandle": volume, "snapshotHandle": snapshot}
            for volume, snapshot in zip(HANDLES, MEMBER_HANDLES, strict=True)
        ]
    }
    assert list_of("v1beta1", MEMBERS, taken) == pairs
    assert listed(content(status=pairs)) == listed(content(status=READY))


def test_members_have_uids_of_their_own_for_ever() -> None:
    assert member_uid(GROUP_UID, "h-0") == "cf7b1816-2f89-51cf-98a2-5e6e93a856b0"
    assert member_uid(GROUP_UID, "h-1") != member_uid(GROUP_UID, "h-0") != member_uid("other", "h-0")
