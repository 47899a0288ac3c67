"""The operator may die before or after each write: each claim gets one subvolume, or leaves none."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.ceph.cephfs.backend import CephfsBackend
from controller.framework.plan import PlanError
from controller.runtime.kube import PV, PVC, STORAGE_CLASS
from controller.runtime.reconciler import Request
from controller.volumes.backend import BackendError, NewVolume
from controller.volumes.claims.act import Claims
from controller.volumes.claims.objects import STORAGE_PROVISIONERS
from controller.volumes.drivers import Drivers
from controller.volumes.reclaim import PersistentVolumes
from tests.unit.ceph.cephfs.cephfs import DRIVER, HANDLE, NAME, UID, Ceph, Subvolume, backend, storage_class
from tests.unit.volumes.objects import claim
from tests.unit.volumes.world import CrashError, FakeEvents, World, caches_of

CLAIM, VOLUME = Request("app", "data"), Request("", f"pvc-{UID}")
GIB = 1 << 30
MOST_LOOKS = 30


def scene(**spec: Any) -> tuple[World, Ceph]:
    """A claim of a class of file system volumes."""
    world = World()
    wanted = claim(
        annotations={STORAGE_PROVISIONERS[0]: DRIVER},
        **{"storage_class_name": "rook-cephfs", "access_modes": ("ReadWriteMany",), **spec},
    )
    world.put(STORAGE_CLASS, msgspec.to_builtins(storage_class()))
    world.put(PVC, msgspec.to_builtins(wanted))
    return world, Ceph(world.step)


def operator(world: World, ceph: Ceph) -> tuple[Claims, PersistentVolumes]:
    events: Any = FakeEvents()
    client, caches, drivers = world.client(), caches_of(world), Drivers([backend(ceph)])
    return Claims(client, events, caches, drivers), PersistentVolumes(client, events, caches, drivers)


async def look(world: World, claims: Claims, volumes: PersistentVolumes) -> bool:
    """One look of the operator; whether it lived."""
    try:
        await claims.reconcile(CLAIM)
        world.kubernetes()
        await volumes.reconcile(VOLUME)
    except (CrashError, BaseExceptionGroup) as error:
        if isinstance(error, BaseExceptionGroup) and error.split(CrashError)[1] is not None:
            raise
        return False
    return True


async def settle(world: World, ceph: Ceph, crash_at: int = 0) -> None:
    world.steps, world.crash_at = 0, crash_at
    claims, volumes = operator(world, ceph)
    for _ in range(MOST_LOOKS):
        before = msgspec.json.encode([sorted(world.objects.items()), str(ceph.subvolumes)])
        if not await look(world, claims, volumes):
            world.crash_at = None
            claims, volumes = operator(world, ceph)
        elif msgspec.json.encode([sorted(world.objects.items()), str(ceph.subvolumes)]) == before:
            return
    raise AssertionError("it does not settle")


@pytest.mark.parametrize("crash_at", range(1, 10))
async def test_a_claim_gets_one_subvolume_and_takes_it_along(crash_at: int) -> None:
    world, ceph = scene()
    await settle(world, ceph, crash_at)
    found, volume = world.find(PVC, *_key(CLAIM)), world.find(PV, *_key(VOLUME))
    assert found is not None
    assert volume is not None
    assert (found["status"]["phase"], found["metadata"].get("finalizers") or []) == ("Bound", [])
    assert ceph.subvolumes == {("csi", NAME): Subvolume(GIB, "777")}
    csi = volume["spec"]["csi"]
    assert (csi["driver"], csi["volumeHandle"]) == (DRIVER, HANDLE)
    assert csi["volumeAttributes"] == {
        "clusterID": "rook-ceph",
        "fsName": "myfs",
        "subvolumeGroup": "csi",
        "subvolumeName": NAME,
        "subvolumePath": ceph.path("csi", NAME),
    }
    assert csi["nodeStageSecretRef"] == {"name": "rook-csi-cephfs-node", "namespace": "rook-ceph"}
    assert "fsType" not in csi

    world.delete(PVC, *_key(CLAIM))
    await settle(world, ceph, crash_at)
    assert (ceph.subvolumes, world.find(PV, *_key(VOLUME))) == ({}, None)


@pytest.mark.parametrize("crash_at", range(1, 9))
async def test_a_claim_that_is_deleted_while_its_subvolume_is_made_leaves_nothing(crash_at: int) -> None:
    world, ceph = scene()
    world.crash_at = crash_at
    await look(world, *operator(world, ceph))
    world.crash_at = None
    world.delete(PVC, *_key(CLAIM))
    await settle(world, ceph)
    assert ceph.subvolumes == {}
    assert {key[0] for key in world.objects} == {STORAGE_CLASS.plural}


@pytest.mark.parametrize("crash_at", range(1, 6))
async def test_a_claim_grows_without_its_node(crash_at: int) -> None:
    world, ceph = scene()
    await settle(world, ceph)
    found = world.find(PVC, *_key(CLAIM))
    assert found is not None
    found["spec"]["resources"]["requests"]["storage"] = "3Gi"
    world.put(PVC, found)
    await settle(world, ceph, crash_at)
    found, volume = world.find(PVC, *_key(CLAIM)), world.find(PV, *_key(VOLUME))
    assert found is not None
    assert volume is not None
    assert ceph.subvolumes["csi", NAME].quota == 3 * GIB
    assert (found["status"]["capacity"], volume["spec"]["capacity"]) == ({"storage": "3Gi"}, {"storage": "3Gi"})


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ({"volume_mode": "Block"}, "spec.volumeMode is Block: expected Filesystem"),
        (
            {"data_source": {"kind": "Pod", "name": "other"}},
            "spec.dataSource is Pod other: expected none, or a PersistentVolumeClaim or VolumeSnapshot",
        ),
    ],
)
async def test_what_cannot_be_is_told(spec: dict[str, Any], told: str) -> None:
    world, ceph = scene(**spec)
    claims, _ = operator(world, ceph)
    await claims.reconcile(CLAIM)
    events: Any = claims.events
    ((reason, note),) = events.told
    assert (reason, note) == ("ProvisioningFailed", f"PersistentVolumeClaim app/data: {told}")
    assert ceph.subvolumes == {}


async def test_while_ceph_does_not_answer_the_claim_waits_with_one_subvolume_at_most() -> None:
    world, ceph = scene()
    ceph.filesystems["myfs"] = "up:replay"
    claims, _ = operator(world, ceph)
    with pytest.raises(PlanError):
        await claims.reconcile(CLAIM)
    ceph.filesystems["myfs"] = "up:active"
    await settle(world, ceph)
    assert list(ceph.subvolumes) == [("csi", NAME)]


class DiedError(Exception):
    """A command was cut off: nobody knows whether it was carried out."""


class Cut:
    """Cuts one command off, before or after it is carried out."""

    def __init__(self) -> None:
        self.when = ""

    def __call__(self) -> Cut:
        return self

    def __enter__(self) -> None:
        if self.when == "before":
            self.when = ""
            raise DiedError

    def __exit__(self, *_: object) -> None:
        if self.when == "after":
            self.when = ""
            raise DiedError


ACTIONS = st.tuples(
    st.sampled_from(["create", "expand", "delete"]),
    st.sampled_from(["a", "b"]),
    st.integers(1, 5),
    st.sampled_from(["", "", "before", "after"]),
)


@given(st.lists(ACTIONS, max_size=12))
async def test_volumes_whatever_is_done_and_cut_off(actions: list[tuple[str, str, int, str]]) -> None:
    cut = Cut()
    ceph = Ceph(cut)
    foreign = {("csi", "home"): Subvolume(None, "755"), ("team", "csi-vol-a"): Subvolume(7, "700")}
    ceph.subvolumes |= foreign
    quotas: dict[str, int] = {}
    for action, letter, size, when in actions:
        cut.when = when
        with suppress(DiedError, BackendError):
            await _do(backend(ceph), action, letter * 36, size)
        cut.when = ""
        present = {name: found.quota or 0 for (_, name), found in ceph.subvolumes.items() if name.startswith("csi-vol")}
        for name, quota in present.items():
            assert action == "delete" or quota >= quotas.get(name, 0), "a quota has shrunk"
        quotas = present
        assert foreign.items() <= ceph.subvolumes.items()
    for letter in "ab":
        await _do(backend(ceph), "delete", letter * 36, 0)
    assert ceph.subvolumes == foreign


async def _do(found: CephfsBackend, action: str, uid: str, size: int) -> None:
    volume = found.describe(storage_class(), uid, filesystem=True).volume
    if action == "create":
        created = await found.create(NewVolume(volume=volume, size=size, options={}))
        assert created.size >= size
        await found.expand(replace(volume, attributes={**volume.attributes, **created.attributes}), size)
    elif action == "expand":
        assert await found.expand(volume, size) >= size
    else:
        await found.delete(volume)


def _key(request: Request) -> tuple[str, str]:
    return request.namespace, request.name
