"""Claims whose volumes give back space, on an API server."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import anyio
import msgspec
import pytest

from controller.agent.node.trims import Trims, trim_as_asked
from controller.framework.reports import REPORTS
from controller.runtime.kube import NAMESPACE, PV, PVC, STORAGE_CLASS, VOLUME_ATTACHMENT, PartialObject
from controller.runtime.reconciler import Request, Result
from controller.testkit import ApiServer, new_manager, running, until, virtual_time, wall_clock
from controller.volumes import system
from controller.volumes.backend import BackendError, Holder, Volume
from controller.volumes.drivers import Drivers
from controller.volumes.space.act import Space
from controller.volumes.space.analyze import ASKED, RECLAIMED, SCHEDULE
from tests.unit.volumes.objects import DRIVER, UID, attachment, claim, storage_class, volume
from tests.unit.volumes.world import CrashError, FakeBackend, FakeEvents, FakeInformer, World, caches_of

IMAGE, VOLUME, CLAIM = f"csi-vol-{UID}", f"pvc-{UID}", Request("app", "data")


class FakeSpace:
    """Each try gives back so much."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.tries = 0
        self.error = ""

    async def reclaim(self, volume: Volume) -> int | None:
        assert volume.attributes["imageName"] == IMAGE
        with self._world.step():
            self.tries += 1
        if self.error:
            raise BackendError(self.error)
        return 4096

    def is_trimmable(self, volume: Volume) -> bool:
        return True


def world_with(**notes: str) -> World:
    world = World()
    world.put(PVC, msgspec.to_builtins(claim(phase="Bound", volume_name=VOLUME, annotations=notes)))
    world.put(PV, msgspec.to_builtins(volume()))
    return world


def operator(world: World, space: FakeSpace | None) -> Space:
    drivers, events = Drivers(), FakeEvents()
    drivers.add(FakeBackend(world), space=space)
    told: Any = events
    namespaces: Any = FakeInformer(world, NAMESPACE.plural, PartialObject)
    return Space(world.client(), told, caches_of(world), namespaces, drivers, "rook-ceph", lambda: 1767225660.0)


def told_by(found: Space) -> list[tuple[str, str]]:
    events: Any = found.events
    told: list[tuple[str, str]] = events.told
    return told


def result(world: World) -> Any:
    found = world.find(PVC, "app", "data")
    assert found is not None
    note = found["metadata"]["annotations"].get(RECLAIMED)
    return None if note is None else json.loads(note)


async def test_what_it_has_brought_is_on_the_claim() -> None:
    world = world_with(**{ASKED: "please"})
    space = FakeSpace(world)
    found = operator(world, space)
    for _ in range(3):
        await found.reconcile(CLAIM)
    assert result(world) == {"time": "2026-01-01T00:01:00Z", "asked": "please", "bytes": 4096}
    assert space.tries == 1
    assert told_by(found) == [("SpaceReclaimed", "Its volume has given back 4096 bytes")]


async def test_a_try_that_failed_is_not_repeated_by_itself() -> None:
    world = world_with(**{ASKED: "please"})
    space = FakeSpace(world)
    space.error = "the OSDs do not answer"
    found = operator(world, space)
    for _ in range(3):
        await found.reconcile(CLAIM)
    assert result(world)["error"] == "the OSDs do not answer"
    assert space.tries == 1
    assert told_by(found) == [("SpaceReclaimFailed", "the OSDs do not answer")]


async def test_a_volume_in_use_is_left_alone() -> None:
    world = world_with(**{ASKED: "please"})
    space = FakeSpace(world)
    found = operator(world, space)
    world.put(VOLUME_ATTACHMENT, msgspec.to_builtins(attachment("n1", attached=True)))
    for _ in range(2):
        await found.reconcile(CLAIM)
    assert (space.tries, result(world)) == (0, None)
    assert told_by(found) == [("SpaceNotReclaimed", "Waits for the agent of node n1 to report")]
    world.delete(VOLUME_ATTACHMENT, "", "csi-n1")
    world.holders[IMAGE] = (Holder(address="10.0.0.1", client="10.0.0.1:0/1"),)
    await found.reconcile(CLAIM)
    assert space.tries == 0
    assert "it is open: 10.0.0.1:0/1" in result(world)["error"]


