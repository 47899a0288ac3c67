"""The operator may die at any instruction while it takes or destroys a group: no snapshot is lost or left over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from controller.framework.plan import PlanError
from controller.framework.reports import REPORTS
from controller.runtime.kube import PV
from controller.runtime.reconciler import Request
from controller.testkit import ApiServer, new_manager, running, until, virtual_time
from controller.volumes import system
from controller.volumes.backend import BackendError, GoneError, ParameterError, Volume
from controller.volumes.drivers import Drivers
from controller.volumes.features import Member, Snapshot
from controller.volumes.groups import kinds
from controller.volumes.groups.act import GroupContents
from controller.volumes.groups.kinds import BEING_CREATED, BEING_DELETED, CONTENT_FINALIZER
from controller.volumes.snapshots.kinds import CONTENTS, SNAPSHOT_CLASSES, SNAPSHOTS
from controller.volumes.snapshots.kinds import GROUP_HANDLE as GROUP_ANNOTATION
from tests.unit.volumes.groups.objects import (
    CONTENT,
    GROUP_HANDLE,
    HANDLES,
    LISTED,
    MEMBER_HANDLES,
    READY,
    content,
)
from tests.unit.volumes.objects import DRIVER, volume
from tests.unit.volumes.snapshots.objects import content as single
from tests.unit.volumes.snapshots.test_act import FakeSnapshots
from tests.unit.volumes.snapshots.test_act import delete as delete_single
from tests.unit.volumes.snapshots.test_act import operator as operator_of_singles
from tests.unit.volumes.world import (
    GROUP_CLASSES,
    GROUP_CONTENTS,
    CrashError,
    FakeBackend,
    FakeEvents,
    World,
    caches_of,
    group_caches_of,
)

GROUP_CLASS = {"metadata": {"name": "groupclass"}, "driver": DRIVER, "deletionPolicy": "Delete"}
NANOSECONDS = 10**9


class FakeGroups:
    """Group snapshots that are there in part first."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.error: Exception | None = None

    def handle(self, volumes: Sequence[Volume], uid: str) -> str:
        if any(this.handle == "elsewhere" for this in volumes):
            raise ParameterError("volume elsewhere is in pool q: expected pool p")
        return f"group-{uid}"

    async def take(self, handle: str, members: Sequence[Member]) -> tuple[Snapshot, ...]:
        if self.error is not None:
            raise self.error
        for member in members:
            assert member.volume is not None
            with self._world.step():
                self._world.snapshots[member.handle] = member.volume.handle
        return tuple(Snapshot(size=1 << 30, created=NANOSECONDS) for _ in members)

    async def destroy(self, driver: str, handle: str, members: Sequence[Member]) -> None:
        if self.error is not None:
            raise self.error
        for member in members:
            with self._world.step():
                self._world.snapshots.pop(member.handle, None)


def world_with(*contents: Any, pvs: Sequence[str] = HANDLES, group_class: Mapping[str, Any] = GROUP_CLASS) -> World:
    """With volumes, a class of group snapshots, and these contents."""
    world = World()
    for this in contents:
        world.put(GROUP_CONTENTS, msgspec.to_builtins(this))
    world.put(GROUP_CLASSES, dict(group_class))
    for handle in pvs:
        built = msgspec.to_builtins(volume())
        built["metadata"]["name"] = f"pv-{handle}"
        built["spec"]["csi"]["volumeHandle"] = handle
        world.put(PV, built)
    return world


def operator(world: World, groups: FakeGroups | None = None) -> GroupContents:
    """A fresh one."""
    events: Any = FakeEvents()
    backend = FakeBackend(world)
    drivers = Drivers(
        [backend], {backend.name: FakeSnapshots(world)}, groups={backend.name: groups or FakeGroups(world)}
    )
    return GroupContents(world.client(), events, caches_of(world), group_caches_of(world), drivers)


