"""Claims of a class that has a pool for each zone: where their volumes are made, whatever happens meanwhile."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from controller.framework.plan import PlanError
from controller.runtime.kube import NODE, PV, PVC, STORAGE_CLASS, StorageClass, TopologyExpression, TopologyTerm
from controller.runtime.reconciler import Request
from controller.volumes.backend import BackendError, Choice, Created, Description, NewVolume, Volume
from controller.volumes.claims.act import Claims
from controller.volumes.claims.objects import CLAIM_FINALIZER, CLAIM_VOLUME, SELECTED_NODE
from controller.volumes.drivers import Drivers
from informers import JsonObject
from tests.unit.volumes.objects import DRIVER, UID, claim, storage_class
from tests.unit.volumes.world import CrashError, FakeBackend, FakeEvents, World, caches_of

ZONE = "topology.rook-ceph.rbd.csi.ceph.com/zone"
CLAIM = Request("app", "data")
LATE = "WaitForFirstConsumer"


class Zones(FakeBackend):
    """A storage system that has a pool for each of two zones; an image is named with its pool."""

    broken = ""
    """What keeps images from being made."""

    def describe(self, storage_class: StorageClass, claim_uid: str, *, filesystem: bool) -> Description:
        choices = [
            Choice(volume=Volume(driver=DRIVER, attributes={"imageName": f"{zone}/{claim_uid}"}), place={ZONE: zone})
            for zone in "ab"
        ]
        return Description(
            volume=choices[0].volume,
            choices=tuple(choices),
            secret_namespace="rook-ceph",
            stage_secret="node",
            expand_secret="admin",
        )

    def is_made_for(self, volume: Volume, claim_uid: str) -> bool:
        return volume.attributes["imageName"].endswith(claim_uid)

    async def create(self, wanted: NewVolume) -> Created:
        created = await super().create(wanted)
        if self.broken:
            raise BackendError(self.broken)
        return created


def world_with(this: StorageClass, *nodes: tuple[str, str]) -> World:
    world = World()
    world.put(STORAGE_CLASS, msgspec.to_builtins(this))
    world.put(PVC, msgspec.to_builtins(claim()))
    for name, zone in nodes:
        label_node(world, name, zone)
    return world


def label_node(world: World, name: str, zone: str) -> None:
    world.put(NODE, {"metadata": {"name": name, "labels": {ZONE: zone} if zone else {}}})


def select(world: World, node: str) -> None:
    """What the scheduler does."""
    this = found(world)
    if SELECTED_NODE not in this["metadata"]["annotations"]:
        world.put(
            PVC,
            {
                **this,
                "metadata": {
                    **this["metadata"],
                    "annotations": {**this["metadata"]["annotations"], SELECTED_NODE: node},
                },
            },
        )


def found(world: World) -> JsonObject:
    this = world.find(PVC, "app", "data")
    assert this is not None
    return this


def operator(world: World, backend: FakeBackend | None = None) -> Claims:
    events: Any = FakeEvents()
    return Claims(world.client(), events, caches_of(world), Drivers([backend or Zones(world)]))


def place_of(world: World) -> tuple[str, list[str]]:
    """The image of the claim's PersistentVolume, and the zone of the nodes that it is for."""
    volume = world.find(PV, "", f"pvc-{UID}")
    assert volume is not None
    (term,) = volume["spec"]["nodeAffinity"]["required"]["nodeSelectorTerms"]
    (label,) = term["matchExpressions"]
    assert (label["key"], label["operator"]) == (ZONE, "In")
    return volume["spec"]["csi"]["volumeAttributes"]["imageName"], label["values"]


LATE_CLASS = storage_class(volume_binding_mode=LATE)


async def test_it_is_made_where_the_first_pod_runs() -> None:
    world = world_with(LATE_CLASS, ("n1", "a"), ("n2", "b"))
    claims = operator(world)
    await claims.reconcile(CLAIM)
    assert world.images == {}, "nothing is made before a node is selected"
    select(world, "n2")
    await claims.reconcile(CLAIM)
    assert place_of(world) == (f"b/{UID}", ["b"])
    assert set(world.images) == {f"b/{UID}"}


async def test_a_class_that_binds_at_once_takes_what_a_node_reaches() -> None:
    world = world_with(storage_class(), ("n2", "b"), ("n3", ""))
    await operator(world).reconcile(CLAIM)
    assert place_of(world) == (f"b/{UID}", ["b"])


