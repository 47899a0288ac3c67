"""Claims, snapshots and copies of CephFS, whatever users do, Ceph does to copies, and wherever operators die.

All controllers of volumes run on an API server and a Ceph in memory. Nothing is lost meanwhile, and nothing is left in
the end.
"""

from __future__ import annotations

import itertools
import uuid
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.ceph.cephfs.backend import CephfsBackend
from controller.ceph.cephfs.snaps import HELPER
from controller.framework.plan import PlanError
from controller.runtime.kube import PV, PVC, STORAGE_CLASS
from controller.runtime.reconciler import Request
from controller.volumes.caches import BY_DRIVER, BY_SHOWN
from controller.volumes.claims.act import Claims
from controller.volumes.claims.objects import SOURCE_FINALIZER, STORAGE_PROVISIONERS
from controller.volumes.drivers import Drivers
from controller.volumes.reclaim import PersistentVolumes
from controller.volumes.snapshots.act import Contents
from controller.volumes.snapshots.kinds import BEING_DELETED, CONTENTS, SNAPSHOT_CLASSES, SNAPSHOTS
from informers import JsonObject, Resource
from tests.unit.ceph.cephfs.cephfs import CANCELED, DRIVER, FAILED, Ceph, Subvolume, backend, storage_class
from tests.unit.volumes.world import CrashError, FakeEvents, World, caches_of, snapshot_caches_of

MOST_LOOKS = 80


@dataclass
class Copy:
    """A claim: what its volume has, once it is bound; and whether it shows a snapshot."""

    name: str
    data: str
    shows: bool = False


