"""The operator may die at any instruction while it takes or destroys a snapshot: nothing is lost or left over."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

import anyio
import msgspec
import pytest

from controller.framework.plan import PlanError
from controller.framework.reports import REPORTS
from controller.runtime.kube import PV
from controller.runtime.reconciler import Request
from controller.testkit import ApiServer, new_manager, running, until, virtual_time
from controller.volumes import system
from controller.volumes.backend import BackendError, GoneError, ParameterError, Source, Volume
from controller.volumes.drivers import Drivers
from controller.volumes.features import Snapshot
from controller.volumes.presence import LOOK
from controller.volumes.snapshots.act import Contents
from controller.volumes.snapshots.kinds import (
    BEING_CREATED,
    BEING_DELETED,
    CONTENT_FINALIZER,
    CONTENTS,
    SNAPSHOT_CLASSES,
    SNAPSHOTS,
    VolumeSnapshotContent,
)
from tests.unit.volumes.objects import DRIVER, volume
from tests.unit.volumes.snapshots.objects import CONTENT, GIB, READY, SNAPSHOT_HANDLE, SNAPSHOT_UID, content
from tests.unit.volumes.world import CrashError, FakeBackend, FakeEvents, World, caches_of, snapshot_caches_of

SNAPSHOT_CLASS = {"metadata": {"name": "snapclass"}, "driver": DRIVER, "deletionPolicy": "Delete"}


class FakeSnapshots:
    """A storage system whose snapshots are names, and are there in part first."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.error: Exception | None = None

    def unserved(self, parameters: Mapping[str, str]) -> tuple[str, ...]:
        return tuple(name for name in parameters if name != "clusterID")

    def handle(self, volume: Volume, uid: str) -> str:
        if volume.is_static:
            raise ParameterError(f"volume {volume.handle} was made by hand")
        return f"snap-{uid}"

    async def take(self, volume: Volume, handle: str) -> Snapshot:
        if self.error is not None:
            raise self.error
        for state in ("part", volume.handle):
            with self._world.step():
                self._world.snapshots[handle] = state
        return Snapshot(size=GIB, created=1)

    async def find(self, driver: str, handle: str) -> Snapshot | None:
        return Snapshot(size=GIB, created=1) if handle in self._world.snapshots else None

    async def destroy(self, driver: str, handle: str, volume: Volume | None) -> None:
        if self.error is not None:
            raise self.error
        with self._world.step():
            self._world.snapshots.pop(handle, None)

    async def abandon(self, volume: Volume, source: Source) -> None:
        raise AssertionError("no volume is made here")


def world_with(*contents: Any, pv: bool = True, snapshot_class: Mapping[str, Any] = SNAPSHOT_CLASS) -> World:
    """With a volume, a class of snapshots, and these contents."""
    world = World()
    for this in contents:
        world.put(CONTENTS, msgspec.to_builtins(this))
    world.put(SNAPSHOT_CLASSES, dict(snapshot_class))
    if pv:
        world.put(PV, msgspec.to_builtins(volume()))
    return world


def operator(world: World, snapshots: FakeSnapshots | None = None) -> Contents:
    """A fresh one."""
    events: Any = FakeEvents()
    backend = FakeBackend(world)
    drivers = Drivers([backend], {backend.name: snapshots or FakeSnapshots(world)})
    return Contents(world.client(), events, caches_of(world), snapshot_caches_of(world), drivers)


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
    return world.find(CONTENTS, "", name)


def delete(world: World, name: str = CONTENT) -> None:
    """As the snapshot-controller does it."""
    found = stored(world, name)
    found["metadata"].setdefault("annotations", {})[BEING_DELETED] = "yes"
    world.put(CONTENTS, found)
    world.delete(CONTENTS, "", name)


@pytest.mark.parametrize("crash_at", range(1, 11))
async def test_a_snapshot_is_taken(crash_at: int) -> None:
    world = world_with(content(finalizers=()))
    world.crash_at = crash_at
    await settle(world)
    found = stored(world)
    assert found["status"] == READY
    assert found["metadata"]["finalizers"] == [CONTENT_FINALIZER]
    assert BEING_CREATED not in found["metadata"].get("annotations", {})
    assert world.snapshots == {SNAPSHOT_HANDLE: "h"}