async def settle(world: World, *names: str) -> None:
    """Runs operators until nothing changes, each after the death of the one before it."""
    found = operator(world)
    for _ in range(20):
        before = msgspec.json.encode([sorted(world.objects.items()), world.snapshots])
        try:
            for name in names or (CONTENT,):
                await found.reconcile(Request("", name))
        except (CrashError, BaseExceptionGroup):
            found, world.crash_at = operator(world), None
            continue
        if msgspec.json.encode([sorted(world.objects.items()), world.snapshots]) == before:
            return
    raise AssertionError("it does not settle")


def stored(world: World, name: str = CONTENT) -> Any:
    return world.find(GROUP_CONTENTS, "", name)


def delete(world: World, name: str = CONTENT) -> None:
    """As the snapshot-controller does it."""
    found = stored(world, name)
    found["metadata"].setdefault("annotations", {})[BEING_DELETED] = "yes"
    world.put(GROUP_CONTENTS, found)
    world.delete(GROUP_CONTENTS, "", name)


def taken(world: World) -> None:
    """Has the storage system have the group's snapshots."""
    world.snapshots.update(zip(MEMBER_HANDLES, HANDLES, strict=True))


TAKEN = dict(zip(MEMBER_HANDLES, HANDLES, strict=True))


@pytest.mark.parametrize("crash_at", range(1, 13))
async def test_a_group_is_taken(crash_at: int) -> None:
    world = world_with(content(finalizers=()))
    world.crash_at = crash_at
    await settle(world)
    found = stored(world)
    assert found["status"] == READY
    assert found["metadata"]["finalizers"] == [CONTENT_FINALIZER]
    assert BEING_CREATED not in found["metadata"].get("annotations", {})
    assert world.snapshots == TAKEN


@pytest.mark.parametrize("crash_at", range(1, 13))
@pytest.mark.parametrize("again", [None, 1, 2, 3, 4, 5, 6, 7])
async def test_a_content_that_is_deleted_while_its_snapshots_are_taken_leaves_nothing(
    crash_at: int, again: int | None
) -> None:
    world = world_with(content())
    world.crash_at = crash_at
    with suppress(CrashError, BaseExceptionGroup):
        await operator(world).reconcile(Request("", CONTENT))
    delete(world)
    for handle in HANDLES:
        world.delete(PV, "", f"pv-{handle}")
    world.crash_at = None if again is None else world.steps + again
    await settle(world)
    assert stored(world) is None
    assert world.snapshots == {}


async def test_nothing_is_stored_before_the_content_says_so() -> None:
    """Who would destroy it otherwise?"""
    world = world_with(content(finalizers=()))
    world.crash_at = 1
    with pytest.raises((CrashError, BaseExceptionGroup)):
        await operator(world).reconcile(Request("", CONTENT))
    assert world.snapshots == {}
    world.crash_at = world.steps + 2
    with pytest.raises((CrashError, BaseExceptionGroup)):
        await operator(world).reconcile(Request("", CONTENT))
    found = stored(world)
    assert found["metadata"]["annotations"][BEING_CREATED] == "yes"
    assert CONTENT_FINALIZER in found["metadata"]["finalizers"]


@pytest.mark.parametrize(
    ("this", "changes", "why"),
    [
        (
            content(class_name=None),
            {},
            "spec.volumeGroupSnapshotClassName is empty: expected a VolumeGroupSnapshotClass",
        ),
        (content(class_name="gone"), {}, "VolumeGroupSnapshotClass gone does not exist"),
        (content(), {"group_class": {**GROUP_CLASS, "driver": "x"}}, f"driver is 'x': expected {DRIVER}"),
        (
            content(),
            {"pvs": HANDLES[:1]},
            f"spec.source.volumeHandles has h-1: no PersistentVolume of CSI driver {DRIVER}",
        ),
        (content(volumes=("h-0", "elsewhere")), {}, "volume elsewhere is in pool q: expected pool p"),
        (content(volumes=()), {}, "spec.source has no volumeHandles"),
    ],
)
async def test_what_keeps_a_group_from_being_taken_is_told_once(this: Any, changes: dict[str, Any], why: str) -> None:
    world = world_with(this, **changes)
    found = operator(world)
    for _ in range(3):
        await found.reconcile(Request("", CONTENT))
    assert why in stored(world)["status"]["error"]["message"]
    assert stored(world)["status"]["readyToUse"] is False
    events: Any = found.events
    assert [reason for reason, _ in events.told] == ["GroupSnapshotCreationFailed"]
    assert world.snapshots == {}