class Story:
    """A namespace of claims and VolumeSnapshots, its Kubernetes, and an operator that may die."""

    def __init__(self) -> None:
        self.world = World()
        self.ceph = Ceph(self.world.step)
        self.ceph.max_clones = 2
        self.backend: CephfsBackend = backend(self.ceph)
        self.claims: dict[str, Copy] = {}
        self.snapshots: dict[str, str] = {}
        """By the name of a content, the data."""
        self.events: Any = FakeEvents()
        self._numbers = itertools.count(1)
        self.world.put(STORAGE_CLASS, msgspec.to_builtins(storage_class()))
        self.world.put(SNAPSHOT_CLASSES, {"metadata": {"name": "s"}, "driver": DRIVER, "deletionPolicy": "Delete"})

    # What users do.

    async def make(self, source: JsonObject | None = None, data: str = "", *, shows: bool = False) -> str:
        number = next(self._numbers)
        name = f"claim-{number}"
        mode = "ReadOnlyMany" if shows else "ReadWriteMany"
        spec = {
            "storageClassName": "rook-cephfs",
            "accessModes": [mode],
            "resources": {"requests": {"storage": "1Gi"}},
            **({"dataSource": source} if source else {}),
        }
        metadata = {"namespace": "app", "name": name, "uid": str(uuid.UUID(int=number))}
        annotations = {STORAGE_PROVISIONERS[0]: DRIVER}
        self.world.put(PVC, {"metadata": {**metadata, "annotations": annotations}, "spec": spec, "status": {}})
        self.claims[name] = Copy(name, data, shows)
        await self.look()
        if source is None and (made := self.subvolume(name)) is not None:
            self.claims[name].data = made.data = f"data-{number}"
        return name

    async def take(self, claim: str) -> str:
        number = next(self._numbers)
        uid = str(uuid.UUID(int=number))
        volume = self.bound(claim)
        assert volume is not None
        name = f"snapcontent-{uid}"
        reference = {"namespace": "app", "name": f"snap-{number}", "uid": uid}
        spec = {
            "volumeSnapshotRef": reference,
            "deletionPolicy": "Delete",
            "driver": DRIVER,
            "volumeSnapshotClassName": "s",
            "source": {"volumeHandle": volume["spec"]["csi"]["volumeHandle"]},
            "sourceVolumeMode": "Filesystem",
        }
        self.world.put(CONTENTS, {"metadata": {"name": name}, "spec": spec})
        status = {"boundVolumeSnapshotContentName": name}
        self.world.put(SNAPSHOTS, {"metadata": reference, "spec": {}, "status": status})
        self.snapshots[name] = self.claims[claim].data
        await self.look()
        return name

    def source(self, content: str) -> JsonObject:
        found = self.world.find(CONTENTS, "", content)
        assert found is not None
        name = found["spec"]["volumeSnapshotRef"]["name"]
        return {"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": name}

    async def delete_claim(self, name: str) -> None:
        """The snapshot-controller keeps a claim while a snapshot of it is being taken."""
        volume = self.bound(name)
        handle = volume["spec"]["csi"]["volumeHandle"] if volume is not None else ""
        if any(
            content["spec"]["source"]["volumeHandle"] == handle and not content.get("status", {}).get("readyToUse")
            for content in self.world.server.list(CONTENTS)
        ):
            return
        del self.claims[name]
        self.world.delete(PVC, "app", name)
        await self.look()

    async def delete_snapshot(self, content: str) -> None:
        """The snapshot-controller keeps a snapshot while a claim that is not bound yet names it."""
        source = self.source(content)
        for claim in self.world.server.list(PVC):
            if claim["spec"].get("dataSource") == source and claim.get("status", {}).get("phase") != "Bound":
                return
        del self.snapshots[content]
        self.world.put(CONTENTS, with_note(self.world.find(CONTENTS, "", content)))
        self.world.delete(SNAPSHOTS, "app", source["name"])
        self.world.delete(CONTENTS, "", content)
        await self.look()

    # What there is.

    def bound(self, claim: str) -> JsonObject | None:
        found = self.world.find(PVC, "app", claim)
        if found is None or found.get("status", {}).get("phase") != "Bound":
            return None
        return self.world.find(PV, "", found["spec"]["volumeName"])

    def subvolume(self, claim: str) -> Subvolume | None:
        volume = self.bound(claim)
        if volume is None:
            return None
        attributes = volume["spec"]["csi"]["volumeAttributes"]
        return self.ceph.subvolumes.get((attributes["subvolumeGroup"], attributes["subvolumeName"]))

    def points(self) -> list[str]:
        """The snapshots of all subvolumes."""
        return [name for found in self.ceph.subvolumes.values() for name in found.snapshots]

    def check(self) -> None:
        """Whoever has something still has it."""
        for copy in self.claims.values():
            volume = self.bound(copy.name)
            if volume is None:
                continue
            if copy.shows:
                attributes = volume["spec"]["csi"]["volumeAttributes"]
                _, group, name = attributes["snapshotRoot"].strip("/").split("/")
                assert self.ceph.subvolumes[group, name].snapshots[attributes["snapshotName"]].data == copy.data
            else:
                found = self.subvolume(copy.name)
                assert found is not None
                assert (found.data, found.quota) == (copy.data, 1 << 30)
        for content, data in self.snapshots.items():
            stored = self.world.find(CONTENTS, "", content)
            assert stored is not None
            if stored.get("status", {}).get("readyToUse"):
                _, _, group, name, snapshot = stored["status"]["snapshotHandle"].split("/")
                assert self.ceph.subvolumes[group, name].snapshots[snapshot].data == data

    # What the operator does, and dies of.

    async def look(self, times: int = 3) -> None:
        for _ in range(times):
            for resource, request in self._requests():
                await self._reconcile(resource, request)
            self.world.kubernetes()

    def _requests(self) -> list[tuple[Resource, Request]]:
        return [
            (resource, Request(found["metadata"].get("namespace", ""), found["metadata"]["name"]))
            for resource in (PVC, PV, CONTENTS)
            for found in self.world.server.list(resource)
        ]

    async def _reconcile(self, resource: Resource, request: Request) -> None:
        """By a reconciler of no memory, so that no backoff is waited for."""
        client, caches = self.world.client(), caches_of(self.world)
        drivers = Drivers([self.backend], {self.backend.name: self.backend.snapshots})
        reconcilers: dict[str, Any] = {
            PVC.plural: lambda: Claims(client, self.events, caches, drivers),
            PV.plural: lambda: PersistentVolumes(client, self.events, caches, drivers),
            CONTENTS.plural: lambda: Contents(client, self.events, caches, snapshot_caches_of(self.world), drivers),
        }
        try:
            await reconcilers[resource.plural]().reconcile(request)
        except PlanError:
            pass
        except (CrashError, BaseExceptionGroup) as error:
            if isinstance(error, BaseExceptionGroup) and error.split((CrashError, PlanError))[1] is not None:
                raise
            self.world.crash_at = None
            self.backend = backend(self.ceph)

    def crash_after(self, steps: int) -> None:
        self.world.crash_at = self.world.steps + steps if steps else None

    def work(self, end: str = "complete") -> None:
        """What Ceph does by itself."""
        self.ceph.work(to=end)
        self.ceph.stop()

    async def settle(self) -> None:
        self.world.crash_at = None
        for _ in range(MOST_LOOKS):
            before = msgspec.json.encode([sorted(self.world.objects.items()), str(self.ceph.subvolumes)])
            await self.look(1)
            self.work()
            self.check()
            if msgspec.json.encode([sorted(self.world.objects.items()), str(self.ceph.subvolumes)]) == before:
                assert not [name for name in self.points() if name.startswith(HELPER)]
                return
        raise AssertionError("it does not settle")

    async def end(self) -> None:
        """Everything is deleted; nothing is left."""
        while self.claims or self.snapshots:
            await self.settle()
            for claim in list(self.claims):
                await self.delete_claim(claim)
            for content in list(self.snapshots):
                await self.delete_snapshot(content)
        await self.settle()
        assert self.ceph.subvolumes == {}
        assert {key[0] for key in self.world.objects} == {STORAGE_CLASS.plural, SNAPSHOT_CLASSES.plural}


