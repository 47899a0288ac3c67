"""A CSI controller service that may die at any instruction, and that destroys nothing which anybody needs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import grpc
import msgspec
import pytest

from controller.agent.node import csi_pb2
from controller.agent.node.calls import CsiError, status_of
from controller.csi.records import KIND, Publication, VolumeRecord
from controller.csi.requests import uid_of
from controller.csi.service import ControllerService, status
from controller.csi.system import service_of
from controller.framework.reports import REPORTS
from controller.runtime.kube import CONFIG_MAP, NODE, PV
from controller.volumes.backend import BackendError, Holder, ParameterError, UnderWayError
from controller.volumes.drivers import Drivers
from controller.volumes.snapshots.kinds import CONTENTS
from informers import JsonObject
from tests.unit.agent.standin import Tasks
from tests.unit.volumes.objects import DRIVER, node, report, volume
from tests.unit.volumes.snapshots.test_act import FakeSnapshots
from tests.unit.volumes.world import CrashError, FakeBackend, World, caches_of

CONTEXT: Any = None
GIB = 1 << 30
Mode = csi_pb2.VolumeCapability.AccessMode
WRITER = csi_pb2.VolumeCapability(
    mount=csi_pb2.VolumeCapability.MountVolume(fs_type="ext4"), access_mode=Mode(mode=Mode.SINGLE_NODE_WRITER)
)
READER = csi_pb2.VolumeCapability(
    mount=csi_pb2.VolumeCapability.MountVolume(fs_type="ext4"), access_mode=Mode(mode=Mode.MULTI_NODE_READER_ONLY)
)
IMAGE = f"csi-vol-{uid_of(DRIVER, 'volume', 'data')}"
SNAPSHOT = f"snap-{uid_of(DRIVER, 'snapshot', 'monday')}"


class Caller:
    """Calls a fresh operator's service."""

    def __init__(self, world: World) -> None:
        self.world = world
        drivers = Drivers()
        self.backend = FakeBackend(world)
        drivers.add(self.backend, FakeSnapshots(world))
        self.service: ControllerService = service_of(
            DRIVER, world.client(), "rook-ceph", caches_of(world), drivers, Tasks()
        )

    async def create(self, size: int = GIB) -> csi_pb2.Volume:
        request = csi_pb2.CreateVolumeRequest(
            name="data", capacity_range=csi_pb2.CapacityRange(required_bytes=size), volume_capabilities=[WRITER]
        )
        return (await self.service.CreateVolume(request, CONTEXT)).volume

    async def delete(self, handle: str = IMAGE) -> None:
        await self.service.DeleteVolume(csi_pb2.DeleteVolumeRequest(volume_id=handle), CONTEXT)

    async def publish(self, to: str, capability: csi_pb2.VolumeCapability = WRITER) -> dict[str, str]:
        request = csi_pb2.ControllerPublishVolumeRequest(volume_id=IMAGE, node_id=to, volume_capability=capability)
        return dict((await self.service.ControllerPublishVolume(request, CONTEXT)).publish_context)

    async def unpublish(self, of: str = "") -> None:
        request = csi_pb2.ControllerUnpublishVolumeRequest(volume_id=IMAGE, node_id=of)
        await self.service.ControllerUnpublishVolume(request, CONTEXT)

    async def expand(self, size: int) -> csi_pb2.ControllerExpandVolumeResponse:
        asked = csi_pb2.CapacityRange(required_bytes=size)
        request = csi_pb2.ControllerExpandVolumeRequest(volume_id=IMAGE, capacity_range=asked)
        return await self.service.ControllerExpandVolume(request, CONTEXT)

    async def snapshot(self) -> csi_pb2.Snapshot:
        request = csi_pb2.CreateSnapshotRequest(name="monday", source_volume_id=IMAGE)
        return (await self.service.CreateSnapshot(request, CONTEXT)).snapshot

    async def drop(self, handle: str = SNAPSHOT) -> None:
        await self.service.DeleteSnapshot(csi_pb2.DeleteSnapshotRequest(snapshot_id=handle), CONTEXT)


@pytest.fixture
def world() -> World:
    made = World()
    for name, address in (("a", "10.0.0.1"), ("b", "10.0.0.2")):
        made.put(NODE, msgspec.to_builtins(node(name, address)))
    return made


@pytest.fixture
def caller(world: World) -> Caller:
    return Caller(world)


def records(world: World) -> list[JsonObject]:
    return [found for found in world.server.list(CONFIG_MAP) if KIND in found["metadata"].get("labels", {})]


