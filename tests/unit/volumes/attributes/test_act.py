"""Claims whose volumes are to have other attributes, on an API server: users, operators that die, systems that fail."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.framework.plan import PlanError
from controller.framework.reports import REPORTS
from controller.runtime.kube import PV, PVC, STORAGE_CLASS
from controller.runtime.reconciler import Request
from controller.testkit import ApiServer, new_manager, running, until, virtual_time
from controller.volumes import system
from controller.volumes.attributes.act import Modifications
from controller.volumes.attributes.kinds import V1, V1BETA1
from controller.volumes.claims.act import Claims
from controller.volumes.drivers import Drivers
from controller.volumes.presence import LOOK
from informers import JsonObject, Resource
from tests.unit.volumes.objects import DRIVER, UID, attributes_class, claim, report, storage_class, volume
from tests.unit.volumes.world import CrashError, FakeAttributes, FakeBackend, FakeEvents, World, caches_of

IMAGE, VOLUME, CLAIM = f"csi-vol-{UID}", f"pvc-{UID}", Request("app", "data")
CLASSES = {
    "gold": {"speed": "9", "colour": "yellow"},
    "silver": {"speed": "5"},
    "plain": {},
    "bogus": {"wheels": "4"},
}
MOST_LOOKS = 12


def world_with(*, wanted: str | None = None, classes: tuple[str, ...] = tuple(CLASSES)) -> World:
    """A bound claim of a volume without a class, and classes; "foreign" is of another driver."""
    world = World()
    bound = claim(phase="Bound", volume_name=VOLUME, capacity="1Gi")
    world.put(PVC, msgspec.to_builtins(bound))
    world.put(PV, msgspec.to_builtins(volume()))
    for name in classes:
        add_class(world, name)
    world.put(V1, msgspec.to_builtins(attributes_class("foreign", driver="elsewhere.example.com", speed="1")))
    if wanted is not None:
        choose(world, wanted)
    return world


def add_class(world: World, name: str) -> None:
    world.put(V1, msgspec.to_builtins(attributes_class(name, **CLASSES[name])))


def choose(world: World, name: str) -> None:
    found = stored(world, PVC)
    found["spec"]["volumeAttributesClassName"] = name
    world.put(PVC, found)


def stored(world: World, resource: Resource) -> JsonObject:
    found = world.find(resource, *(("app", "data") if resource is PVC else ("", VOLUME)))
    assert found is not None
    return found


def current(world: World) -> str:
    return str(stored(world, PVC)["status"].get("currentVolumeAttributesClassName", ""))


def noted(world: World) -> tuple[str, str] | None:
    found = stored(world, PVC)["status"].get("modifyVolumeStatus")
    return None if found is None else (found["targetVolumeAttributesClassName"], found["status"])


def conditions(world: World) -> dict[str, str]:
    return {c["type"]: c.get("message", "") for c in stored(world, PVC)["status"].get("conditions", [])}


def operator(world: World, attributes: FakeAttributes | None = None) -> Modifications:
    """A fresh operator."""
    drivers, events = Drivers(), FakeEvents()
    drivers.add(FakeBackend(world), attributes=attributes or FakeAttributes(world))
    told: Any = events
    return Modifications(world.client(), told, caches_of(world), drivers, lambda: 1767225660.0)


def told_by(found: Modifications) -> list[tuple[str, str]]:
    events: Any = found.events
    told: list[tuple[str, str]] = events.told
    return told


async def settle(world: World, attributes: FakeAttributes | None = None) -> None:
    """Looks until nothing changes; an operator that dies is followed by a fresh one."""
    found = operator(world, attributes)
    for _ in range(MOST_LOOKS):
        before = msgspec.json.encode([sorted(world.objects.items()), world.attributes])
        try:
            await found.reconcile(CLAIM)
        except (CrashError, BaseExceptionGroup):
            world.crash_at = None
            found = operator(world, attributes)
            continue
        if msgspec.json.encode([sorted(world.objects.items()), world.attributes]) == before:
            return
    raise AssertionError("it does not settle")


def in_force(world: World, name: str) -> None:
    assert world.attributes.get(IMAGE, {}) == CLASSES[name]
    assert stored(world, PV)["spec"]["volumeAttributesClassName"] == name
    assert (current(world), noted(world)) == (name, None)
    assert not conditions(world).keys() & {"ModifyingVolume", "ModifyVolumeError"}


async def test_a_class_is_put_in_force_and_another_one_instead() -> None:
    world = world_with(wanted="gold")
    found = operator(world)
    await found.reconcile(CLAIM)
    in_force(world, "gold")
    choose(world, "silver")
    await found.reconcile(CLAIM)
    in_force(world, "silver")
    note = "Its volume has the attributes of VolumeAttributesClass"
    assert told_by(found) == [("VolumeModifySuccessful", f"{note} {name}") for name in ("gold", "silver")]
    version = world.server.storage.version
    await found.reconcile(CLAIM)
    assert world.server.storage.version == version, "at rest, nothing is written"


@pytest.mark.parametrize(
    ("wanted", "status", "why"),
    [
        ("bogus", "Infeasible", "VolumeAttributesClass bogus: parameter 'wheels' is not known: expected some of"),
        ("foreign", "Infeasible", f"driverName is 'elsewhere.example.com': expected {DRIVER}"),
        ("missing", "Pending", "VolumeAttributesClass missing does not exist"),
    ],
)
async def test_a_class_that_cannot_be_leaves_the_volume_as_it_is_and_can_be_undone(
    wanted: str, status: str, why: str
) -> None:
    world = world_with(wanted="gold")
    await settle(world)
    choose(world, wanted)
    found = operator(world)
    for _ in range(3):
        await found.reconcile(CLAIM)
    assert noted(world) == (wanted, status)
    assert why in conditions(world)["ModifyVolumeError"]
    ((reason, note),) = told_by(found)
    assert reason == "VolumeModifyFailed"
    assert why in note
    assert (current(world), world.attributes[IMAGE]) == ("gold", CLASSES["gold"])
    choose(world, "gold")
    await settle(world)
    in_force(world, "gold")


async def test_volumes_that_have_no_attributes_say_so() -> None:
    world = world_with(wanted="gold")
    found = operator(world)
    found.drivers.attributes.clear()
    await found.reconcile(CLAIM)
    assert noted(world) == ("gold", "Infeasible")
    assert f"volumes of {DRIVER} have no attributes that can be changed" in conditions(world)["ModifyVolumeError"]


async def test_a_change_that_failed_halfway_is_ended_before_another() -> None:
    world, attributes = world_with(wanted="gold"), None
    await settle(world)
    choose(world, "silver")
    attributes = FakeAttributes(world)
    attributes.fails = True
    found = operator(world, attributes)
    with pytest.raises(PlanError, match="does not answer"):
        await found.reconcile(CLAIM)
    assert ("VolumeModifyFailed", "the storage system does not answer") in told_by(found)
    assert noted(world) == ("silver", "InProgress")
    choose(world, "plain")
    found = operator(world, attributes)
    with pytest.raises(PlanError):
        await found.reconcile(CLAIM)
    assert noted(world) == ("silver", "InProgress")
    attributes.fails = False
    found = operator(world, attributes)
    await found.reconcile(CLAIM)
    in_force(world, "silver")
    await found.reconcile(CLAIM)
    in_force(world, "plain")


async def test_conditions_of_others_stay() -> None:
    world = world_with(wanted="bogus")
    found = stored(world, PVC)
    resizing = {"type": "FileSystemResizePending", "status": "True", "lastProbeTime": "2026-01-01T00:00:00Z"}
    found["status"]["conditions"] = [resizing]
    world.put(PVC, found)
    await settle(world)
    assert stored(world, PVC)["status"]["conditions"][0] == resizing
    choose(world, "gold")
    await settle(world)
    assert stored(world, PVC)["status"]["conditions"] == [resizing]


async def test_where_attributes_have_no_effect_is_told_once() -> None:
    world = world_with(wanted="gold")
    attributes = FakeAttributes(world)
    attributes.without = "no effect"
    found = operator(world, attributes)
    await found.reconcile(CLAIM)
    world.put(REPORTS, msgspec.to_builtins(report("n1", "10.0.0.1:0/1")))
    for _ in range(2):
        await found.reconcile(CLAIM)
    told = [note for reason, note in told_by(found) if reason == "AttributesNotApplied"]
    assert told == ["VolumeAttributesClass gold: no effect on n1"]


@st.composite
def histories(draw: st.DrawFn) -> list[tuple[str, int]]:
    """What the user does: names a class, or makes or deletes one; and at which step the operator dies after that."""
    names = (*CLASSES, "foreign", "missing", "")
    doing = st.one_of(
        st.sampled_from(names),
        st.sampled_from([f"{verb} {name}" for verb in ("make", "delete") for name in CLASSES]),
    )
    return draw(st.lists(st.tuples(doing, st.integers(0, 14)), min_size=1, max_size=6))


@given(histories(), st.sampled_from(("gold", "silver", "plain", "bogus", "foreign", "missing", "")))
async def test_whenever_it_dies_the_last_word_of_the_user_counts(history: list[tuple[str, int]], last: str) -> None:
    world = world_with()
    for doing, dies_at in history:
        verb, _, name = doing.partition(" ")
        if not name:
            choose(world, verb)
        elif verb == "make":
            add_class(world, name)
        else:
            world.delete(V1, "", name)
        await look(world, dies_at)
    for name in CLASSES:
        add_class(world, name)
    choose(world, last)
    await settle(world)
    if not last:
        assert noted(world) is None
    elif last in ("bogus", "foreign", "missing"):
        assert noted(world) == (last, "Pending" if last == "missing" else "Infeasible")
    else:
        in_force(world, last)


async def look(world: World, dies_at: int) -> None:
    """One look of an operator, which may die; whenever that is, what the claim says is so."""
    world.crash_at = world.steps + dies_at
    try:
        await operator(world).reconcile(CLAIM)
    except (CrashError, BaseExceptionGroup):
        pass
    finally:
        world.crash_at = None
    if noted(world) is None and (name := current(world)):
        assert stored(world, PV)["spec"]["volumeAttributesClassName"] == name, "the PersistentVolume says so first"


def provisioner(world: World) -> Claims:
    drivers, events = Drivers(), FakeEvents()
    drivers.add(FakeBackend(world), attributes=FakeAttributes(world))
    told: Any = events
    return Claims(world.client(), told, caches_of(world), drivers)


def new_world(wanted: str) -> World:
    world = World()
    world.put(STORAGE_CLASS, msgspec.to_builtins(storage_class()))
    world.put(PVC, msgspec.to_builtins(claim(volume_attributes_class_name=wanted)))
    return world


@pytest.mark.parametrize("dies_at", range(12))
async def test_a_new_volume_has_its_class_before_it_is_handed_out(dies_at: int) -> None:
    world = new_world("gold")
    add_class(world, "gold")
    world.crash_at = dies_at
    try:
        await provisioner(world).reconcile(CLAIM)
    except (CrashError, BaseExceptionGroup):
        world.crash_at = None
        if world.find(PV, "", VOLUME) is not None:
            assert world.attributes[IMAGE] == CLASSES["gold"]
        await provisioner(world).reconcile(CLAIM)
    assert world.attributes[IMAGE] == CLASSES["gold"]
    assert stored(world, PV)["spec"]["volumeAttributesClassName"] == "gold"


@pytest.mark.parametrize("wanted", ["missing", "bogus"])
async def test_a_new_claim_of_a_class_that_cannot_be_gets_no_volume(wanted: str) -> None:
    world = new_world(wanted)
    add_class(world, "bogus")
    found = provisioner(world)
    await found.reconcile(CLAIM)
    assert world.images == {}
    events: Any = found.events
    ((reason, note),) = events.told
    assert reason == "ProvisioningFailed"
    assert f"VolumeAttributesClass {wanted}" in note


@virtual_time
@pytest.mark.parametrize("resource", [V1, V1BETA1], ids=["v1", "v1beta1"])
async def test_where_the_api_server_has_no_classes_volumes_are_served_and_when_it_has_them_so_are_they(
    resource: Resource,
) -> None:
    world, server = World(), ApiServer(namespaces=("app", "rook-ceph"))
    server.serve(REPORTS)
    manager = new_manager(server)
    serving = system.register(manager, "rook-ceph")
    serving.drivers.add(FakeBackend(world), attributes=FakeAttributes(world))
    server.put(STORAGE_CLASS, {**msgspec.to_builtins(storage_class()), "metadata": {"name": "rook-ceph-block"}})
    for name, wanted in (("without", None), ("with", "gold")):
        built = msgspec.to_builtins(claim(volume_attributes_class_name=wanted))
        metadata = {"namespace": "app", "name": name, "annotations": built["metadata"]["annotations"]}
        server.put(PVC, {**built, "metadata": metadata})
    async with running(manager):
        await until(lambda: len(server.list(PV)) == 1)
        server.serve(resource)
        gold = msgspec.to_builtins(attributes_class("gold", **CLASSES["gold"]))
        server.put(resource, {**gold, "metadata": {"name": "gold"}})
        await until(lambda: len(server.list(PV)) == 2, within=LOOK * 2)
    assert list(world.attributes.values()) == [CLASSES["gold"]]