async def test_an_attachment_that_came_meanwhile_is_seen() -> None:
    world = world_with(**{ASKED: "please"})
    space = FakeSpace(world)
    found = operator(world, space)
    shown: Any = found.caches.attachments
    shown.by_index = lambda *_: []
    world.put(VOLUME_ATTACHMENT, msgspec.to_builtins(attachment("n1", attached=True)))
    await found.reconcile(CLAIM)
    assert space.tries == 0
    assert "it is attached by now: VolumeAttachment csi-n1" in result(world)["error"]


async def test_volumes_without_space_to_give_back_say_so() -> None:
    world = world_with(**{SCHEDULE: "@daily"})
    found = operator(world, None)
    for _ in range(2):
        await found.reconcile(CLAIM)
    assert told_by(found) == [("SpaceNotReclaimed", f"Volumes of {DRIVER} have no space to give back")]


@pytest.mark.parametrize("dies_at", [1, 2, 3, 4])
async def test_whenever_it_dies_what_is_asked_for_is_done(dies_at: int) -> None:
    world = world_with(**{ASKED: "please"})
    space = FakeSpace(world)
    world.crash_at = dies_at
    try:
        await operator(world, space).reconcile(CLAIM)
    except (CrashError, BaseExceptionGroup):
        world.crash_at = None
    await operator(world, space).reconcile(CLAIM)
    assert result(world)["bytes"] == 4096


@virtual_time
async def test_a_schedule_is_kept_and_what_fell_due_while_a_volume_was_attached_is_made_up_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(system, "Space", partial(Space, clock=lambda: wall_clock().timestamp()))
    world, server = World(), ApiServer(namespaces=("app", "rook-ceph"))
    server.serve(REPORTS)
    weekly = msgspec.to_builtins(storage_class())
    server.put(STORAGE_CLASS, {**weekly, "metadata": {"name": "rook-ceph-block", "annotations": {SCHEDULE: "@hourly"}}})
    made = server.create(
        PVC, {"metadata": {"namespace": "app", "name": "data"}, "spec": {"storageClassName": "rook-ceph-block"}}
    )
    bound = msgspec.to_builtins(claim(phase="Bound", volume_name=VOLUME))
    server.put(PVC, {**made, "spec": bound["spec"], "status": bound["status"]})
    of = msgspec.to_builtins(volume())
    of["spec"]["claimRef"]["uid"] = made["metadata"]["uid"]
    server.put(PV, {**of, "metadata": {"name": VOLUME}})
    space = FakeSpace(world)
    manager = new_manager(server)
    serving = system.register(manager, "rook-ceph")
    serving.drivers.add(FakeBackend(world), space=space)
    hour = 3600
    async with running(manager):
        await anyio.sleep(3.5 * hour)
        assert space.tries == 3
        attached = msgspec.to_builtins(attachment("n1", attached=True))
        server.put(VOLUME_ATTACHMENT, {**attached, "metadata": {"name": "csi-n1"}})
        await anyio.sleep(3 * hour)
        assert space.tries == 3
        server.delete(VOLUME_ATTACHMENT, "", "csi-n1")
        await until(lambda: space.tries == 4, within=60)


def agent(world: World, freed: int = 7, error: str = "") -> None:
    """What the agent of node n1 does about what it is asked for."""
    found = world.find(REPORTS, "rook-ceph", "n1")
    assert found is not None
    trimmed = [
        {"claim": claim, "id": asked["id"], **({"error": error} if error else {"bytes": freed})}
        for claim, asked in found.get("trims", {}).items()
    ]
    world.server.put(REPORTS, {**found, "trimmed": trimmed})


def asked_of(world: World) -> Any:
    found = world.find(REPORTS, "rook-ceph", "n1")
    assert found is not None
    return found.get("trims", {})


def mounted(**notes: str) -> World:
    world = world_with(**notes)
    world.put(VOLUME_ATTACHMENT, msgspec.to_builtins(attachment("n1", attached=True)))
    world.put(REPORTS, {"metadata": {"namespace": "rook-ceph", "name": "n1"}})
    return world


async def test_a_volume_that_a_pod_uses_is_trimmed_by_its_node() -> None:
    world = mounted(**{ASKED: "please"})
    space = FakeSpace(world)
    found = operator(world, space)
    for _ in range(2):
        await found.reconcile(CLAIM)
    assert (space.tries, list(asked_of(world)), result(world)) == (0, ["app/data"], None)
    agent(world)
    for _ in range(3):
        await found.reconcile(CLAIM)
    noted = result(world)
    assert (noted["node"], noted["discarded"], noted["asked"]) == ("n1", 7, "please")
    assert asked_of(world) == {}
    assert told_by(found) == [
        ("SpaceNotReclaimed", "Waits for fstrim on node n1"),
        ("SpaceReclaimed", "fstrim on node n1 has discarded 7 bytes that no file has"),
    ]