def refused(code: grpc.StatusCode, why: str) -> Any:
    return pytest.raises(CsiError, match=why, check=lambda error: error.code is code)


def without_operations(caller: Caller) -> Caller:
    """A caller whose calls are carried out by the test itself: what ends the operator ends them."""

    async def run(subject: str, operation: Callable[[], Awaitable[object]], name: str) -> object:
        return await operation()

    caller.service._run = run  # type: ignore[method-assign, assignment]
    return caller


async def until_done(world: World, crash_at: int, call: Callable[[Caller], Awaitable[object]]) -> bool:
    """Repeats a call until it is answered, each time to a fresh operator; returns whether the first one died."""
    world.steps, world.crash_at = 0, crash_at
    for _ in range(3):
        caller = without_operations(Caller(world))
        try:
            await call(caller)
        except CrashError:
            world.crash_at = None
            continue
        return world.crash_at is None
    raise AssertionError("it is not done")


async def test_a_volume_is_made_given_grown_and_destroyed(world: World, caller: Caller) -> None:
    made = await caller.create()
    assert (made.volume_id, made.capacity_bytes) == (IMAGE, GIB)
    assert await caller.create() == made
    told = await caller.publish("a")
    assert told["imageName"] == IMAGE
    assert await caller.publish("a") == told
    grown = await caller.expand(2 * GIB)
    assert (grown.capacity_bytes, grown.node_expansion_required) == (2 * GIB, True)
    await caller.unpublish("a")
    await caller.delete()
    await caller.delete()
    assert world.images == {}
    assert records(world) == []


async def test_a_volume_of_the_name_with_another_size_is_there_already(caller: Caller) -> None:
    await caller.create()
    with refused(grpc.StatusCode.ALREADY_EXISTS, "it has 1073741824 bytes"):
        await caller.create(2 * GIB)


@pytest.mark.parametrize("crash_at", range(1, 10))
async def test_a_volume_is_made_once_though_the_operator_dies(world: World, crash_at: int) -> None:
    await until_done(world, crash_at, Caller.create)
    assert world.images == {IMAGE: GIB}
    (kept,) = records(world)
    assert msgspec.json.decode(kept["data"]["record"], type=VolumeRecord).handle == IMAGE


@pytest.mark.parametrize("crash_at", range(1, 10))
async def test_nothing_is_left_of_a_volume_though_the_operator_dies(world: World, crash_at: int) -> None:
    await Caller(world).create()
    await until_done(world, crash_at, Caller.delete)
    assert world.images == {}
    assert records(world) == []


async def test_a_volume_that_is_half_destroyed_is_not_taken_for_one_that_is_there(world: World) -> None:
    await Caller(world).create()
    world.steps, world.crash_at = 0, 4  # the image is gone, its record is not
    with pytest.raises(CrashError):
        await without_operations(Caller(world)).delete()
    world.crash_at = None
    assert world.images == {}
    with refused(grpc.StatusCode.ABORTED, "is being destroyed"):
        await Caller(world).create()
    await Caller(world).delete()
    assert records(world) == []


def claimed(world: World) -> None:
    """Somebody made a PersistentVolume of the volume."""
    made = msgspec.to_builtins(volume(policy="Retain", finalizers=()))
    made["spec"]["csi"].update(volumeHandle=IMAGE, volumeAttributes={"imageName": IMAGE})
    world.put(PV, made)


def opened(world: World) -> None:
    world.holders[IMAGE] = (Holder(address="10.0.0.1", client="10.0.0.1:0/7"),)


def mapped(world: World) -> None:
    world.put(REPORTS, msgspec.to_builtins(report("a", "10.0.0.1:0/7", handle=IMAGE)))


@pytest.mark.parametrize(
    ("happens", "why"),
    [
        (claimed, "it is that of PersistentVolume pvc-"),
        (opened, "it is open: 10.0.0.1:0/7 on node a"),
        (mapped, "it is mapped on node a"),
    ],
)
async def test_a_volume_that_somebody_needs_is_not_destroyed(
    world: World, caller: Caller, happens: Callable[[World], None], why: str
) -> None:
    await caller.create()
    happens(world)
    with refused(grpc.StatusCode.FAILED_PRECONDITION, why):
        await caller.delete()
    assert world.images == {IMAGE: GIB}
    world.holders.clear()
    for resource in (PV, REPORTS):
        for found in world.server.list(resource):
            world.delete(resource, found["metadata"].get("namespace", ""), found["metadata"]["name"])
    await caller.create()  # it is as before
    await caller.delete()
    assert world.images == {}


