"""Agent killed, operator killed, node drained, node gone, Ceph away: whenever, and in any order, amid whatever is done.

Meanwhile no two nodes may write a volume that is for one, and no volume of a claim is lost. Afterwards nothing is left
that nobody owns, and everything that is asked for is done: no state is a dead end.
"""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from controller.agent.system import mounts
from controller.ceph.rbd import images as rbd_images
from controller.framework.reports import REPORTS
from controller.runtime import Manager
from controller.runtime.kube import PV, PVC, VOLUME_ATTACHMENT
from controller.testkit import Connection, now, running, until, virtual_time
from controller.testkit.running import TEST_PROGRAM
from controller.volumes import system
from controller.volumes.snapshots.kinds import CONTENTS, SNAPSHOTS
from informers import Client
from tests.unit.ceph.cephfs import cephfs
from tests.unit.ceph.rbd.test_backend import backend as rbd_backend
from tests.unit.volumes.faults.kubernetes import Kubernetes, Pod
from tests.unit.volumes.faults.nodes import Host, keep_agent
from tests.unit.volumes.faults.storage import Storage
from tests.unit.volumes.world import CrashError

NODES = ("a", "b", "c")
HEALED_SECONDS = 3600.0
LOOK_SECONDS = 0.1


class Scene:
    """A cluster, and what is done to it."""

    def __init__(self, directory: Path, patch: pytest.MonkeyPatch) -> None:
        self.kubernetes = Kubernetes()
        self.storage = Storage(self._write, now)
        self.deaths = 0
        self.writes = 0
        self.dies_at: int | None = None
        self.kept: dict[str, str] = {}
        """By claim that is bound, what its volume is."""
        self._number = 0
        for number, name in enumerate(NODES, 1):
            host = Host(name, number, self.kubernetes.server, self.storage, directory / name, kernel=name == "c")
            self.kubernetes.join(host)
        patch.setattr(rbd_images, "library", lambda: self.storage)
        patch.setattr(mounts, "table", self._table)

    @property
    def hosts(self) -> list[Host]:
        return list(self.kubernetes.hosts.values())

    async def _table(self) -> tuple[mounts.Mount, ...]:
        return tuple(mount for host in self.hosts for mount in host.table)

    def _write(self) -> None:
        self.writes += 1
        if self.writes == self.dies_at:
            self.deaths += 1
            raise CrashError

    async def operators(self) -> None:
        """One operator after the other, each until it dies."""
        while True:
            with suppress(CrashError):
                async with running(self._manager()):
                    await anyio.sleep_forever()
            await anyio.sleep(1.0)

    def _manager(self) -> Manager:
        client = Client(Dying(self))
        manager = Manager(
            client,
            program=TEST_PROGRAM,
            namespaces=None,
            identity="test",
            leader_election=None,
            lease_client=client,
            metrics_address=None,
            debug_address=None,
        )
        drivers = system.register(manager, "rook-ceph").drivers
        images = rbd_backend()
        images.calls._connections = {"rook-ceph": self.storage}  # type: ignore[assignment]
        files: Any = self.storage
        drivers.add(images, images.snapshots)
        drivers.add(cephfs.backend(files))
        return manager

    async def watch(self) -> None:
        """Holds what must hold at any moment."""
        while True:
            self.storage.forget()
            for volume in self.kubernetes.stored.list(PV):
                if "ReadWriteMany" not in volume["spec"]["accessModes"]:
                    writers = self.storage.writers(volume["spec"]["csi"]["volumeHandle"])
                    assert len(writers) <= 1, f"{volume['metadata']['name']} is written on {writers}"
            self._nothing_is_lost()
            await anyio.sleep(LOOK_SECONDS)

    def _nothing_is_lost(self) -> None:
        for claim in self.kubernetes.stored.list(PVC):
            name = claim["metadata"]["name"]
            if claim.get("status", {}).get("phase") == "Bound" and not claim["metadata"].get("deletionTimestamp"):
                wish = self.kubernetes.wish(name)
                assert wish is not None, f"claim {name} has lost its PersistentVolume"
                self.kept[name] = wish.attributes.get("imageName") or wish.attributes["subvolumeName"]
            elif name in self.kept:
                del self.kept[name]
        for name, volume in self.kept.items():
            there = volume in self.storage.pools["p"].images or ("csi", volume) in self.storage.files.subvolumes
            assert there or self.kubernetes.stored.find(PVC, "app", name) is None, f"{volume} of claim {name} is gone"

    async def act(self, what: str, which: int) -> None:
        """One thing that users do, or that goes wrong."""
        await getattr(self, f"do_{what}")(which)

    async def do_claim(self, which: int) -> None:
        kind, mode = (("rbd", "ReadWriteOnce"), ("cephfs", "ReadWriteOnce"), ("cephfs", "ReadWriteMany"))[which % 3]
        self.kubernetes.claim(self._name("c"), kind, mode, None)

    async def do_pod(self, which: int) -> None:
        claims = [c for c in self._claims() if c not in self.kubernetes.dropped]
        if claims:
            name, host = self._name("p"), self.hosts[which % len(NODES)]
            claim = claims[which // len(NODES) % len(claims)]
            self.kubernetes.pods[name] = Pod(name, claim, host)

    async def do_unpod(self, which: int) -> None:
        if pod := _pick(list(self.kubernetes.pods.values()), which):
            pod.deleting = True

    async def do_grow(self, which: int) -> None:
        if claim := _pick(self._claims(), which):
            self.kubernetes.grow(claim)

    async def do_snapshot(self, which: int) -> None:
        bound = [c for c in self._claims() if (wish := self.kubernetes.wish(c)) and ".rbd." in wish.driver]
        if claim := _pick(bound, which):
            self.kubernetes.snapshot(self._name("s"), claim)

    async def do_clone(self, which: int) -> None:
        if claim := _pick([c for c in self._claims() if self._class(c) == "rbd"], which):
            source = {"kind": "PersistentVolumeClaim", "name": claim}
            self.kubernetes.claim(self._name("c"), "rbd", "ReadWriteOnce", source)

    async def do_restore(self, which: int) -> None:
        if snapshot := _pick([s["metadata"]["name"] for s in self.kubernetes.server.list(SNAPSHOTS)], which):
            source = {"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": snapshot}
            self.kubernetes.claim(self._name("c"), "rbd", "ReadWriteOnce", source)

    async def do_drop(self, which: int) -> None:
        if claim := _pick(self._claims(), which):
            self._drop(claim)

    async def do_unsnapshot(self, which: int) -> None:
        if snapshot := _pick([s["metadata"]["name"] for s in self.kubernetes.server.list(SNAPSHOTS)], which):
            self.kubernetes.drop_snapshot(snapshot)

    async def do_kill_operator(self, which: int) -> None:
        self.dies_at = self.writes + 1 + which

    async def do_kill_agent(self, which: int) -> None:
        if (host := self.hosts[which % len(NODES)]).agent is not None:
            host.agent.kill()

    async def do_drain(self, which: int) -> None:
        for pod in self.kubernetes.pods.values():
            pod.deleting = pod.deleting or pod.host is self.hosts[which % len(NODES)]

    async def do_cut_off(self, which: int) -> None:
        host = self.hosts[which % len(NODES)]
        host.alive = False
        self.storage.silence(host.name, died=False)
        if host.agent is not None:
            host.agent.kill()

    async def do_give_up(self, which: int) -> None:
        """An administrator taints a node that does not answer."""
        if host := _pick([host for host in self.hosts if not host.alive], which):
            self.kubernetes.taint(host)

    async def do_lose(self, which: int) -> None:
        """A node with a pod is cut off, and the pod's volume is asked for elsewhere; perhaps the node is given up."""
        if pod := _pick([pod for pod in self.kubernetes.pods.values() if pod.running and pod.host.alive], which):
            await self.do_cut_off(self.hosts.index(pod.host))
            other = self.hosts[(self.hosts.index(pod.host) + 1) % len(NODES)]
            name = self._name("p")
            self.kubernetes.pods[name] = Pod(name, pod.claim, other)
            if which % 2:
                await anyio.sleep(which * 10.0)
                self.kubernetes.taint(pod.host)

    async def do_come_back(self, which: int) -> None:
        if host := _pick([host for host in self.hosts if not host.alive], which):
            self._back(host, restarted=bool(which % 2))

    async def do_ceph_away(self, which: int) -> None:
        self.storage.away = not self.storage.away

    async def do_mds_away(self, which: int) -> None:
        self.storage.mds_away = not self.storage.mds_away

    async def end(self) -> None:
        """Everything is well again, and everything is deleted."""
        self.storage.away = self.storage.mds_away = False
        self.dies_at = None
        for host in self.hosts:
            if not host.alive:
                self._back(host, restarted=True)
        for snapshot in self.kubernetes.server.list(SNAPSHOTS):
            self.kubernetes.drop_snapshot(snapshot["metadata"]["name"])
        for claim in self._claims():
            self._drop(claim)
        for pod in self.kubernetes.pods.values():
            pod.deleting = True
        try:
            await until(lambda: not self.left(), within=HEALED_SECONDS, step=5.0)
        except TimeoutError:
            raise AssertionError(f"left: {self.left()}") from None

    def left(self) -> list[str]:
        """What is there that somebody has asked for, or that is nobody's."""
        server = self.kubernetes.server
        objects = [
            f"{resource.kind} {found['metadata']['name']}"
            for resource in (PVC, PV, VOLUME_ATTACHMENT, CONTENTS, SNAPSHOTS)
            for found in server.list(resource)
        ]
        clients = [f"report of {c}" for report in server.list(REPORTS) for c in report.get("clients", ())]
        nodes = [f"{host.name}: {what}" for host in self.hosts for what in host.left()]
        open_ = [client.name for client in self.storage.clients.values() if client.used]
        return [*objects, *clients, *nodes, *open_, *self.kubernetes.pods, *self.storage.everything()]

    def _back(self, host: Host, *, restarted: bool) -> None:
        if restarted:
            host.restart()
            for pod in self.kubernetes.pods.values():
                pod.running = pod.running and pod.host is not host
        else:
            self.storage.hear(host.name)
        host.alive = True
        self.kubernetes.untaint(host)

    def _drop(self, claim: str) -> None:
        self.kubernetes.dropped.add(claim)
        for pod in self.kubernetes.pods.values():
            pod.deleting = pod.deleting or pod.claim == claim

    def _claims(self) -> list[str]:
        return [found["metadata"]["name"] for found in self.kubernetes.server.list(PVC)]

    def _class(self, claim: str) -> str:
        return str(self.kubernetes.server.get(PVC, "app", claim)["spec"]["storageClassName"])

    def _name(self, prefix: str) -> str:
        self._number += 1
        return f"{prefix}{self._number}"


class Dying(Connection):
    """A connection of an operator that may die before or after each of its writes."""

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene.kubernetes.server, "operator")
        self._scene = scene

    async def request(self, method: str, path: str, **rest: Any) -> bytes:
        if method == "GET" or "/events" in path:
            return await super().request(method, path, **rest)
        self._scene._write()
        answer = await super().request(method, path, **rest)
        self._scene._write()
        return answer


