"""What a volume begins as a copy of."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import pytest

from controller.runtime.kube import PV, PVC, STORAGE_CLASS, ObjectMeta, ObjectReference
from controller.runtime.reconciler import Request
from controller.volumes.backend import Created, NewVolume, ParameterError, Source, volume_from
from controller.volumes.claims.act import Claims
from controller.volumes.claims.analyze import SOURCE_LOOK
from controller.volumes.claims.sources import NotReadyError, source_of
from controller.volumes.drivers import Drivers
from tests.unit.volumes.objects import DISKS, UID, claim, storage_class, volume
from tests.unit.volumes.world import FakeBackend, FakeEvents, World, caches_of

GIB = 1 << 30
OTHER = ObjectReference(kind="PersistentVolumeClaim", name="other")
BOUND: dict[str, Any] = {"phase": "Bound", "volume_name": "pv-other", "capacity": "2Gi"}


class Copying(FakeBackend):
    """A storage system that copies volumes."""

    capabilities = replace(DISKS, sources=("PersistentVolumeClaim",))

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.made: list[NewVolume] = []

    async def create(self, wanted: NewVolume) -> Created:
        self.made.append(wanted)
        return await super().create(wanted)


def copy(**changes: Any) -> Any:
    return claim(**{"size": "2Gi", "data_source": OTHER, **changes})


def world_with(**other: Any) -> World:
    """With the claim that is to be copied, and its volume of 2 GiB."""
    world = World()
    if other:
        source = claim(**other)
        meta = ObjectMeta(name="other", namespace="app", uid="other")
        world.put(PVC, msgspec.to_builtins(msgspec.structs.replace(source, metadata=meta)))
        made = volume(capacity="2Gi")
        world.put(PV, msgspec.to_builtins(msgspec.structs.replace(made, metadata=ObjectMeta(name="pv-other"))))
    return world


def found(world: World, this: Any, backend: FakeBackend | None = None) -> Source | None:
    return source_of(this, caches_of(world), backend or Copying(world))


def test_a_claim_without_a_source_begins_empty() -> None:
    assert found(World(), claim()) is None


def test_the_volume_of_another_claim() -> None:
    csi = volume().spec.csi
    assert csi is not None
    assert found(world_with(**BOUND), copy()) == Source(volume=volume_from(csi), size=2 * GIB)


@pytest.mark.parametrize("other", [{}, {"phase": "Pending"}])
def test_it_is_waited_for_until_it_is_bound(other: dict[str, Any]) -> None:
    with pytest.raises(NotReadyError, match="PersistentVolumeClaim app/other to be bound"):
        found(world_with(**other), copy())


@pytest.mark.parametrize(
    ("this", "why"),
    [
        (copy(size="1Gi"), "requests.storage is 1Gi: expected at least 2Gi, as of PersistentVolumeClaim other"),
        (copy(volume_mode="Block"), "spec.volumeMode is Block: expected Filesystem, as of PersistentVolumeClaim other"),
        (
            copy(data_source_ref=msgspec.structs.replace(OTHER, namespace="elsewhere")),
            "spec.dataSourceRef.namespace is elsewhere: expected app",
        ),
        (
            copy(data_source=ObjectReference(kind="VolumeSnapshot", name="s")),
            "spec.dataSource is VolumeSnapshot s: expected none, or a PersistentVolumeClaim",
        ),
    ],
)
def test_what_cannot_be_copied_is_told(this: Any, why: str) -> None:
    with pytest.raises(ParameterError, match=why):
        found(world_with(**BOUND), this)


@pytest.mark.parametrize("reference", [OTHER, ObjectReference(kind="VolumeSnapshot", name="s")])
def test_a_system_that_copies_nothing_says_so(reference: ObjectReference) -> None:
    world = world_with(**BOUND)
    with pytest.raises(
        ParameterError, match=f"{reference.kind} {reference.name}: expected none, volumes are made empty"
    ):
        found(world, copy(data_source=reference), FakeBackend(world))


def test_a_volume_of_another_driver_is_not_copied() -> None:
    world = world_with(**BOUND)
    made = world.find(PV, "", "pv-other")
    assert made is not None
    world.put(PV, {**made, "spec": {**made["spec"], "csi": {**made["spec"]["csi"], "driver": "ebs.csi.aws.com"}}})
    with pytest.raises(ParameterError, match=r"of CSI driver ebs\.csi\.aws\.com: expected one of the claim's own"):
        found(world, copy())


async def test_the_copy_is_made_once_its_source_is_there() -> None:
    world = World()
    world.put(STORAGE_CLASS, msgspec.to_builtins(storage_class()))
    world.put(PVC, msgspec.to_builtins(copy()))
    backend, events = Copying(world), FakeEvents()
    told: Any = events
    claims = Claims(world.client(), told, caches_of(world), Drivers([backend]))
    assert (await claims.reconcile(Request("app", "data"))).requeue_after == SOURCE_LOOK
    assert world.images == {}
    other = world_with(**BOUND)
    for resource, key in ((PVC, ("app", "other")), (PV, ("", "pv-other"))):
        obj = other.find(resource, *key)
        assert obj is not None
        world.put(resource, obj)
    await claims.reconcile(Request("app", "data"))
    (made,) = backend.made
    assert made.source is not None
    assert made.source.volume.handle == "h"
    assert world.images == {f"csi-vol-{UID}": 2 * GIB}