async def test_a_volume_made_by_hand_is_refused() -> None:
    world = world_with(content(volumes=("h-0", "static")), pvs=("h-0", "static"))
    found = world.find(PV, "", "pv-static")
    assert found is not None
    found["spec"]["csi"]["volumeAttributes"]["staticVolume"] = "true"
    world.put(PV, found)
    await operator(world).reconcile(Request("", CONTENT))
    assert stored(world)["status"]["error"]["message"] == "volume static was made by hand"


async def test_a_failure_is_told_and_forgotten_when_it_is_over() -> None:
    world = world_with(content())
    groups = FakeGroups(world)
    groups.error = BackendError("csi-vol-1 is in the group mine: expected it in none")
    with pytest.raises(PlanError, match="is in the group mine"):
        await operator(world, groups).reconcile(Request("", CONTENT))
    found = stored(world)
    assert found["status"]["error"]["message"] == "csi-vol-1 is in the group mine: expected it in none"
    assert found["metadata"]["annotations"][BEING_CREATED] == "yes", "it may be there in part"
    await settle(world)
    assert stored(world)["status"] == READY


async def test_a_cluster_that_is_gone_holds_no_content_whose_snapshots_were_never_there() -> None:
    world = world_with(content())
    groups = FakeGroups(world)
    groups.error = GoneError("no cluster")
    with pytest.raises(PlanError, match="no cluster"):
        await operator(world, groups).reconcile(Request("", CONTENT))
    assert BEING_CREATED not in stored(world)["metadata"].get("annotations", {})
    delete(world)
    await operator(world, groups).reconcile(Request("", CONTENT))
    assert stored(world) is None


async def test_but_one_that_was_taken_is_not_given_up_with_the_cluster() -> None:
    world = world_with(content(status=READY))
    groups = FakeGroups(world)
    groups.error = GoneError("no cluster")
    delete(world)
    with pytest.raises(PlanError, match="no cluster"):
        await operator(world, groups).reconcile(Request("", CONTENT))
    assert stored(world) is not None


async def test_a_system_without_group_snapshots_says_so() -> None:
    world = world_with(content())
    found = operator(world)
    found.drivers.groups.clear()
    await found.reconcile(Request("", CONTENT))
    assert "no group snapshots are taken of volumes of CSI driver" in stored(world)["status"]["error"]["message"]
    delete(world)
    await found.reconcile(Request("", CONTENT))
    assert stored(world) is None


async def test_a_content_of_another_driver_is_left_alone() -> None:
    world = world_with(content(driver="ebs.csi.aws.com"))
    before = stored(world)
    await operator(world).reconcile(Request("", CONTENT))
    assert stored(world) == before


async def test_snapshots_that_somebody_else_took_are_looked_for() -> None:
    world = world_with(content(given=("a", "b"), class_name=None))
    world.snapshots["a"] = "h-0"
    with pytest.raises(PlanError, match="volumeSnapshotHandles has b: there is no such snapshot"):
        await operator(world).reconcile(Request("", CONTENT))
    world.snapshots["b"] = "h-1"
    await settle(world)
    status = stored(world)["status"]
    assert [found["snapshotHandle"] for found in status["volumeSnapshotInfoList"]] == ["a", "b"]
    assert (status["volumeGroupSnapshotHandle"], status["readyToUse"]) == (GROUP_HANDLE, True)


async def test_a_parameter_without_effect_is_told() -> None:
    parameters = {"clusterID": "rook-ceph", "mine": "x", "csi.storage.k8s.io/group-snapshotter-secret-name": "s"}
    world = world_with(content(), group_class={**GROUP_CLASS, "parameters": parameters})
    found = operator(world)
    await found.reconcile(Request("", CONTENT))
    events: Any = found.events
    assert events.told == [
        ("ParameterNotServed", "VolumeGroupSnapshotClass groupclass: parameter 'mine' has no effect here")
    ]