async def test_a_volume_that_was_not_made_here_is_left_to_its_persistent_volume(world: World, caller: Caller) -> None:
    claimed(world)
    world.images[IMAGE] = GIB
    with refused(grpc.StatusCode.FAILED_PRECONDITION, "which decides about it"):
        await caller.delete()
    assert world.images == {IMAGE: GIB}
    await caller.delete("unknown")


async def test_a_record_that_names_anothers_image_destroys_nothing(world: World, caller: Caller) -> None:
    await caller.create()
    (kept,) = records(world)
    kept["data"]["record"] = kept["data"]["record"].replace(f'"imageName":"{IMAGE}"', '"imageName":"anothers"')
    world.server.put(CONFIG_MAP, kept)
    world.images["anothers"] = GIB
    with refused(grpc.StatusCode.FAILED_PRECONDITION, "not made for it"):
        await caller.delete()
    assert "anothers" in world.images


async def test_a_volume_that_is_published_is_not_destroyed(world: World, caller: Caller) -> None:
    await caller.create()
    await caller.publish("a")
    with refused(grpc.StatusCode.FAILED_PRECONDITION, "it is published to a"):
        await caller.delete()
    assert world.images == {IMAGE: GIB}


async def test_a_writer_has_a_volume_alone_until_it_is_done_with_it(world: World, caller: Caller) -> None:
    await caller.create()
    await caller.publish("a")
    with refused(grpc.StatusCode.FAILED_PRECONDITION, "it is published to a"):
        await caller.publish("b")
    mapped(world)
    with refused(grpc.StatusCode.FAILED_PRECONDITION, "it is mapped on node a"):
        await caller.unpublish("a")
    world.delete(REPORTS, "rook-ceph", "a")
    opened(world)
    with refused(grpc.StatusCode.FAILED_PRECONDITION, "it is open"):
        await caller.unpublish()
    world.holders.clear()
    await caller.unpublish()
    await caller.publish("b")


async def test_readers_share_a_volume_and_no_writer_joins_them(caller: Caller) -> None:
    await caller.create()
    await caller.publish("a", READER)
    await caller.publish("b", READER)
    with refused(grpc.StatusCode.ALREADY_EXISTS, "asked for is ReadWriteOnce"):
        await caller.publish("b")
    await caller.unpublish("b")
    with refused(grpc.StatusCode.FAILED_PRECONDITION, "it is published to a"):
        await caller.publish("b")


@pytest.mark.parametrize("happens", [opened, mapped, claimed])
async def test_a_volume_that_is_used_elsewhere_is_given_to_nobody(
    world: World, caller: Caller, happens: Callable[[World], None]
) -> None:
    await caller.create()
    happens(world)
    with refused(grpc.StatusCode.FAILED_PRECONDITION, "it is"):
        await caller.publish("b")


async def test_of_two_operators_that_give_a_volume_away_one_does(world: World) -> None:
    first, second = Caller(world), Caller(world)
    await first.create()
    volumes = second.service._volumes
    stale = await volumes.records.of_handle(DRIVER, IMAGE)
    assert stale is not None
    await first.publish("a")

    with pytest.raises(Exception, match=r"(?i)conflict|modified") as overtaken:
        await volumes._give(second.backend, stale, "b", Publication(mode="ReadWriteOnce"))
    assert status(overtaken.value)[0] is grpc.StatusCode.ABORTED
    (kept,) = records(world)
    assert list(msgspec.json.decode(kept["data"]["record"], type=VolumeRecord).published) == ["a"]


async def test_what_is_not_there_is_not_found(caller: Caller) -> None:
    with refused(grpc.StatusCode.NOT_FOUND, "was not made by this service"):
        await caller.publish("a")
    await caller.create()
    with refused(grpc.StatusCode.NOT_FOUND, "there is no node nowhere"):
        await caller.publish("nowhere")
    await caller.unpublish("nowhere")


async def test_a_volume_never_shrinks(caller: Caller) -> None:
    await caller.create(2 * GIB)
    assert (await caller.expand(GIB)).capacity_bytes == 2 * GIB
    asked = csi_pb2.CapacityRange(limit_bytes=GIB)
    request = csi_pb2.ControllerExpandVolumeRequest(volume_id=IMAGE, capacity_range=asked)
    with refused(grpc.StatusCode.OUT_OF_RANGE, "never shrinks"):
        await caller.service.ControllerExpandVolume(request, CONTEXT)


