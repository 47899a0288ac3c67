"""What the scheduler is told of the room for new volumes."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from controller.apis.meta import ObjectMeta
from controller.framework.reports import REPORTS
from controller.runtime.kube import (
    CSI_STORAGE_CAPACITY,
    DEPLOYMENT,
    STORAGE_CLASS,
    CsiStorageCapacity,
    LabelSelector,
    StorageClass,
)
from controller.testkit import ApiServer, new_manager, running, until, virtual_time
from controller.volumes import system
from controller.volumes.backend import BackendError, ParameterError
from controller.volumes.capacity.analyze import (
    DRIVER_LABEL,
    LOOK,
    MANAGER,
    MANAGER_LABEL,
    ForgetRoom,
    TellRoom,
    analyze,
    object_name,
)
from controller.volumes.features import LARGEST, Room
from informers import JsonObject
from tests.unit.volumes.objects import DRIVER, storage_class
from tests.unit.volumes.world import FakeBackend, World

ZONE = f"topology.{DRIVER}/zone"
GIB = 1 << 30
CLASS = "rook-ceph-block"


def room(zone: str = "", free: int = GIB, largest: int = LARGEST) -> Room:
    return Room(place={ZONE: zone} if zone else {}, free=free, largest=largest)


def told(zone: str = "", capacity: str = "1Gi") -> CsiStorageCapacity:
    place = {ZONE: zone} if zone else {}
    return CsiStorageCapacity(
        metadata=ObjectMeta(name=object_name(CLASS, DRIVER, place), uid=f"uid-{zone}"),
        storage_class_name=CLASS,
        node_topology=LabelSelector(match_labels=place),
        capacity=capacity,
    )


def planned(rooms: tuple[Room, ...], *present: CsiStorageCapacity) -> tuple[dict[str, JsonObject], list[str]]:
    """The objects that are told, by zone, and the uids of those that are deleted."""
    actions = [step.action for step in analyze(CLASS, DRIVER, "rook-ceph", rooms, present).steps]
    wanted = [action.wanted for action in actions if isinstance(action, TellRoom)]
    gone = [action.uid for action in actions if isinstance(action, ForgetRoom)]
    return {found["nodeTopology"]["matchLabels"].get(ZONE, ""): found for found in wanted}, gone


def test_there_is_an_object_for_each_place() -> None:
    found, gone = planned((room("a"), room("b", 0, 0), room("a", 5)))
    assert gone == []
    assert set(found) == {"a", "b"}
    assert found["a"] == {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "CSIStorageCapacity",
        "metadata": {
            "name": object_name(CLASS, DRIVER, {ZONE: "a"}),
            "namespace": "rook-ceph",
            "labels": {DRIVER_LABEL: DRIVER, MANAGER_LABEL: MANAGER},
        },
        "storageClassName": CLASS,
        "nodeTopology": {"matchLabels": {ZONE: "a"}},
        "capacity": "1Gi",
        "maximumVolumeSize": "1Ei",
    }
    assert (found["b"]["capacity"], found["b"]["maximumVolumeSize"]) == ("0", "0"), "a full pool takes no volume"


def test_what_every_node_reaches_is_for_every_node() -> None:
    found, _ = planned((room(),))
    assert found[""]["nodeTopology"] == {"matchLabels": {}}


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        ("1Gi", GIB, "1Gi"),
        ("1Gi", GIB - (4 << 20), "1Gi"),  # about the same
        ("1Gi", 900 << 20, "900Mi"),
        ("1Gi", 1100 << 20, "1100Mi"),
        ("1Gi", 0, "0"),
        ("0", 1 << 20, "1Mi"),
        ("much", GIB, "1Gi"),
    ],
)
def test_small_changes_are_not_told(before: str, now: int, expected: str) -> None:
    found, _ = planned((room("a", now),), told("a", before))
    assert found["a"]["capacity"] == expected


@pytest.mark.parametrize("rooms", [(), (room("a"),)])
def test_what_is_of_no_place_any_more_goes(rooms: tuple[Room, ...]) -> None:
    _, gone = planned(rooms, told("b"), told())
    assert gone == ["uid-b", "uid-"]


class FakeRooms:
    """How much fits, as the test says."""

    def __init__(self, *found: Room) -> None:
        self.found = found
        self.problem: Exception | None = None
        self.asked = 0

    async def of(self, storage_class: StorageClass) -> tuple[Room, ...]:
        self.asked += 1
        if self.problem is not None:
            raise self.problem
        return self.found


def late(**changes: Any) -> StorageClass:
    return storage_class(volume_binding_mode="WaitForFirstConsumer", **changes)


def put(server: ApiServer, this: StorageClass) -> None:
    built = msgspec.to_builtins(this)
    built["metadata"] = {"name": this.metadata.name}
    server.put(STORAGE_CLASS, built)


def operator(*, owner: bool = True) -> ApiServer:
    server = ApiServer(namespaces=("app", "rook-ceph"))
    server.serve(REPORTS)
    if owner:
        spec = {"selector": {"matchLabels": {"app": "o"}}, "template": {"metadata": {"labels": {"app": "o"}}}}
        server.put(DEPLOYMENT, {"metadata": {"name": MANAGER, "namespace": "rook-ceph"}, "spec": spec})
    return server


def capacities(server: ApiServer) -> dict[str, str]:
    """What is told, by zone."""
    return {
        found["nodeTopology"]["matchLabels"].get(ZONE, ""): found["capacity"]
        for found in server.list(CSI_STORAGE_CAPACITY)
    }


@virtual_time
async def test_the_objects_follow_classes_and_rooms() -> None:
    server, rooms = operator(), FakeRooms(room("a"), room("b"))
    manager = new_manager(server)
    serving = system.register(manager, "rook-ceph")
    serving.drivers.add(FakeBackend(World()), rooms=rooms)
    put(server, late())
    put(server, storage_class(metadata=ObjectMeta(name="at-once")))
    put(server, late(metadata=ObjectMeta(name="others"), provisioner="ebs.csi.aws.com"))
    async with running(manager):
        await until(lambda: capacities(server) == {"a": "1Gi", "b": "1Gi"})
        deployment = server.find(DEPLOYMENT, "rook-ceph", MANAGER)
        assert deployment is not None
        for found in server.list(CSI_STORAGE_CAPACITY):
            assert found["metadata"]["ownerReferences"] == [
                {"apiVersion": "apps/v1", "kind": "Deployment", "name": MANAGER, "uid": deployment["metadata"]["uid"]}
            ]

        rooms.found = (room("a", 0, 0), room("c", 2 * GIB))
        await until(lambda: capacities(server) == {"a": "0", "c": "2Gi"}, within=3 * LOOK)

        rooms.problem = BackendError("no mon answers")
        asked = rooms.asked
        await until(lambda: rooms.asked > asked + 1, within=5 * LOOK)
        assert capacities(server) == {"a": "0", "c": "2Gi"}, "what was told stays while nothing else is known"

        rooms.problem = ParameterError("pool 'x' does not exist")
        await until(lambda: capacities(server) == {"": "0"}, within=5 * LOOK)
        (found,) = server.list(CSI_STORAGE_CAPACITY)
        assert found["maximumVolumeSize"] == "1Ei", "no pod is held back: its claim says what is wrong"

        server.delete(STORAGE_CLASS, "", CLASS)
        await until(lambda: capacities(server) == {}, within=LOOK)


@virtual_time
async def test_what_is_left_of_a_class_that_went_meanwhile_goes_and_what_somebody_deletes_comes_back() -> None:
    server, rooms = operator(owner=False), FakeRooms(room())
    for number, name in enumerate(("gone", CLASS)):
        labels = {DRIVER_LABEL: DRIVER, MANAGER_LABEL: MANAGER}
        metadata = {"name": f"csisc-{number}", "namespace": "rook-ceph", "labels": labels}
        server.put(CSI_STORAGE_CAPACITY, {"metadata": metadata, "storageClassName": name, "capacity": "1Gi"})
    metadata = {"name": "csisc-x", "namespace": "rook-ceph", "labels": {MANAGER_LABEL: "external-provisioner"}}
    server.put(CSI_STORAGE_CAPACITY, {"metadata": metadata, "storageClassName": "gone"})
    put(server, late())
    manager = new_manager(server)
    serving = system.register(manager, "rook-ceph")
    serving.drivers.add(FakeBackend(World()), rooms=rooms)
    wanted = {"csisc-x", object_name(CLASS, DRIVER, {})}

    def names() -> set[str]:
        return {found["metadata"]["name"] for found in server.list(CSI_STORAGE_CAPACITY)}

    async with running(manager):
        await until(lambda: names() == wanted)
        server.delete(CSI_STORAGE_CAPACITY, "rook-ceph", object_name(CLASS, DRIVER, {}))
        assert names() == {"csisc-x"}
        await until(lambda: names() == wanted)