@pytest.mark.parametrize("crash_at", [None, *range(1, 11)])
async def test_all_snapshots_go_with_their_content(crash_at: int | None) -> None:
    world = world_with(content(status=READY), pvs=())
    taken(world)
    delete(world)
    world.crash_at = crash_at
    await settle(world)
    assert stored(world) is None
    assert world.snapshots == {}


async def test_what_is_listed_stays_in_the_status_until_the_content_goes() -> None:
    """The snapshot-controller, and whoever looks, knows by it which snapshots there were."""
    world = world_with(content(finalizers=(CONTENT_FINALIZER, "somebody.else/s")))
    await settle(world)
    delete(world)
    await settle(world)
    assert stored(world)["status"] == {"readyToUse": False, "volumeSnapshotInfoList": LISTED}
    assert world.snapshots == {}


async def test_snapshots_that_are_retained_stay() -> None:
    world = world_with(content(status=READY, policy="Retain"))
    taken(world)
    delete(world)
    await settle(world)
    assert stored(world) is None
    assert world.snapshots == TAKEN


async def test_nothing_goes_before_the_snapshot_controller_says_so() -> None:
    world = world_with(content(status=READY))
    taken(world)
    world.delete(GROUP_CONTENTS, "", CONTENT)
    await settle(world)
    assert stored(world) is not None
    assert world.snapshots == TAKEN


async def test_a_group_that_another_content_has_too_stays_for_it() -> None:
    backup = content(name="backup", content_uid="backup", uid="other", given=MEMBER_HANDLES, status=READY)
    world = world_with(content(status=READY), backup)
    taken(world)
    delete(world)
    found = operator(world)
    await found.reconcile(Request("", CONTENT))
    assert stored(world) is None
    assert world.snapshots == TAKEN
    events: Any = found.events
    assert events.told == [
        ("HandleShared", "The snapshots stay: they are also those of VolumeGroupSnapshotContent backup")
    ]
    delete(world, "backup")
    await settle(world, "backup")
    assert world.snapshots == {}


@pytest.mark.parametrize("by", ["a content", "another group"])
async def test_a_snapshot_that_somebody_outside_the_group_has_stays_for_them(by: str) -> None:
    world = world_with(content(status=READY))
    taken(world)
    if by == "a content":
        world.put(CONTENTS, msgspec.to_builtins(single(name="backup", handle=MEMBER_HANDLES[0])))
    else:
        other = content(name="backup", content_uid="b", uid="o", given=MEMBER_HANDLES[:1], given_handle="x")
        world.put(GROUP_CONTENTS, msgspec.to_builtins(other))
    delete(world)
    found = operator(world)
    await found.reconcile(Request("", CONTENT))
    assert stored(world) is None
    assert world.snapshots == {MEMBER_HANDLES[0]: HANDLES[0]}
    events: Any = found.events
    assert events.told == [("HandleShared", "Snapshots stay that backup has, too")]


async def test_members_keep_nothing_from_going_with_their_group() -> None:
    members = [
        single(name=f"member-{handle}", annotations={GROUP_ANNOTATION: GROUP_HANDLE}, status={"snapshotHandle": handle})
        for handle in MEMBER_HANDLES
    ]
    world = world_with(content(status=READY))
    for member in members:
        world.put(CONTENTS, msgspec.to_builtins(member))
    taken(world)
    delete(world)
    await settle(world)
    assert (stored(world), world.snapshots) == (None, {})


