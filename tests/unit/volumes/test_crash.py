"""The operator may die at any instruction: whatever it was doing is then finished, and nothing is lost or left over."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import pytest

from controller.framework.plan import PlanError
from controller.framework.reports import REPORTS
from controller.runtime.kube import NODE, PV, PVC, STORAGE_CLASS, VOLUME_ATTACHMENT
from controller.runtime.reconciler import Request
from controller.volumes.attachments.act import Attachments
from controller.volumes.attachments.observe import OUT_OF_SERVICE
from controller.volumes.backend import Holder
from controller.volumes.capabilities import Capabilities
from controller.volumes.claims.act import Claims
from controller.volumes.claims.objects import CLAIM_FINALIZER, CLAIM_VOLUME
from controller.volumes.drivers import Drivers
from controller.volumes.reclaim import PersistentVolumes
from informers import Resource
from tests.unit.volumes.objects import DISKS, UID, attachment, claim, node, report, storage_class
from tests.unit.volumes.world import CrashError, FakeBackend, FakeEvents, World, attaching, caches_of

IMAGE, VOLUME = f"csi-vol-{UID}", f"pvc-{UID}"
CLAIM = Request("app", "data")
MOST_STEPS = 40
GIB = 1 << 30


def world_with(*objects: tuple[Resource, msgspec.Struct]) -> World:
    world = World()
    for resource, obj in objects:
        world.put(resource, msgspec.to_builtins(obj))
    return world


def reconcilers(world: World) -> tuple[Claims, PersistentVolumes, Attachments]:
    """A fresh operator."""
    client = world.client()
    events: Any = FakeEvents()
    caches, drivers = caches_of(world), Drivers([FakeBackend(world)])
    return (
        Claims(client, events, caches, drivers),
        PersistentVolumes(client, events, caches, drivers),
        attaching(world, clock=lambda: 1767225660.0),
    )


async def settle(world: World, crash_at: int | None = None) -> bool:
    """Runs operator and Kubernetes until nothing changes; a crash is followed by a fresh operator.

    Returns:
        Whether the operator crashed.
    """
    world.crash_at = crash_at
    crashed = False
    claims, volumes, attachments = reconcilers(world)
    for _ in range(MOST_STEPS):
        before = msgspec.json.encode([sorted(world.objects.items()), world.images])
        try:
            await claims.reconcile(CLAIM)
            world.kubernetes()
            await volumes.reconcile(Request("", VOLUME))
            for name in [key[2] for key in world.objects if key[0] == VOLUME_ATTACHMENT.plural]:
                await attachments.reconcile(Request("", name))
        except (CrashError, BaseExceptionGroup) as error:
            if isinstance(error, BaseExceptionGroup) and error.split(CrashError)[1] is not None:
                raise
            world.crash_at, crashed = None, True
            claims, volumes, attachments = reconcilers(world)
            continue
        if msgspec.json.encode([sorted(world.objects.items()), world.images]) == before:
            return crashed
    raise AssertionError("it does not settle")


@pytest.mark.parametrize("crash_at", range(1, 9))
async def test_a_claim_gets_its_volume(crash_at: int) -> None:
    world = world_with((STORAGE_CLASS, storage_class()), (PVC, claim()))
    await settle(world, crash_at)
    found = world.find(PVC, "app", "data")
    assert found is not None
    assert found["status"]["phase"] == "Bound"
    assert CLAIM_FINALIZER not in found["metadata"].get("finalizers", [])
    assert CLAIM_VOLUME not in found["metadata"].get("annotations", {})
    assert world.images == {IMAGE: GIB}


async def test_a_claim_may_name_its_class_by_the_annotation_of_before() -> None:
    annotations = {"volume.beta.kubernetes.io/storage-class": "rook-ceph-block"}
    world = world_with((STORAGE_CLASS, storage_class()), (PVC, claim(annotations=annotations, storage_class_name=None)))
    await settle(world)
    found = world.find(PV, "", VOLUME)
    assert found is not None
    assert found["spec"]["storageClassName"] == "rook-ceph-block"


async def test_whatever_keeps_a_claim_from_its_volume_is_told() -> None:
    world = world_with((STORAGE_CLASS, storage_class()), (PVC, claim()))
    operator, _, _ = reconcilers(world)

    def describe(*_: object, **__: object) -> None:
        raise KeyError("pool")

    operator.drivers.backends[0].describe = describe  # type: ignore[method-assign, assignment]
    with pytest.raises(KeyError):
        await operator.reconcile(CLAIM)
    events: Any = operator.events
    assert events.told == [("ProvisioningFailed", "'pool'")]


@pytest.mark.parametrize("crash_at", range(1, 9))
async def test_a_claim_that_is_deleted_while_its_volume_is_made_leaves_nothing(crash_at: int) -> None:
    world = world_with((STORAGE_CLASS, storage_class()), (PVC, claim()))
    world.crash_at = crash_at
    operator, _, _ = reconcilers(world)
    try:
        await operator.reconcile(CLAIM)
    except (CrashError, BaseExceptionGroup):
        world.crash_at = None
    world.delete(PVC, "app", "data")
    world.delete(STORAGE_CLASS, "", "rook-ceph-block")
    await settle(world)
    assert world.images == {}
    assert world.objects == {}


async def test_a_claim_whose_note_names_anothers_volume_destroys_nothing() -> None:
    note = '{"driver": "rook-ceph.rbd.csi.ceph.com", "attributes": {"imageName": "csi-vol-anothers"}}'
    forged = claim(deleting=True, finalizers=(CLAIM_FINALIZER,), annotations={CLAIM_VOLUME: note})
    world = world_with((PVC, forged))
    world.images["csi-vol-anothers"] = GIB
    await settle(world)
    assert world.images == {"csi-vol-anothers": GIB}
    assert world.find(PVC, "app", "data") is None


async def test_a_claim_that_was_bound_by_now_leaves_its_volume_to_the_reclaim_policy() -> None:
    note = msgspec.json.encode(FakeBackend(World()).describe(storage_class(), UID, filesystem=True).volume).decode()
    kept: dict[str, Any] = {"finalizers": (CLAIM_FINALIZER,), "annotations": {CLAIM_VOLUME: note}, "deleting": True}
    world = world_with((PVC, claim(**kept, volume_name=VOLUME, phase="Lost")))
    world.images[IMAGE] = GIB
    operator, _, _ = reconcilers(world)
    behind(operator, claims=claim(**kept))
    await operator.reconcile(CLAIM)
    assert world.images == {IMAGE: GIB}


async def test_a_volume_that_is_to_be_retained_by_now_is_not_destroyed() -> None:
    world = world_with((STORAGE_CLASS, storage_class()), (PVC, claim()))
    await settle(world)
    world.delete(PVC, "app", "data")
    world.kubernetes()
    _, volumes, _ = reconcilers(world)
    stale = volumes.caches.volumes.get("", VOLUME)
    found = world.find(PV, "", VOLUME)
    assert stale is not None
    assert stale.status.phase == "Released"
    assert found is not None
    world.put(PV, {**found, "spec": {**found["spec"], "persistentVolumeReclaimPolicy": "Retain"}})
    behind(volumes, volumes=stale)
    with pytest.raises(PlanError, match="reclaim policy"):
        await volumes.reconcile(Request("", VOLUME))
    assert world.images == {IMAGE: GIB}


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"claimRef": {"namespace": "app", "name": "data"}}, id="any claim of the name may have it"),
        pytest.param({"claimRef": {"namespace": "app", "name": "data", "uid": "new"}}, id="another claim has it"),
    ],
)
async def test_a_volume_that_was_saved_for_another_claim_is_not_destroyed(changes: dict[str, Any]) -> None:
    """Kubernetes writes the new phase only after it has seen the change."""
    await saved(spec=changes)


async def test_a_volume_that_is_available_by_now_is_not_destroyed() -> None:
    await saved(status={"phase": "Available"})


async def saved(**changes: dict[str, Any]) -> None:
    """A volume was released; then, which the cache does not show, these fields were changed: its image stays."""
    world = world_with((STORAGE_CLASS, storage_class()), (PVC, claim()))
    await settle(world)
    world.delete(PVC, "app", "data")
    world.kubernetes()
    _, volumes, _ = reconcilers(world)
    behind(volumes, volumes=volumes.caches.volumes.get("", VOLUME))
    found = world.find(PV, "", VOLUME)
    assert found is not None
    world.put(PV, {**found, **{part: {**found[part], **fields} for part, fields in changes.items()}})
    with pytest.raises(PlanError, match="by now: it is not destroyed"):
        await volumes.reconcile(Request("", VOLUME))
    assert world.images == {IMAGE: GIB}


async def test_a_volume_that_another_namespace_has_too_is_not_destroyed() -> None:
    """Somebody copied the PersistentVolume to have the volume elsewhere, and deleted the first claim."""
    world = world_with((STORAGE_CLASS, storage_class()), (PVC, claim()))
    await settle(world)
    found = world.find(PV, "", VOLUME)
    assert found is not None
    world.put(PV, {**found, "metadata": {**found["metadata"], "name": "copy", "uid": "copy"}})
    world.delete(PVC, "app", "data")
    found = world.find(PV, "", VOLUME)
    assert found is not None
    world.put(PV, {**found, "status": {"phase": "Released"}})
    _, volumes, _ = reconcilers(world)
    with pytest.raises(PlanError, match="has the same volume as PersistentVolume copy: it is not destroyed"):
        await volumes.reconcile(Request("", VOLUME))
    assert world.images == {IMAGE: GIB}
    await settle(world)  # both are released now
    assert world.images == {}


async def test_nor_one_that_another_persistent_volume_has_which_the_cache_does_not_show() -> None:
    world = world_with((STORAGE_CLASS, storage_class()), (PVC, claim()))
    await settle(world)
    world.delete(PVC, "app", "data")
    world.kubernetes()
    _, volumes, _ = reconcilers(world)
    found = world.find(PV, "", VOLUME)
    assert found is not None
    behind(volumes, volumes=volumes.caches.volumes.get("", VOLUME))
    kept = {**found["spec"], "persistentVolumeReclaimPolicy": "Retain"}
    world.put(PV, {**found, "metadata": {"name": "by-hand", "uid": "by-hand"}, "spec": kept})
    with pytest.raises(PlanError, match="has the same volume as PersistentVolume by-hand: it is not destroyed"):
        await volumes.reconcile(Request("", VOLUME))
    assert world.images == {IMAGE: GIB}


class Stale:
    """A cache that has one object, of a while ago, until somebody waits for it."""

    def __init__(self, obj: object, cache: Any) -> None:
        self._obj = obj
        self._cache = cache
        self._reached = False

    def get(self, *key: str) -> object:
        return self._cache.get(*key) if self._reached else self._obj

    async def reached(self, *_: float) -> None:
        self._reached = True

    def keys_by_index(self, *which: str, complete: bool) -> object:
        return self._cache.keys_by_index(*which, complete=complete) if self._reached else []


def behind(operator: Claims | PersistentVolumes, **objects: object) -> None:
    """Has a cache of an operator show an object as it was a while ago."""
    stale: dict[str, Any] = {name: Stale(obj, getattr(operator.caches, name)) for name, obj in objects.items()}
    operator.caches = replace(operator.caches, **stale)


@pytest.mark.parametrize("crash_at", range(1, 9))
async def test_a_volume_that_is_released_goes_with_its_image(crash_at: int) -> None:
    world = world_with((STORAGE_CLASS, storage_class()), (PVC, claim()))
    await settle(world)
    world.delete(PVC, "app", "data")
    world.steps = 0
    await settle(world, crash_at)
    assert world.images == {}
    assert world.find(PV, "", VOLUME) is None


async def test_a_retained_volume_stays() -> None:
    world = world_with((STORAGE_CLASS, storage_class(reclaim_policy="Retain")), (PVC, claim()))
    await settle(world)
    world.delete(PVC, "app", "data")
    await settle(world)
    assert world.images == {IMAGE: GIB}
    assert world.find(PV, "", VOLUME) is not None
    world.delete(PV, "", VOLUME)
    await settle(world)
    assert world.find(PV, "", VOLUME) is None
    assert world.images == {IMAGE: GIB}


@pytest.mark.parametrize(
    ("capabilities", "statuses"),
    [(DISKS, {"storage": "NodeResizePending"}), (replace(DISKS, nodes_expand=False), None)],
    ids=["its nodes follow", "its nodes have nothing to do"],
)
@pytest.mark.parametrize("crash_at", range(1, 9))
async def test_a_larger_request(
    monkeypatch: pytest.MonkeyPatch, capabilities: Capabilities, statuses: dict[str, str] | None, crash_at: int
) -> None:
    monkeypatch.setattr(FakeBackend, "capabilities", capabilities)
    world = world_with((STORAGE_CLASS, storage_class()), (PVC, claim()))
    await settle(world)
    found = world.find(PVC, "app", "data")
    assert found is not None
    found["spec"]["resources"]["requests"]["storage"] = "3Gi"
    world.put(PVC, found)
    world.steps = 0
    await settle(world, crash_at)
    made, found = world.find(PV, "", VOLUME), world.find(PVC, "app", "data")
    assert made is not None
    assert found is not None
    assert world.images == {IMAGE: 3 * GIB}
    assert made["spec"]["capacity"] == {"storage": "3Gi"}
    assert found["status"]["allocatedResources"] == {"storage": "3Gi"}
    assert found["status"].get("allocatedResourceStatuses") == statuses
    assert found["status"]["capacity"] == {"storage": "1Gi" if statuses else "3Gi"}


async def test_a_volume_is_not_destroyed_beside_an_attachment_that_cannot_be_read() -> None:
    world = world_with((STORAGE_CLASS, storage_class()), (PVC, claim()))
    await settle(world)
    world.delete(PVC, "app", "data")
    world.kubernetes()
    odd = {"metadata": {"name": "odd"}, "spec": {"nodeName": 1}}
    world.put(VOLUME_ATTACHMENT, odd)
    _, volumes, _ = reconcilers(world)
    with pytest.raises(PlanError, match="does not know where odd belong"):
        await volumes.reconcile(Request("", VOLUME))
    assert world.images == {IMAGE: GIB}
    world.delete(VOLUME_ATTACHMENT, "", "odd")
    await settle(world)
    assert world.images == {}


async def test_a_volume_that_somebody_has_open_is_not_destroyed() -> None:
    world = world_with((STORAGE_CLASS, storage_class()), (PVC, claim()), (NODE, node("a", "10.0.0.1")))
    await settle(world)
    world.delete(PVC, "app", "data")
    world.kubernetes()
    world.holders[IMAGE] = (Holder(address="10.0.0.1", client="10.0.0.1:0/1"),)
    _, volumes, _ = reconcilers(world)
    with pytest.raises(PlanError, match=r"still open: 10\.0\.0\.1:0/1 on node a"):
        await volumes.reconcile(Request("", VOLUME))
    assert world.images == {IMAGE: GIB}
    world.holders.clear()
    await settle(world)
    assert world.images == {}


@pytest.mark.parametrize("crash_at", range(1, 15))
async def test_from_one_node_to_another(crash_at: int) -> None:
    world = world_with(
        (STORAGE_CLASS, storage_class()),
        (PVC, claim()),
        (NODE, node("a", "10.0.0.1")),
        (NODE, node("b", "10.0.0.2")),
    )
    await settle(world)
    world.put(VOLUME_ATTACHMENT, msgspec.to_builtins(attachment("a")))
    await settle(world)
    assert attached(world, "csi-a")
    world.holders[IMAGE] = (Holder(address="10.0.0.1", client="10.0.0.1:0/1"),)
    world.put(VOLUME_ATTACHMENT, msgspec.to_builtins(attachment("b", name="csi-b")))
    world.delete(VOLUME_ATTACHMENT, "", "csi-a")
    world.steps = 0
    await settle(world, crash_at)
    assert not attached(world, "csi-b")
    assert world.find(VOLUME_ATTACHMENT, "", "csi-a") is not None
    world.holders.clear()  # node a has unmapped it
    await settle(world)
    assert world.find(VOLUME_ATTACHMENT, "", "csi-a") is None
    assert attached(world, "csi-b")


async def test_from_a_node_that_is_out_of_service() -> None:
    world = world_with(
        (STORAGE_CLASS, storage_class()),
        (PVC, claim()),
        (NODE, node("a", "10.0.0.1", taints=(OUT_OF_SERVICE,))),
        (NODE, node("b", "10.0.0.2")),
        (VOLUME_ATTACHMENT, attachment("a")),
    )
    await settle(world)
    world.holders[IMAGE] = (Holder(address="10.0.0.1", client="10.0.0.1:0/1"),)
    world.put(VOLUME_ATTACHMENT, msgspec.to_builtins(attachment("b", name="csi-b")))
    world.delete(VOLUME_ATTACHMENT, "", "csi-a")
    await settle(world)
    assert world.holders[IMAGE] == ()
    assert attached(world, "csi-b")


async def test_a_tunnels_address_in_the_range_of_another_node_lets_no_second_writer_in() -> None:
    """What hands out the addresses of pods need not follow the nodes' podCIDRs: this is node b's client, not c's."""
    objects = ((NODE, node("b", "10.0.0.2", taints=(OUT_OF_SERVICE,))), (NODE, node("c", "10.0.0.3")))
    world = world_with((STORAGE_CLASS, storage_class()), (PVC, claim()), *objects)
    for name, pods in (("b", "192.168.2.0/24"), ("c", "192.168.5.0/24")):
        found = world.find(NODE, "", name)
        assert found is not None
        world.put(NODE, {**found, "spec": {**found.get("spec", {}), "podCIDRs": [pods]}})
    world.put(VOLUME_ATTACHMENT, msgspec.to_builtins(attachment("b", name="csi-b")))
    await settle(world)
    world.holders[IMAGE] = (Holder(address="192.168.5.1", client="192.168.5.1:0/77"),)
    world.put(VOLUME_ATTACHMENT, msgspec.to_builtins(attachment("c", name="csi-c")))
    _, _, attachments = reconcilers(world)
    await attachments.reconcile(Request("", "csi-c"))
    assert not attached(world, "csi-c")
    world.delete(VOLUME_ATTACHMENT, "", "csi-b")
    await settle(world)
    assert world.holders[IMAGE] == (), "it was fenced, as nobody else has the volume attached"
    assert attached(world, "csi-c")


