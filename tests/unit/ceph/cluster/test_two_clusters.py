"""Two Ceph clusters in two namespaces under one operator, which is in a third: neither disturbs the other."""

from __future__ import annotations

import base64
import copy
import json
import sys
import threading
from collections import defaultdict
from contextlib import asynccontextmanager
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from bench.scale.ceph import SimulatedCeph
from bench.scale.measure import Loop, Operator
from bench.scale.world import CLUSTER, CLUSTERS, IMAGE, NEW_IMAGE, World
from controller.ceph import system
from controller.framework import reports
from controller.framework.program import PROGRAM
from controller.framework.settings import Served, Settings
from controller.runtime.kube import CONFIG_MAP, DEPLOYMENT, JOB, NAMESPACE, POD, SECRET, SERVICE
from controller.testkit import new_manager, running
from controller.volumes import system as volumes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from informers import JsonObject

HOME, FIRST, SECOND = "operator", "rook-ceph", "rook-ceph-second"
KINDS = (CONFIG_MAP, DEPLOYMENT, JOB, POD, SECRET, SERVICE)
DEADLINE = 30.0


class Rooms:
    """The simulated clusters by namespace, in the place of librados: which is meant is told by the mons' addresses."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.ceph = {namespace: SimulatedCeph(0, partial(self.mons, namespace)) for namespace in (FIRST, SECOND)}
        self.keys: defaultdict[str, set[str]] = defaultdict(set)
        self.hangs: set[str] = set()
        self.end = threading.Event()

    def mons(self, namespace: str) -> dict[str, str]:
        """The mons of a cluster, with their addresses."""
        found = self.world.server.find(CONFIG_MAP, namespace, "rook-ceph-mon-endpoints")
        text = "" if found is None else found["data"]["data"]
        pairs = [member.split("=") for member in text.split(",") if member]
        return {name: address.rpartition(":")[0] for name, address in pairs}

    def install(self) -> ModuleType:
        rooms = self

        class Rados:
            def __init__(self, *, name: str, conf: dict[str, str]) -> None:
                self.conf = conf

            def connect(self) -> None:
                for namespace in rooms.ceph:
                    if any(f"{address}:" in self.conf["mon_host"] for address in rooms.mons(namespace).values()):
                        self.namespace = namespace
                        rooms.keys[namespace].add(self.conf["key"])
                        return
                raise OSError("no mon is there")

            def shutdown(self) -> None: ...

            def mon_command(self, command: str, _: bytes, __: int) -> tuple[int, bytes, str]:
                if self.namespace in rooms.hangs:
                    rooms.end.wait(DEADLINE)
                return 0, rooms.ceph[self.namespace].answer(json.loads(command)), ""

            mgr_command = mon_command

        module = ModuleType("rados")
        module.Rados = Rados  # type: ignore[attr-defined]
        return module


@pytest.fixture
def world() -> World:
    found = World(0)
    found.server.collects = True
    for namespace in (HOME, SECOND):
        found.server.create(NAMESPACE, {"metadata": {"name": namespace}})
    return found


@pytest.fixture
def rooms(monkeypatch: pytest.MonkeyPatch, world: World) -> Iterator[Rooms]:
    monkeypatch.setattr("bench.scale.measure.DEADLINE", DEADLINE)
    found = Rooms(world)
    monkeypatch.setitem(sys.modules, "rados", found.install())
    yield found
    found.end.set()


def make_second(world: World, **spec: Any) -> None:
    """The same cluster again, of the same name, in another namespace."""
    obj = copy.deepcopy(world.server.get(CLUSTERS, FIRST, CLUSTER))
    obj["spec"] |= {"dataDirHostPath": "/var/lib/rook-second"} | spec
    world.server.create(CLUSTERS, {"metadata": {"namespace": SECOND, "name": CLUSTER}, "spec": obj["spec"]})


@asynccontextmanager
async def served(world: World) -> AsyncIterator[Operator]:
    manager = new_manager(world.server, program=PROGRAM, namespaces=(HOME, FIRST, SECOND))
    namespaces = Served(named=(HOME,), everywhere=True, found=(FIRST, SECOND))
    settings = Settings(operator_namespace=HOME, operator_image="rook:bench", served=namespaces)
    reports.register(manager, settings)
    system.register(manager, settings, volumes.register(manager, HOME))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(world.kubelets)
        async with running(manager):
            yield Operator(world, manager, Loop())
        tasks.cancel_scope.cancel()


def status(world: World, namespace: str) -> JsonObject:
    found: JsonObject = world.server.get(CLUSTERS, namespace, CLUSTER).get("status", {})
    return found


def ready(world: World, *namespaces: str) -> Callable[[], bool]:
    return lambda: all(status(world, namespace).get("phase") == "Ready" for namespace in namespaces)


def identity(world: World, namespace: str) -> dict[str, str]:
    data = world.server.get(SECRET, namespace, "rook-ceph-mon")["data"]
    return {name: base64.b64decode(value).decode() for name, value in data.items()}


def objects(world: World, namespace: str) -> dict[tuple[str, str], str]:
    """What is in a namespace, by kind and name, with its version."""
    return {
        (kind.kind, name): obj["metadata"]["resourceVersion"]
        for kind in KINDS
        for (where, name), obj in world.server.storage.objects((kind.group, kind.plural)).items()
        if where == namespace
    }


def images(world: World, namespace: str) -> set[str]:
    stored = world.server.storage.objects((DEPLOYMENT.group, DEPLOYMENT.plural))
    return {
        container["image"]
        for (where, _), obj in stored.items()
        if where == namespace
        for container in obj["spec"]["template"]["spec"]["containers"]
    }


def jobs_of(world: World, namespace: str) -> list[str]:
    return [name for kind, name in objects(world, namespace) if kind == JOB.kind]


def mon_nodes(world: World, namespace: str) -> set[str]:
    stored = world.server.storage.objects((DEPLOYMENT.group, DEPLOYMENT.plural))
    return {
        obj["spec"]["template"]["spec"]["nodeSelector"]["kubernetes.io/hostname"]
        for (where, name), obj in stored.items()
        if where == namespace and name.startswith("rook-ceph-mon-")
    }


async def test_two_clusters_of_one_name_have_nothing_in_common(world: World, rooms: Rooms) -> None:
    make_second(world)
    async with served(world) as operator:
        await operator.until(ready(world, FIRST, SECOND), "both clusters")
        await operator.done()
        first, second = identity(world, FIRST), identity(world, SECOND)
        for name in ("fsid", "mon-secret", "ceph-secret"):
            assert first[name] != second[name], name
        assert rooms.keys == {FIRST: {first["ceph-secret"]}, SECOND: {second["ceph-secret"]}}
        assert not set(rooms.mons(FIRST).values()) & set(rooms.mons(SECOND).values())
        assert {key for key, _ in objects(world, FIRST).items()} == {key for key, _ in objects(world, SECOND).items()}
        assert status(world, FIRST)["ceph"]["fsid"] == first["fsid"]
        assert status(world, SECOND)["ceph"]["fsid"] == second["fsid"]


async def test_a_cluster_that_does_not_answer_delays_no_other(world: World, rooms: Rooms) -> None:
    make_second(world)
    async with served(world) as operator:
        await operator.until(ready(world, FIRST, SECOND), "both clusters")
        await operator.done()
        rooms.hangs.add(SECOND)
        # Whatever is asked of the second from now on hangs, and an edit has it asked.
        world.server.patch(CLUSTERS, SECOND, CLUSTER, {"spec": {"cephVersion": {"image": NEW_IMAGE}}})
        world.server.patch(CLUSTERS, FIRST, CLUSTER, {"spec": {"cephVersion": {"image": NEW_IMAGE}}})
        await operator.until(lambda: images(world, FIRST) == {NEW_IMAGE}, "the upgrade of the first")
        assert IMAGE in images(world, SECOND)
        rooms.hangs.clear()
        rooms.end.set()
        await operator.until(lambda: images(world, SECOND) == {NEW_IMAGE}, "the upgrade of the second")


async def test_the_end_of_one_cluster_with_its_data_touches_nothing_of_the_other(world: World, rooms: Rooms) -> None:
    make_second(world)
    async with served(world) as operator:
        await operator.until(ready(world, FIRST, SECOND), "both clusters")
        await operator.done()
        before, own = objects(world, FIRST), identity(world, FIRST)
        consent = {"spec": {"cleanupPolicy": {"confirmation": "yes-really-destroy-data"}}}
        world.server.patch(CLUSTERS, SECOND, CLUSTER, consent)
        world.server.delete(CLUSTERS, SECOND, CLUSTER)
        await operator.until(lambda: not images(world, SECOND), "its daemons to be gone")
        for kind, name in objects(world, SECOND):
            if kind == POD.kind:
                world.server.delete(POD, SECOND, name, grace=0)
        await operator.until(lambda: len(jobs_of(world, SECOND)) == 3, "the cleanup of each node")
        for name in jobs_of(world, SECOND):
            ended = {"succeeded": 1, "conditions": [{"type": "Complete", "status": "True"}]}
            world.server.patch(JOB, SECOND, name, {"status": ended}, subresource="status")
        await operator.until(lambda: world.server.find(CLUSTERS, SECOND, CLUSTER) is None, "the second to be gone")
        await operator.done()
        assert objects(world, FIRST) == before
        assert identity(world, FIRST) == own
        assert status(world, FIRST)["phase"] == "Ready"
        assert world.server.find(SECRET, SECOND, "rook-ceph-mon") is None
        assert rooms.keys[FIRST] == {own["ceph-secret"]}


async def test_mons_of_two_clusters_are_never_in_one_directory_of_a_node(world: World, rooms: Rooms) -> None:
    world.server.patch(CLUSTERS, FIRST, CLUSTER, {"spec": {"mon": {"count": 1}, "mgr": {"count": 1}}})
    async with served(world) as operator:
        await operator.until(ready(world, FIRST), "the first cluster")
        make_second(world, dataDirHostPath="/var/lib/rook/", mon={"count": 3})

        def told() -> bool:
            return "has mon a of the cluster in namespace rook-ceph in the same dataDirHostPath" in str(
                status(world, SECOND).get("plan")
            )

        await operator.until(lambda: told() and len(mon_nodes(world, SECOND)) == 2, "the third mon has no node")
        nodes = {where: mon_nodes(world, where) for where in (FIRST, SECOND)}
        assert len(nodes[SECOND]) == 2
        assert not nodes[FIRST] & nodes[SECOND]
