"""What becomes of volumes that nobody claims any more."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from controller.framework.plan import PlanError, StepState
from controller.framework.reports import REPORTS
from controller.runtime.kube import PV, PersistentVolume
from controller.runtime.reconciler import Request
from controller.testkit import ApiServer, new_manager, running, virtual_time
from controller.volumes.backend import UnderWayError, Volume
from controller.volumes.caches import caches_of
from controller.volumes.checked import CHECKED, see_all
from controller.volumes.drivers import Drivers
from controller.volumes.reclaim import (
    DeletePersistentVolume,
    DestroyVolume,
    PersistentVolumes,
    ReleasePersistentVolume,
    analyze,
)
from tests.unit.volumes.objects import ATTRIBUTES, DRIVER, attachment, volume
from tests.unit.volumes.world import FakeBackend, FakeEvents, World

IMAGE = ATTRIBUTES["imageName"]
DESTROY = DestroyVolume(Volume(driver=DRIVER, attributes=ATTRIBUTES, handle="h"))
DELETE, RELEASE = DeletePersistentVolume(), ReleasePersistentVolume()


@pytest.mark.parametrize(
    ("this", "expected"),
    [
        (volume(phase="Released"), [DESTROY, DELETE]),
        (volume(phase="Released", deleting=True), [DESTROY, RELEASE]),
        (volume(phase="Available", deleting=True), [DESTROY, RELEASE]),
        (volume(phase="Released", deleting=True, finalizers=()), []),
        (volume(phase="Bound"), []),
        (volume(phase="Bound", deleting=True), []),  # its claim still has it
        (volume(phase="Available"), []),
        (volume(phase="Failed"), []),
        (volume(phase="Released", policy="Retain"), []),
        (volume(phase="Released", policy="Retain", deleting=True), [RELEASE]),
        (volume(phase="Bound", policy="Retain", deleting=True), [RELEASE]),
        (volume(phase="Released", static=True), []),  # somebody made it by hand
        (volume(phase="Released", static=True, deleting=True), [RELEASE]),
    ],
)
def test_by_phase_and_policy(this: PersistentVolume, expected: list[object]) -> None:
    assert [step.action for step in analyze(this, []).steps] == expected


def test_an_attached_volume_is_not_destroyed() -> None:
    (step,) = analyze(volume(phase="Released"), [attachment("b"), attachment("a")]).steps
    assert step.held_by is StepState.WAITING
    assert step.waits_for == "detachment from a, b"


COLLECTIONS = ("/nodes", "/persistentvolumes", "/volumeattachments", "/nodereports")


@asynccontextmanager
async def operator(server: ApiServer, world: World) -> AsyncIterator[PersistentVolumes]:
    """One that has started, with its caches; its controllers do nothing by themselves."""
    manager, drivers = new_manager(server), Drivers([FakeBackend(world)])
    caches = caches_of(manager.informers, drivers, "rook-ceph")
    async with running(manager):
        yield PersistentVolumes(manager.client, manager.events, caches, drivers)


def released(*names: str) -> tuple[ApiServer, World]:
    """PersistentVolumes that nobody claims any more, all of one image."""
    server, world = ApiServer(namespaces=("rook-ceph",)), World()
    server.serve(REPORTS)
    for name in names:
        put(server, name, volume(phase="Released"))
    world.images[IMAGE] = 1
    return server, world


def put(server: ApiServer, name: str, this: PersistentVolume) -> None:
    built = msgspec.to_builtins(this)
    server.put(PV, {**built, "metadata": {**built["metadata"], "name": name, "uid": name, "resourceVersion": ""}})


@virtual_time
async def test_a_volume_is_destroyed_and_no_collection_is_asked_for() -> None:
    """There are thousands of volumes, and as many are destroyed when a namespace goes."""
    server, world = released("v")
    async with operator(server, world) as volumes:
        asked = len(server.requests)
        await volumes.reconcile(Request("", "v"))
        assert world.images == {}
        assert not [request for request in server.requests[asked:] if request.path.endswith(COLLECTIONS)]
        assert CHECKED in server.get(PV, "", "v")["metadata"]["annotations"]


@virtual_time
async def test_while_the_cache_does_not_show_what_there_is_nothing_is_destroyed() -> None:
    server, world = released("v")
    async with operator(server, world) as volumes:
        server.stall()
        put(server, "copy", volume(policy="Retain"))
        with pytest.raises(PlanError, match="nothing is destroyed: the cache of PersistentVolumes"):
            await volumes.reconcile(Request("", "v"))
        assert world.images == {IMAGE: 1}


def gone(server: ApiServer) -> None:
    server.patch(PV, "", "v", {"metadata": {"finalizers": None}})
    server.delete(PV, "", "v")


@virtual_time
async def test_a_cache_that_still_has_what_is_gone_is_no_failure() -> None:
    """As right after the volume was destroyed, by the look before this one."""
    server, world = released("v")
    async with operator(server, world) as volumes:
        events: Any = FakeEvents()
        volumes.events = events
        server.stall()
        gone(server)
        assert (await volumes.reconcile(Request("", "v"))).requeue_after is not None
        assert events.told == []
        assert world.images == {IMAGE: 1}


@virtual_time
@pytest.mark.parametrize("became", ["changed", "gone"])
async def test_what_was_changed_since_it_was_read_is_no_failure(became: str) -> None:
    server, world = released("v")
    async with operator(server, world) as volumes:
        read = msgspec.convert(server.get(PV, "", "v"), PersistentVolume).metadata
        if became == "changed":
            server.patch(PV, "", "v", {"metadata": {"labels": {"a": "b"}}})
        else:
            gone(server)
        with pytest.raises(UnderWayError, match="what has become of PersistentVolume v"):
            await see_all(volumes.client, PV, read, volumes.caches.volumes)


@virtual_time
async def test_a_copy_that_is_kept_keeps_the_volume() -> None:
    server, world = released("v", "copy")
    async with operator(server, world) as volumes:
        server.patch(PV, "", "copy", {"spec": {"persistentVolumeReclaimPolicy": "Retain"}})
        with pytest.raises(PlanError, match="has the same volume as PersistentVolume copy: it is not destroyed"):
            await volumes.reconcile(Request("", "v"))
        assert world.images == {IMAGE: 1}