def _pick[T](found: list[T], which: int) -> T | None:
    return found[which % len(found)] if found else None


DONE = ("claim", "pod", "pod", "unpod", "grow", "snapshot", "clone", "restore", "drop", "unsnapshot")
FAULTS = (
    "kill_operator",
    "kill_agent",
    "drain",
    "lose",
    "lose",
    "lose",
    "cut_off",
    "give_up",
    "come_back",
    "ceph_away",
    "mds_away",
)
BEGINNING = (("claim", 0, 0.0), ("claim", 1, 3.0), ("pod", 0, 0.0), ("pod", 4, 0.0))
PAUSES = (0.0, 0.3, 1.0, 3.0, 20.0, 90.0)
STEPS = st.lists(st.tuples(st.sampled_from((*DONE, *FAULTS)), st.integers(0, 8), st.sampled_from(PAUSES)), max_size=30)


@asynccontextmanager
async def a_cluster() -> AsyncIterator[Scene]:
    """Runs until the context is left."""
    with tempfile.TemporaryDirectory() as directory, pytest.MonkeyPatch.context() as patch:
        scene = Scene(Path(directory), patch)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(scene.operators)
            for host in scene.hosts:
                tasks.start_soon(keep_agent, host)
            tasks.start_soon(scene.kubernetes.run)
            tasks.start_soon(scene.watch)
            await anyio.sleep(1.0)
            yield scene
            tasks.cancel_scope.cancel()