async def story() -> tuple[Story, str]:
    """With a claim that has data."""
    found = Story()
    return found, await found.make()


@pytest.mark.parametrize("crash", range(0, 26, 2))
async def test_from_a_claim_to_what_is_restored_to_nothing(crash: int) -> None:
    this, source = await story()
    data = this.claims[source].data
    this.crash_after(crash)
    snapshot = await this.take(source)
    await this.settle()
    this.crash_after(crash)
    await this.delete_claim(source)
    restored = await this.make(this.source(snapshot), data)
    shown = await this.make(this.source(snapshot), data, shows=True)
    await this.settle()
    for name in (restored, shown):
        assert this.bound(name) is not None
    assert len(this.ceph.subvolumes) == 2, "the one that was restored, and one of which only the snapshot is left"
    await this.end()


async def test_a_claim_that_is_copied_stays_until_that_is_done() -> None:
    this, source = await story()
    data = this.claims[source].data
    copy = await this.make({"kind": "PersistentVolumeClaim", "name": source}, data)
    await this.delete_claim(source)
    await this.look()
    stored = this.world.find(PVC, "app", source)
    assert stored is not None
    assert stored["metadata"]["finalizers"] == [SOURCE_FINALIZER]
    this.work()
    assert [note for reason, note in this.events.told if reason == "Provisioning"]
    await this.settle()
    assert this.world.find(PVC, "app", source) is None
    assert this.ceph.listed() == [f"csi-vol-{uuid.UUID(int=2)}"]
    assert this.bound(copy) is not None
    late = await this.make({"kind": "PersistentVolumeClaim", "name": source})
    await this.settle()
    assert this.bound(late) is None
    await this.end()


@pytest.mark.parametrize("works", range(4))
async def test_a_copy_that_is_deleted_in_the_midst_leaves_nothing_at_its_source(works: int) -> None:
    this, source = await story()
    copy = await this.make({"kind": "PersistentVolumeClaim", "name": source}, this.claims[source].data)
    for _ in range(works):
        this.ceph.work()
    await this.delete_claim(copy)
    await this.settle()
    assert (this.ceph.listed(), this.points()) == ([f"csi-vol-{uuid.UUID(int=1)}"], [])
    assert this.world.find(PVC, "app", copy) is None


async def test_a_claim_that_is_being_deleted_is_not_copied_any_more() -> None:
    this, source = await story()
    stored = this.world.find(PVC, "app", source)
    assert stored is not None
    this.world.put(PVC, {**stored, "metadata": {**stored["metadata"], "finalizers": ["kubernetes.io/pvc-protection"]}})
    this.world.delete(PVC, "app", source)
    await this.make({"kind": "PersistentVolumeClaim", "name": source})
    assert this.events.told[-1][1].endswith(f"PersistentVolumeClaim {source}, which is being deleted")
    assert this.ceph.listed() == [f"csi-vol-{uuid.UUID(int=1)}"]