@pytest.mark.parametrize("crash_at", range(1, 11))
@pytest.mark.parametrize("again", [None, 1, 2, 3, 4, 5])
async def test_a_content_that_is_deleted_while_its_snapshot_is_taken_leaves_nothing(
    crash_at: int, again: int | None
) -> None:
    world = world_with(content())
    world.crash_at = crash_at
    with suppress(CrashError, BaseExceptionGroup):
        await operator(world).reconcile(Request("", CONTENT))
    delete(world)
    world.delete(PV, "", volume().metadata.name)
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
        (content(class_name=None), {}, "spec.volumeSnapshotClassName is empty: expected a VolumeSnapshotClass"),
        (content(class_name="gone"), {}, "VolumeSnapshotClass gone does not exist"),
        (content(), {"snapshot_class": {**SNAPSHOT_CLASS, "driver": "x"}}, f"driver is 'x': expected {DRIVER}"),
        (content(), {"pv": False}, "spec.source.volumeHandle is h: no PersistentVolume has it"),
    ],
)
async def test_what_keeps_a_snapshot_from_being_taken_is_told_once(
    this: Any, changes: dict[str, Any], why: str
) -> None:
    world = world_with(this, **changes)
    found = operator(world)
    for _ in range(3):
        await found.reconcile(Request("", CONTENT))
    assert why in stored(world)["status"]["error"]["message"]
    assert stored(world)["status"]["readyToUse"] is False
    events: Any = found.events
    assert [reason for reason, _ in events.told] == ["SnapshotCreationFailed"]
    assert world.snapshots == {}


async def test_a_failure_is_told_and_forgotten_when_it_is_over() -> None:
    world = world_with(content())
    snapshots = FakeSnapshots(world)
    snapshots.error = BackendError("the pool is full")
    with pytest.raises(PlanError, match="the pool is full"):
        await operator(world, snapshots).reconcile(Request("", CONTENT))
    found = stored(world)
    assert found["status"]["error"]["message"] == "the pool is full"
    assert found["metadata"]["annotations"][BEING_CREATED] == "yes", "it may be there in part"
    await settle(world)
    assert stored(world)["status"] == READY


async def test_a_cluster_that_is_gone_holds_no_content_whose_snapshot_was_never_there() -> None:
    world = world_with(content())
    snapshots = FakeSnapshots(world)
    snapshots.error = GoneError("no cluster")
    with pytest.raises(PlanError, match="no cluster"):
        await operator(world, snapshots).reconcile(Request("", CONTENT))
    assert BEING_CREATED not in stored(world)["metadata"].get("annotations", {})
    delete(world)
    await operator(world, snapshots).reconcile(Request("", CONTENT))
    assert stored(world) is None


async def test_but_one_that_was_taken_is_not_given_up_with_the_cluster() -> None:
    world = world_with(content(status=READY))
    snapshots = FakeSnapshots(world)
    snapshots.error = GoneError("no cluster")
    delete(world)
    with pytest.raises(PlanError, match="no cluster"):
        await operator(world, snapshots).reconcile(Request("", CONTENT))
    assert stored(world) is not None


async def test_a_system_without_snapshots_says_so() -> None:
    world = world_with(content())
    found = operator(world)
    found.drivers.snapshots.clear()
    await found.reconcile(Request("", CONTENT))
    assert "no snapshots are taken of volumes of CSI driver" in stored(world)["status"]["error"]["message"]
    delete(world)
    await found.reconcile(Request("", CONTENT))
    assert stored(world) is None


async def test_a_content_of_another_driver_is_left_alone() -> None:
    world = world_with(content(driver="ebs.csi.aws.com"))
    before = stored(world)
    await operator(world).reconcile(Request("", CONTENT))
    assert stored(world) == before


async def test_a_snapshot_that_somebody_else_took_is_looked_for() -> None:
    world = world_with(content(handle="given"))
    with pytest.raises(PlanError, match="snapshotHandle is given: there is no such snapshot"):
        await operator(world).reconcile(Request("", CONTENT))
    world.snapshots["given"] = "h"
    await settle(world)
    assert stored(world)["status"] == {**READY, "snapshotHandle": "given"}