async def test_no_snapshot_of_a_group_is_destroyed_by_a_content_of_its_own() -> None:
    """Neither the member's, nor one that was made by hand, also where the snapshot-controller has made no members."""
    member = single(
        name="member", annotations={GROUP_ANNOTATION: GROUP_HANDLE}, status={"snapshotHandle": MEMBER_HANDLES[0]}
    )
    by_hand = single(
        name="by-hand", content_uid="by-hand", handle=MEMBER_HANDLES[1], status={"snapshotHandle": MEMBER_HANDLES[1]}
    )
    world = world_with(content(status=READY))
    taken(world)
    for this in (member, by_hand):
        world.put(CONTENTS, msgspec.to_builtins(this))
        delete_single(world, this.metadata.name)
        found = operator_of_singles(world)
        await found.reconcile(Request("", this.metadata.name))
        assert world.find(CONTENTS, "", this.metadata.name) is None
    assert world.snapshots == TAKEN
    events: Any = found.events
    note = f"The snapshot stays: it is also that of VolumeSnapshotContent {CONTENT} (a VolumeGroupSnapshotContent)"
    assert events.told == [("HandleShared", note)]


class Stale:
    """A cache that shows one object as it was a while ago, and no other, until somebody waits for it."""

    def __init__(self, obj: object, cache: Any) -> None:
        self._obj, self._cache, self._reached = obj, cache, False

    def get(self, *_: str) -> object:
        return self._obj

    async def reached(self, *_: float) -> None:
        self._reached = True

    def by_index(self, *which: str) -> object:
        return self._cache.by_index(*which) if self._reached else []

    def keys_by_index(self, *which: str, complete: bool) -> object:
        return self._cache.keys_by_index(*which, complete=complete) if self._reached else []


@pytest.mark.parametrize("what", ["retained", "shared"])
async def test_what_the_cache_does_not_show_yet_saves_a_group(what: str) -> None:
    world = world_with(content(status=READY))
    taken(world)
    delete(world)
    found = operator(world)
    stale: Any = Stale(found.groups.contents.get("", CONTENT), found.groups.contents)
    found.groups = replace(found.groups, contents=stale)
    if what == "retained":
        now = stored(world)
        world.put(GROUP_CONTENTS, {**now, "spec": {**now["spec"], "deletionPolicy": "Retain"}})
    else:
        backup = content(name="backup", content_uid="backup", uid="other", given=MEMBER_HANDLES, status=READY)
        world.put(GROUP_CONTENTS, msgspec.to_builtins(backup))
    with pytest.raises(PlanError, match="its snapshots are not destroyed"):
        await found.reconcile(Request("", CONTENT))
    assert world.snapshots == TAKEN


@virtual_time
@pytest.mark.parametrize(("served", "version"), [(["v1beta1"], "v1beta1"), (["v1beta1", "v1", "v1beta2"], "v1")])
async def test_the_newest_version_is_used_once_the_api_server_has_any(served: list[str], version: str) -> None:
    world, server = World(), ApiServer(namespaces=("app", "rook-ceph"))
    for resource in (REPORTS, SNAPSHOTS, CONTENTS, SNAPSHOT_CLASSES):
        server.serve(resource)
    for handle in HANDLES:
        built = msgspec.to_builtins(volume())
        built["spec"]["csi"]["volumeHandle"] = handle
        server.put(PV, {**built, "metadata": {"name": handle}})
    manager = new_manager(server)
    serving = system.register(manager, "rook-ceph")
    serving.drivers.add(FakeBackend(world), FakeSnapshots(world), groups=FakeGroups(world))
    async with running(manager):
        await until(lambda: any("/volumegroupsnapshot" in r.path for r in server.requests), within=600)
        for one in served:
            server.serve(kinds.contents(one))
            server.serve(kinds.classes(one))
        resource = kinds.contents(version)
        server.put(kinds.classes(version), dict(GROUP_CLASS))
        made = msgspec.to_builtins(content(finalizers=()))
        server.put(resource, {**made, "metadata": {"name": CONTENT}})
        await until(lambda: bool(server.get(resource, "", CONTENT).get("status", {}).get("readyToUse")), within=600)
    assert world.snapshots == TAKEN
    listed = {"v1": "volumeSnapshotInfoList", "v1beta1": "volumeSnapshotHandlePairList"}[version]
    assert len(server.get(resource, "", CONTENT)["status"][listed]) == 2
    patched = {r.path for r in server.requests if r.method == "PATCH" and "/volumegroupsnapshotcontents" in r.path}
    assert all(f"/{version}/" in path for path in patched)