async def test_a_trim_that_failed_is_told_and_not_repeated_by_itself() -> None:
    world = mounted(**{ASKED: "please"})
    found = operator(world, FakeSpace(world))
    await found.reconcile(CLAIM)
    agent(world, error="fstrim: exit status 1: the discard operation is not supported")
    for _ in range(3):
        await found.reconcile(CLAIM)
    assert "the discard operation is not supported" in result(world)["error"]
    assert asked_of(world) == {}
    assert told_by(found)[-1][0] == "SpaceReclaimFailed"


@pytest.mark.parametrize("dies_at", range(1, 7))
async def test_whenever_it_dies_a_trim_is_asked_for_once_and_not_left_behind(dies_at: int) -> None:
    world = mounted(**{ASKED: "please"})
    world.crash_at = dies_at
    for _ in range(5):
        try:
            await operator(world, FakeSpace(world)).reconcile(CLAIM)
        except (CrashError, BaseExceptionGroup):
            world.crash_at = None
        agent(world)
    assert (result(world)["discarded"], asked_of(world)) == (7, {})


@pytest.mark.parametrize("goes", ["claim", "annotation"])
async def test_nobody_is_asked_for_what_nobody_wants_any_more(goes: str) -> None:
    world = mounted(**{ASKED: "please"})
    found = operator(world, FakeSpace(world))
    await found.reconcile(CLAIM)
    if goes == "claim":
        world.delete(PVC, "app", "data")
    else:
        world.put(PVC, msgspec.to_builtins(claim(phase="Bound", volume_name=VOLUME)))
    await found.reconcile(CLAIM)
    assert asked_of(world) == {}
    assert await found.reconcile(CLAIM) == Result()


async def test_volumes_that_a_namespace_asks_for_among_others_are_not_told_that_they_have_none() -> None:
    world = world_with()
    world.server.put(NAMESPACE, {"metadata": {"name": "app", "annotations": {SCHEDULE: "@daily"}}})
    found = operator(world, None)
    await found.reconcile(CLAIM)
    assert told_by(found) == []


@virtual_time
async def test_a_namespace_that_gets_a_schedule_has_its_volumes_trimmed_by_the_agent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(system, "Space", partial(Space, clock=lambda: wall_clock().timestamp()))
    world, server = World(), ApiServer(namespaces=("app", "rook-ceph"))
    server.serve(REPORTS)
    made = server.create(PVC, {"metadata": {"namespace": "app", "name": "data"}, "spec": {}})
    bound = msgspec.to_builtins(claim(phase="Bound", volume_name=VOLUME))
    server.put(PVC, {**made, "spec": bound["spec"], "status": bound["status"]})
    of = msgspec.to_builtins(volume())
    of["spec"]["claimRef"]["uid"] = made["metadata"]["uid"]
    server.put(PV, {**of, "metadata": {"name": VOLUME}})
    attached = msgspec.to_builtins(attachment("n1", attached=True))
    server.put(VOLUME_ATTACHMENT, {**attached, "metadata": {"name": "csi-n1"}})
    server.create(REPORTS, {"metadata": {"namespace": "rook-ceph", "name": "n1"}})
    trimmed: list[str] = []

    class Service:
        async def trim(self, volume: str) -> int | None:
            trimmed.append(volume)
            return 5

    async def publish() -> None:
        found = server.find(REPORTS, "rook-ceph", "n1")
        assert found is not None
        server.put(REPORTS, {**found, "trimmed": msgspec.to_builtins(trims.listed())})

    trims = Trims({DRIVER: Service()}, publish)
    manager = new_manager(server)
    serving = system.register(manager, "rook-ceph")
    serving.drivers.add(FakeBackend(world), space=FakeSpace(world))
    async with running(manager), anyio.create_task_group() as tasks:
        tasks.start_soon(trim_as_asked, server.client(), "rook-ceph", "n1", trims)
        await anyio.sleep(7200)
        assert trimmed == []
        namespace = server.find(NAMESPACE, "", "app")
        assert namespace is not None
        namespace["metadata"]["annotations"] = {SCHEDULE: "@hourly"}
        server.put(NAMESPACE, namespace)
        await anyio.sleep(3.5 * 3600)
        assert len(trimmed) == 4, "what fell due before is made up for"
        assert trims.listed() == ()
        tasks.cancel_scope.cancel()