async def test_a_volume_that_grows_offline_only_is_not_grown_while_a_node_has_it(caller: Caller) -> None:
    caller.backend.capabilities = replace(caller.backend.capabilities, expands="offline")
    await caller.create()
    await caller.publish("a")
    with refused(grpc.StatusCode.FAILED_PRECONDITION, "it is published to a"):
        await caller.expand(2 * GIB)
    await caller.unpublish()
    assert (await caller.expand(2 * GIB)).capacity_bytes == 2 * GIB


@pytest.mark.parametrize("crash_at", range(1, 12))
async def test_a_snapshot_is_taken_once_and_destroyed_though_the_operator_dies(world: World, crash_at: int) -> None:
    await Caller(world).create()
    await until_done(world, crash_at, Caller.snapshot)
    assert world.snapshots == {SNAPSHOT: IMAGE}
    await until_done(world, crash_at, Caller.drop)
    assert world.snapshots == {}
    assert len(records(world)) == 1


async def test_a_snapshot_of_the_name_of_another_volume_is_there_already(world: World, caller: Caller) -> None:
    await caller.create()
    await caller.snapshot()
    request = csi_pb2.CreateSnapshotRequest(name="monday", source_volume_id="another")
    with refused(grpc.StatusCode.ALREADY_EXISTS, f"of volume {IMAGE}"):
        await caller.service.CreateSnapshot(request, CONTEXT)


async def test_a_snapshot_that_a_content_has_is_not_destroyed(world: World, caller: Caller) -> None:
    await caller.create()
    await caller.snapshot()
    source = {"snapshotHandle": SNAPSHOT}
    reference = {"namespace": "app", "name": "monday"}
    spec = {"driver": DRIVER, "deletionPolicy": "Retain", "source": source, "volumeSnapshotRef": reference}
    world.put(CONTENTS, {"metadata": {"name": "kept"}, "spec": spec})
    with refused(grpc.StatusCode.FAILED_PRECONDITION, "VolumeSnapshotContent kept"):
        await caller.drop()
    world.delete(CONTENTS, "", "kept")
    await caller.drop()
    assert world.snapshots == {}


async def test_lists_have_what_is_there_and_who_has_it(world: World, caller: Caller) -> None:
    await caller.create()
    await caller.publish("a")
    await caller.snapshot()
    (entry,) = (await caller.service.ListVolumes(csi_pb2.ListVolumesRequest(), CONTEXT)).entries
    assert (entry.volume.volume_id, list(entry.status.published_node_ids)) == (IMAGE, ["a"])
    for asked, many in (("", 1), (IMAGE, 1), ("another", 0)):
        request = csi_pb2.ListSnapshotsRequest(source_volume_id=asked)
        assert len((await caller.service.ListSnapshots(request, CONTEXT)).entries) == many


async def test_what_a_driver_cannot_do_is_not_declared(caller: Caller) -> None:
    answer = await caller.service.ControllerGetCapabilities(csi_pb2.ControllerGetCapabilitiesRequest(), CONTEXT)
    kinds = csi_pb2.ControllerServiceCapability.RPC
    declared = {capability.rpc.type for capability in answer.capabilities}
    assert kinds.CREATE_DELETE_SNAPSHOT in declared
    assert not {kinds.CLONE_VOLUME, kinds.GET_CAPACITY, kinds.PUBLISH_READONLY} & declared
    source = csi_pb2.VolumeContentSource(volume=csi_pb2.VolumeContentSource.VolumeSource(volume_id=IMAGE))
    request = csi_pb2.CreateVolumeRequest(name="x", volume_capabilities=[WRITER], volume_content_source=source)
    with refused(grpc.StatusCode.INVALID_ARGUMENT, "is a volume: expected none"):
        await caller.service.CreateVolume(request, CONTEXT)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ParameterError("x"), grpc.StatusCode.INVALID_ARGUMENT),
        (BackendError("x"), grpc.StatusCode.UNAVAILABLE),
        (UnderWayError("x"), grpc.StatusCode.ABORTED),
        (CsiError(grpc.StatusCode.NOT_FOUND, "x"), grpc.StatusCode.NOT_FOUND),
        (TimeoutError(), grpc.StatusCode.DEADLINE_EXCEEDED),
    ],
)
def test_errors_have_the_codes_that_say_what_may_be_done(error: Exception, code: grpc.StatusCode) -> None:
    assert status(error)[0] is code
    if not isinstance(error, ParameterError | BackendError):
        assert status(error) == status_of(error)