async def test_a_parameter_without_effect_is_told() -> None:
    parameters = {
        "clusterID": "rook-ceph",
        "snapshotNamePrefix": "mine-",
        "csi.storage.k8s.io/snapshotter-secret-name": "s",
    }
    world = world_with(content(), snapshot_class={**SNAPSHOT_CLASS, "parameters": parameters})
    found = operator(world)
    await found.reconcile(Request("", CONTENT))
    events: Any = found.events
    note = "VolumeSnapshotClass snapclass: parameter 'snapshotNamePrefix' has no effect here"
    assert events.told == [("ParameterNotServed", note)]


@pytest.mark.parametrize("crash_at", [None, *range(1, 9)])
async def test_a_snapshot_goes_with_its_content(crash_at: int | None) -> None:
    world = world_with(content(status=READY), pv=False)
    world.snapshots[SNAPSHOT_HANDLE] = "h"
    delete(world)
    world.crash_at = crash_at
    await settle(world)
    assert stored(world) is None
    assert world.snapshots == {}


async def test_a_snapshot_that_is_retained_stays() -> None:
    world = world_with(content(status=READY, policy="Retain"))
    world.snapshots[SNAPSHOT_HANDLE] = "h"
    delete(world)
    await settle(world)
    assert stored(world) is None
    assert world.snapshots == {SNAPSHOT_HANDLE: "h"}


async def test_nothing_goes_before_the_snapshot_controller_says_so() -> None:
    world = world_with(content(status=READY))
    world.snapshots[SNAPSHOT_HANDLE] = "h"
    world.delete(CONTENTS, "", CONTENT)
    await settle(world)
    assert stored(world) is not None
    assert world.snapshots == {SNAPSHOT_HANDLE: "h"}


async def test_a_snapshot_that_another_content_has_too_stays_for_it() -> None:
    """As a backup tool makes them, or somebody who copied one to another namespace."""
    backup = content(name="backup", content_uid="backup", uid="other", handle=SNAPSHOT_HANDLE, status=READY)
    world = world_with(content(status=READY), backup)
    world.snapshots[SNAPSHOT_HANDLE] = "h"
    delete(world)
    found = operator(world)
    await found.reconcile(Request("", CONTENT))
    assert stored(world) is None
    assert world.snapshots == {SNAPSHOT_HANDLE: "h"}
    events: Any = found.events
    assert events.told == [
        ("HandleShared", "The snapshot stays: it is also that of VolumeSnapshotContent backup"),
    ]
    delete(world, "backup")
    await settle(world, "backup")
    assert world.snapshots == {}


async def test_nor_does_a_content_made_by_hand_take_it_from_the_others() -> None:
    by_hand = content(name="by-hand", content_uid="by-hand", uid="", handle=SNAPSHOT_HANDLE, status=READY)
    world = world_with(content(status=READY), by_hand)
    world.snapshots[SNAPSHOT_HANDLE] = "h"
    world.delete(CONTENTS, "", "by-hand")
    await operator(world).reconcile(Request("", "by-hand"))
    assert stored(world, "by-hand") is None
    assert world.snapshots == {SNAPSHOT_HANDLE: "h"}


async def test_two_that_are_deleted_together_do_not_wait_for_each_other() -> None:
    twin = content(name="twin", content_uid="twin", uid="other", handle=SNAPSHOT_HANDLE, status=READY)
    world = world_with(content(status=READY), twin)
    world.snapshots[SNAPSHOT_HANDLE] = "h"
    delete(world)
    delete(world, "twin")
    found = operator(world)
    for name in (CONTENT, "twin"):
        this = found.snapshots.contents.get("", name)
        assert this is not None
        assert found.observe(this).others == (), "or each would leave the snapshot to the other"
    await settle(world, CONTENT, "twin")
    assert (stored(world), stored(world, "twin"), world.snapshots) == (None, None, {})


class Stale:
    """A cache that shows one object as it was a while ago, and no other, until somebody waits for it."""

    def __init__(self, obj: object, cache: Any) -> None:
        self._obj, self._cache, self._reached = obj, cache, False

    def get(self, *key: str) -> object:
        return self._cache.get(*key) if self._reached else self._obj

    async def reached(self, *_: float) -> None:
        self._reached = True

    def by_index(self, *which: str) -> object:
        return self._cache.by_index(*which) if self._reached else []

    def keys_by_index(self, *which: str, complete: bool) -> object:
        return self._cache.keys_by_index(*which, complete=complete) if self._reached else []