async def test_a_client_of_a_node_that_has_the_volume_too_is_not_fenced_for_one_that_is_gone() -> None:
    world = world_with((STORAGE_CLASS, storage_class()), (PVC, claim()), (NODE, node("b", "10.0.0.2")))
    await settle(world)
    made = world.find(PV, "", VOLUME)
    assert made is not None
    world.put(PV, {**made, "spec": {**made["spec"], "accessModes": ["ReadWriteMany"], "volumeMode": "Block"}})
    for host in ("a", "b"):
        world.put(VOLUME_ATTACHMENT, msgspec.to_builtins(attachment(host)))
    await settle(world)
    client = Holder(address="192.168.230.1", client="192.168.230.1:0/88")
    world.holders[IMAGE] = (client,)
    world.delete(VOLUME_ATTACHMENT, "", "csi-a")
    await settle(world)
    found = world.find(VOLUME_ATTACHMENT, "", "csi-a")
    assert found is not None
    assert world.holders[IMAGE] == (client,)
    world.put(REPORTS, msgspec.to_builtins(report("b", client.client)))
    await settle(world)
    assert world.find(VOLUME_ATTACHMENT, "", "csi-a") is None
    assert world.holders[IMAGE] == (client,)


def attached(world: World, name: str) -> bool:
    found = world.find(VOLUME_ATTACHMENT, "", name)
    assert found is not None
    return bool(found.get("status", {}).get("attached"))


async def test_a_claim_is_not_held_by_a_cluster_that_is_gone() -> None:
    world = world_with((STORAGE_CLASS, storage_class()), (PVC, claim()))
    world.crash_at = 3  # after the claim was protected, before the image was made
    operator, _, _ = reconcilers(world)
    with pytest.raises((CrashError, BaseExceptionGroup)):
        await operator.reconcile(CLAIM)
    world.crash_at = None
    world.gone = True
    world.delete(PVC, "app", "data")
    await settle(world)
    assert world.find(PVC, "app", "data") is None