@settings(max_examples=settings().max_examples // 10, phases=[Phase.generate])
@given(STEPS)
@virtual_time
async def test_whatever_goes_wrong_nobody_writes_beside_another_and_nothing_is_left(
    steps: list[tuple[str, int, float]],
) -> None:
    async with a_cluster() as scene:
        for what, which, pause in (*BEGINNING, *steps):
            await scene.act(what, which)
            await anyio.sleep(pause)
        await scene.end()


@virtual_time
async def test_what_is_asked_for_is_done() -> None:
    """Without faults: the stand-ins do what the property relies on."""
    async with a_cluster() as scene:
        for which in range(3):
            await scene.act("claim", which)
        await anyio.sleep(5.0)
        for what, which in (("pod", 0), ("pod", 4), ("pod", 7), ("pod", 8), ("snapshot", 0), ("grow", 0), ("grow", 1)):
            await scene.act(what, which)
        await anyio.sleep(10.0)
        for what in ("restore", "clone"):
            await scene.act(what, 0)
        await anyio.sleep(10.0)
        assert {pod.claim: pod.running for pod in scene.kubernetes.pods.values()} == {
            "c1": True,
            "c2": True,
            "c3": True,
        }
        assert len(scene.kept) == 5
        claims = scene.kubernetes.server.list(PVC)
        assert sorted(c["spec"]["resources"]["requests"]["storage"] for c in claims) == ["1Gi", *["3Gi"] * 4]
        await scene.end()


@pytest.mark.parametrize("kind", [0, 1])
@pytest.mark.parametrize("host", [0, 2])
@virtual_time
async def test_a_volume_goes_on_elsewhere_when_its_node_is_given_up(kind: int, host: int) -> None:
    async with a_cluster() as scene:
        await scene.act("claim", kind)
        await anyio.sleep(5.0)
        await scene.act("pod", host)
        await anyio.sleep(5.0)
        (volume,) = [volume["spec"]["csi"]["volumeHandle"] for volume in scene.kubernetes.server.list(PV)]
        assert scene.storage.writers(volume) == {NODES[host]}
        await scene.act("cut_off", host)
        await scene.act("pod", 1)
        await anyio.sleep(100.0)
        assert scene.storage.writers(volume) == {NODES[host]}, "it may be back"
        await scene.act("give_up", 0)
        await anyio.sleep(30.0)
        assert scene.storage.writers(volume) == {NODES[1]}
        await scene.act("come_back", 0)
        await anyio.sleep(30.0)
        assert scene.storage.writers(volume) == {NODES[1]}
        await scene.end()