@pytest.mark.parametrize("what", ["retained", "shared"])
async def test_what_the_cache_does_not_show_yet_saves_a_snapshot(what: str) -> None:
    world = world_with(content(status=READY))
    world.snapshots[SNAPSHOT_HANDLE] = "h"
    delete(world)
    found = operator(world)
    stale: Any = Stale(found.snapshots.contents.get("", CONTENT), found.snapshots.contents)
    found.snapshots = replace(found.snapshots, contents=stale)
    if what == "retained":
        now = stored(world)
        world.put(CONTENTS, {**now, "spec": {**now["spec"], "deletionPolicy": "Retain"}})
    else:
        backup = content(name="backup", content_uid="backup", uid="other", handle=SNAPSHOT_HANDLE, status=READY)
        world.put(CONTENTS, msgspec.to_builtins(backup))
    with pytest.raises(PlanError, match="it is not destroyed"):
        await found.reconcile(Request("", CONTENT))
    assert world.snapshots == {SNAPSHOT_HANDLE: "h"}


@virtual_time
async def test_where_the_api_server_has_no_snapshots_volumes_are_served_and_when_it_has_them_so_are_they() -> None:
    world, server = World(), ApiServer(namespaces=("app", "rook-ceph"))
    server.serve(REPORTS)
    built = msgspec.to_builtins(volume())
    server.put(PV, {**built, "metadata": {"name": "v"}})
    manager = new_manager(server)
    serving = system.register(manager, "rook-ceph")
    serving.drivers.add(FakeBackend(world), FakeSnapshots(world))
    async with running(manager):
        await anyio.sleep(3600)
        assert len([r for r in server.requests if "/volumesnapshot" in r.path]) <= 3 * (3600 / LOOK + 1)
        for resource in (SNAPSHOTS, CONTENTS, SNAPSHOT_CLASSES):
            server.serve(resource)
        server.put(SNAPSHOT_CLASSES, dict(SNAPSHOT_CLASS))
        made = msgspec.to_builtins(content(finalizers=()))
        server.put(CONTENTS, {**made, "metadata": {"name": CONTENT}})
        await until(lambda: bool(server.get(CONTENTS, "", CONTENT).get("status", {}).get("readyToUse")), within=600)
    assert world.snapshots == {f"snap-{SNAPSHOT_UID}": "h"}


def behind(world: World) -> Contents:
    """An operator whose cache goes on showing the content as it is now."""
    found, shown = operator(world), world.find(CONTENTS, "", CONTENT)
    stale: Any = found.snapshots.contents
    stale.get = lambda *_: msgspec.convert(shown, VolumeSnapshotContent)
    return found


async def test_the_finalizer_that_the_snapshot_controller_adds_meanwhile_holds_nothing_up() -> None:
    world = world_with(content())
    found = behind(world)
    new = world.find(CONTENTS, "", CONTENT)
    assert new is not None
    world.server.put(CONTENTS, {**new, "metadata": {**new["metadata"], "finalizers": ["another", CONTENT_FINALIZER]}})
    await found.reconcile(Request("", CONTENT))
    now = world.find(CONTENTS, "", CONTENT)
    assert now is not None
    assert now["status"]["readyToUse"]
    assert now["metadata"]["finalizers"] == ["another", CONTENT_FINALIZER]


@pytest.mark.parametrize("how", ["another", "deleting", "other spec", "gone"])
async def test_no_snapshot_is_taken_for_a_content_that_is_another_by_now(how: str) -> None:
    world = world_with(content(finalizers=("keep",)))
    found = behind(world)
    new = world.find(CONTENTS, "", CONTENT)
    assert new is not None
    match how:
        case "another" | "gone":
            world.server.put(CONTENTS, {**new, "metadata": {**new["metadata"], "finalizers": []}})
            world.server.delete(CONTENTS, "", CONTENT)
            if how == "another":
                world.put(CONTENTS, {**new, "metadata": {**new["metadata"], "uid": "other"}})
        case "deleting":
            world.server.delete(CONTENTS, "", CONTENT)
        case _:
            world.server.put(CONTENTS, {**new, "spec": {**new["spec"], "deletionPolicy": "Retain"}})
    with suppress(PlanError):
        await found.reconcile(Request("", CONTENT))
    assert world.snapshots == {}