async def test_a_snapshot_that_is_shown_stays_until_nobody_shows_it() -> None:
    this, source = await story()
    snapshot = await this.take(source)
    shown = await this.make(this.source(snapshot), this.claims[source].data, shows=True)
    volume = this.bound(shown)
    assert volume is not None
    await this.delete_snapshot(snapshot)
    await this.settle()
    name = volume["metadata"]["name"]
    assert this.world.find(CONTENTS, "", snapshot) is not None
    assert f"PersistentVolume {name} shows the snapshot: it is not destroyed" in this.events.told[-1][1]
    await this.end()


class Late:
    """A cache that shows what is only when it is waited for."""

    def __init__(self, cache: Any, *, empty: bool) -> None:
        self._cache = cache
        self._reached = False
        self._empty = empty

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cache, name)

    def keys_by_index(self, index: str, value: str, *, complete: bool = False) -> list[tuple[str, str]]:
        if (index == BY_SHOWN and not self._reached) or (self._empty and index in (BY_SHOWN, BY_DRIVER)):
            return []
        found: list[tuple[str, str]] = self._cache.keys_by_index(index, value, complete=complete)
        return found

    async def reached(self, version: int, deadline: float) -> None:
        self._reached = True


@pytest.mark.parametrize("empty", [False, True])
async def test_nor_is_one_destroyed_that_a_volume_shows_which_the_cache_does_not(empty: bool) -> None:
    this, source = await story()
    snapshot = await this.take(source)
    await this.make(this.source(snapshot), this.claims[source].data, shows=True)
    client, snapshots = this.world.client(), snapshot_caches_of(this.world)
    caches = caches_of(this.world)
    late: Any = Late(caches.volumes, empty=empty)
    caches.volumes = late
    drivers = Drivers([this.backend], {this.backend.name: this.backend.snapshots})
    this.world.put(CONTENTS, with_note(this.world.find(CONTENTS, "", snapshot)))
    this.world.delete(CONTENTS, "", snapshot)
    with pytest.raises(PlanError, match="shows the snapshot: it is not destroyed"):
        await Contents(client, this.events, caches, snapshots, drivers).reconcile(Request("", snapshot))
    this.check()


def with_note(content: JsonObject | None) -> JsonObject:
    """As the snapshot-controller says that a content's VolumeSnapshot is being deleted."""
    assert content is not None
    content["metadata"].setdefault("annotations", {})[BEING_DELETED] = "yes"
    return content


STEPS = st.lists(st.tuples(st.sampled_from("NTTRRCSVXWWFK"), st.integers(0, 5), st.integers(0, 12)), max_size=14)


@given(STEPS)
async def test_whatever_is_done_and_dies_nothing_is_lost_and_nothing_is_left(steps: list[tuple[str, int, int]]) -> None:
    """What is done, to which claim or snapshot, and after how many writes the operator dies.

    N: a claim, T: a snapshot, R: a restored claim, C: a copied one, S: one that shows a snapshot; V and X: the end of a
    claim and of a snapshot; W, F, K: copies go on, fail, and are canceled by somebody.
    """
    this, _ = await story()
    for what, which, crash in steps:
        this.crash_after(crash)
        bound = [name for name in this.claims if this.bound(name) is not None and not this.claims[name].shows]
        if what == "N":
            await this.make()
        elif what in "TC" and bound:
            claim = bound[which % len(bound)]
            if what == "T":
                await this.take(claim)
            else:
                await this.make({"kind": "PersistentVolumeClaim", "name": claim}, this.claims[claim].data)
        elif what in "RSX" and this.snapshots:
            snapshot = list(this.snapshots)[which % len(this.snapshots)]
            if what == "X":
                await this.delete_snapshot(snapshot)
            else:
                await this.make(this.source(snapshot), this.snapshots[snapshot], shows=what == "S")
        elif what == "V" and this.claims:
            await this.delete_claim(list(this.claims)[which % len(this.claims)])
        elif what in "WFK":
            this.work({"W": "complete", "F": FAILED, "K": CANCELED}[what])
            await this.look()
        this.world.crash_at = None
        this.check()
    await this.end()