@pytest.mark.parametrize("zone", ["c", ""])
async def test_a_node_that_reaches_no_pool_is_given_back_to_the_scheduler(zone: str) -> None:
    world = world_with(LATE_CLASS, ("n3", zone))
    select(world, "n3")
    claims = operator(world)
    await claims.reconcile(CLAIM)
    assert SELECTED_NODE not in found(world)["metadata"]["annotations"]
    assert world.images == {}
    events: Any = claims.events
    ((reason, note),) = events.told
    assert reason == "ProvisioningFailed"
    assert "node n3, which the scheduler selected, reaches no volume" in note
    assert f"expected {ZONE}=a or {ZONE}=b" in note


async def test_a_node_that_is_gone_is_given_back_to_the_scheduler() -> None:
    world = world_with(LATE_CLASS, ("n1", "a"))
    select(world, "gone")
    await operator(world).reconcile(CLAIM)
    assert SELECTED_NODE not in found(world)["metadata"]["annotations"]


async def test_where_no_node_reaches_a_pool_the_claim_says_so_and_is_looked_at_again() -> None:
    world = world_with(storage_class(), ("n3", "c"))
    claims = operator(world)
    assert (await claims.reconcile(CLAIM)).requeue_after is not None
    events: Any = claims.events
    assert "no node reaches a volume of it" in events.told[0][1]
    label_node(world, "n3", "a")
    await claims.reconcile(CLAIM)
    assert place_of(world) == (f"a/{UID}", ["a"])


async def test_a_try_that_failed_is_repeated_in_the_same_place() -> None:
    world = world_with(storage_class(), ("n1", "a"))
    backend = Zones(world)
    backend.broken = "the pool does not answer"
    with pytest.raises(PlanError):
        await operator(world, backend).reconcile(CLAIM)
    backend.broken = ""
    for number in range(5):  # the volumes of claims are spread over the nodes that there are
        label_node(world, f"more{number}", "b")
    await operator(world, backend).reconcile(CLAIM)
    assert place_of(world) == (f"a/{UID}", ["a"])


@pytest.mark.parametrize("crash_at", [None, *range(1, 13)])
async def test_a_volume_that_was_begun_elsewhere_is_not_left_behind(crash_at: int | None) -> None:
    """The node in zone a goes before the volume is ready; the operator may die at each of its steps."""
    world = world_with(LATE_CLASS, ("n1", "a"), ("n2", "b"))
    select(world, "n1")
    backend = Zones(world)
    backend.broken = "slow"
    with pytest.raises(PlanError):
        await operator(world, backend).reconcile(CLAIM)
    assert set(world.images) == {f"a/{UID}"}
    world.delete(NODE, "", "n1")
    world.steps, world.crash_at = 0, crash_at
    claims = operator(world)
    for _ in range(6):
        try:
            await claims.reconcile(CLAIM)
        except (CrashError, BaseExceptionGroup):
            world.crash_at = None
            claims = operator(world)
        select(world, "n2")
    assert place_of(world) == (f"b/{UID}", ["b"])
    assert set(world.images) == {f"b/{UID}"}


async def test_a_note_that_is_no_volume_of_the_claim_is_replaced() -> None:
    forged = '{"driver": "rook-ceph.rbd.csi.ceph.com", "attributes": {"imageName": "b/anothers"}}'
    world = world_with(storage_class(), ("n1", "a"))
    this = claim(finalizers=(CLAIM_FINALIZER,), annotations={CLAIM_VOLUME: forged})
    world.put(PVC, msgspec.to_builtins(this))
    world.images["b/anothers"] = 1
    await operator(world).reconcile(CLAIM)
    assert place_of(world) == (f"a/{UID}", ["a"])
    assert set(world.images) == {"b/anothers", f"a/{UID}"}


@pytest.mark.parametrize(
    ("mode", "told"),
    [
        ("Immediate", "allowedTopologies has no effect, as every node reaches this volume"),
        (LATE, "allowedTopologies decides where the first pod runs, and no more, as every node reaches this volume"),
    ],
)
async def test_what_allowed_topologies_do_where_every_node_reaches_a_volume(mode: str, told: str) -> None:
    term = TopologyTerm(match_label_expressions=(TopologyExpression(key=ZONE, values=("a",)),))
    world = world_with(storage_class(allowed_topologies=(term,), volume_binding_mode=mode), ("n1", "a"))
    select(world, "n1")
    claims = operator(world, FakeBackend(world))
    await claims.reconcile(CLAIM)
    volume = world.find(PV, "", f"pvc-{UID}")
    assert volume is not None
    assert "nodeAffinity" not in volume["spec"]
    events: Any = claims.events
    assert ("ParameterNotServed", f"StorageClass rook-ceph-block: {told}") in events.told
