"""NetworkFences, from their making to their deletion, against a blocklist and an API server in memory."""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import msgspec
import pytest

from controller import testkit
from controller.ceph.access import blocklist
from controller.ceph.networkfence import daemons
from controller.ceph.networkfence.kind import FINALIZER, serve
from controller.ceph.networkfence.kinds import CLASSES, FENCES, NetworkFence, NetworkFenceClass
from controller.ceph.networkfence.observe import Resolver
from controller.ceph.networkfence.record import ANNOTATION
from controller.framework.program import PROGRAM
from controller.framework.reports import REPORTS
from controller.testkit import ApiServer, new_manager, pause, running, virtual_time, wall_clock
from tests.unit.ceph.networkfence.ceph import OPERATOR, Ceph

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from controller.ceph.access.rados import Connections
    from informers import Informer, JsonObject

DRIVER = "rook-ceph.rbd.csi.ceph.com"
until = partial(testkit.until, step=0.5)


class Scene:
    """An operator, a cluster, and NetworkFences."""

    def __init__(self) -> None:
        self.ceph = Ceph(lambda: wall_clock().timestamp())
        self.server = ApiServer(namespaces=("rook-ceph",))
        for resource in (FENCES, CLASSES, REPORTS):
            self.server.serve(resource)
        self.sessions: set[str] = set()

    def fence(self, name: str, *cidrs: str, state: str = "Fenced", driver: str = DRIVER, **spec: Any) -> None:
        wanted = {"driver": driver, "fenceState": state, "cidrs": list(cidrs), "parameters": {"clusterID": "rook-ceph"}}
        self.server.create(FENCES, {"metadata": {"name": name}, "spec": {**wanted, **spec}})

    def edit(self, name: str, **spec: Any) -> None:
        self.server.patch(FENCES, "", name, {"spec": spec})

    def report(self, node: str, *clients: str) -> None:
        found = [{"driver": DRIVER, "volumeHandle": "v", "address": client} for client in clients]
        self.server.create(REPORTS, {"metadata": {"namespace": "rook-ceph", "name": node}, "clients": found})

    def status(self, name: str) -> JsonObject:
        found: JsonObject = self.server.get(FENCES, "", name).get("status", {})
        return found

    def tells(self, name: str, result: str, message: str) -> bool:
        found = self.status(name)
        return found.get("result") == result and message in found.get("message", "")

    def is_gone(self, name: str) -> bool:
        return self.server.find(FENCES, "", name) is None

    @asynccontextmanager
    async def operator(self) -> AsyncIterator[None]:
        manager = new_manager(self.server, program=PROGRAM)
        clusters: dict[str, Any] = {"rook-ceph": self.ceph}

        async def sessions(_: Any) -> frozenset[str]:
            return frozenset(self.sessions)

        await serve(
            manager,
            cast("Connections", SimpleNamespace(get=clusters.get)),
            "rook-ceph",
            serves=lambda driver: driver == DRIVER,
            namespace_of=lambda cluster_id: cluster_id,
            has_cluster=clusters.__contains__,
            sessions=sessions,
        )
        async with running(manager):
            yield


@virtual_time
async def test_a_range_is_fenced_and_let_in_again() -> None:
    scene = Scene()
    scene.report("node-a", "10.0.0.7:0/11", "10.0.0.9:0/12")
    scene.sessions = {"10.0.0.7:0/13"}
    scene.fence("a", "10.0.0.7/32", "fd00::1:0/112")
    async with scene.operator():
        await until(lambda: scene.tells("a", "Succeeded", "fencing operation successful"))
        assert set(scene.ceph.ranges) == {"10.0.0.7/32", "fd00::1:0/112"}
        assert scene.ceph.clients == {"10.0.0.7:0/11", "10.0.0.7:0/13"}, "each that is known, and no other"
        assert [c["type"] for c in scene.status("a")["conditions"] if c["status"] == "True"] == ["Fenced", "Ready"]
        assert all(c["message"] for c in scene.status("a")["conditions"]), "the CRD asks for one"

        before = list(scene.ceph.writes)
        pause(3600)
        await until(lambda: scene.tells("a", "Succeeded", "fencing"))
        assert scene.ceph.writes == before

        scene.report("node-b", "10.0.0.7:0/14")
        scene.edit("a", fenceState="Unfenced")
        await until(lambda: scene.tells("a", "Succeeded", "unfencing operation successful"))
        assert scene.ceph.ranges == {}
        assert scene.ceph.clients == {"10.0.0.7:0/11", "10.0.0.7:0/13", "10.0.0.7:0/14"}, "what was cut off stays so"
        assert scene.ceph.writes.index("add 10.0.0.7:0/14") < scene.ceph.writes.index("rm 10.0.0.7/32")
        assert ANNOTATION not in scene.server.get(FENCES, "", "a")["metadata"].get("annotations", {})


@virtual_time
async def test_an_edit_adds_before_it_lets_in() -> None:
    scene = Scene()
    scene.fence("a", "10.0.0.0/24")
    async with scene.operator():
        await until(lambda: scene.tells("a", "Succeeded", "fencing"))
        scene.edit("a", cidrs=["10.0.0.0/25"])
        await until(lambda: set(scene.ceph.ranges) == {"10.0.0.0/25"})
        assert scene.ceph.writes == ["add 10.0.0.0/24", "add 10.0.0.0/25", "rm 10.0.0.0/24"]


@virtual_time
async def test_what_is_cleared_by_hand_is_fenced_anew() -> None:
    scene = Scene()
    scene.fence("a", "10.0.0.7/32")
    async with scene.operator():
        await until(lambda: scene.tells("a", "Succeeded", "fencing"))
        scene.ceph.remove("10.0.0.7/32")
        await until(lambda: "10.0.0.7/32" in scene.ceph.ranges)
        scene.edit("a", fenceState="Unfenced")
        await until(lambda: scene.tells("a", "Succeeded", "unfencing"))
        assert scene.ceph.ranges == {}


@virtual_time
async def test_an_entry_of_another_stays() -> None:
    scene = Scene()
    scene.ceph.add("10.0.0.7/32", 157784760, "ceph-csi")
    scene.fence("a", "10.0.0.7/32")
    async with scene.operator():
        await until(lambda: scene.tells("a", "Succeeded", "10.0.0.7/32 was on the blocklist before, and stays"))
        scene.edit("a", fenceState="Unfenced")
        by_hand = "by hand: ceph osd blocklist range rm 10.0.0.7/32"
        await until(lambda: scene.tells("a", "Failed", by_hand))
        assert scene.ceph.writes == []
        scene.server.delete(FENCES, "", "a")
        await until(lambda: scene.is_gone("a"))
        assert scene.ceph.by == {"10.0.0.7/32": "ceph-csi"}


@virtual_time
async def test_an_entry_that_another_made_anew_stays() -> None:
    scene = Scene()
    scene.fence("a", "10.0.0.7/32")
    async with scene.operator():
        await until(lambda: scene.tells("a", "Succeeded", "fencing"))
        scene.ceph.add("10.0.0.7/32", 3600, "a person")
        scene.edit("a", fenceState="Unfenced")
        await until(lambda: scene.tells("a", "Failed", "by hand"))
        assert scene.ceph.by == {"10.0.0.7/32": "a person"}


@virtual_time
async def test_a_range_of_two_is_let_in_by_the_last() -> None:
    scene = Scene()
    for name in ("a", "b"):
        scene.fence(name, "10.0.0.7/32")
    async with scene.operator():
        await until(lambda: all(scene.tells(name, "Succeeded", "fencing") for name in ("a", "b")))
        scene.edit("a", fenceState="Unfenced")
        await until(lambda: scene.tells("a", "Failed", "waits for NetworkFence b, which fences it, too"))
        scene.server.delete(FENCES, "", "a")
        await until(lambda: scene.is_gone("a"))
        assert scene.ceph.by == {"10.0.0.7/32": OPERATOR}
        scene.edit("b", fenceState="Unfenced")
        await until(lambda: scene.tells("b", "Succeeded", "unfencing"))
        assert scene.ceph.writes == ["add 10.0.0.7/32", "rm 10.0.0.7/32"]


@virtual_time
async def test_deletion_waits_for_a_word_and_then_lets_in() -> None:
    scene = Scene()
    scene.fence("a", "10.0.0.7/32")
    async with scene.operator():
        await until(lambda: scene.tells("a", "Succeeded", "fencing"))
        scene.server.delete(FENCES, "", "a")
        await until(lambda: scene.tells("a", "Failed", "fenceState to be Unfenced, which lets 10.0.0.7/32 in again"))
        pause(3600)
        assert "10.0.0.7/32" in scene.ceph.ranges
        scene.edit("a", fenceState="Unfenced")
        await until(lambda: scene.is_gone("a"))
        assert scene.ceph.ranges == {}


@virtual_time
async def test_a_cluster_s_own_daemons_are_not_fenced_unless_they_are_down() -> None:
    scene = Scene()
    scene.fence("a", "10.0.0.7/32", "10.0.9.0/30")
    async with scene.operator():
        named = "waits for mon.a, osd.0, the active mgr to be stopped, or at another address"
        await until(lambda: scene.tells("a", "Failed", named))
        assert set(scene.ceph.ranges) == {"10.0.0.7/32"}
        scene.edit("a", cidrs=["10.0.9.1/32"])
        await until(lambda: scene.tells("a", "Failed", "waits for osd.0"))
        assert set(scene.ceph.ranges) == {"10.0.0.7/32"}, "what was fenced stays until the other is"
        scene.ceph.osds[0] = ("10.0.9.1", False)
        await until(lambda: set(scene.ceph.ranges) == {"10.0.9.1/32"})


@virtual_time
async def test_a_daemon_that_came_a_moment_ago() -> None:
    scene = Scene()
    scene.ceph.osds[0] = ("10.0.9.1", False)
    scene.fence("a", "10.0.9.1/32")
    asked = daemons.places

    async def places(cluster: Any) -> daemons.Places:
        found = await asked(cluster)
        scene.ceph.osds[0] = ("10.0.9.1", True)
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(daemons, "places", places)
        async with scene.operator():
            await until(lambda: scene.tells("a", "Failed", "osd.0"))
            assert scene.ceph.writes == []


async def test_all_daemons_are_known() -> None:
    found = await daemons.places(cast("Any", Ceph(lambda: 0.0)))
    assert {name: min(addresses) for name, addresses in found.items()} == {
        "this operator": "10.0.9.9",
        "mon.a": "10.0.9.2",
        "mgr.b": "fd00::9",
        "the active mgr": "10.0.9.3",
        "osd.0": "10.0.9.1",
        "mds.m": "10.0.9.6",
        "mds.s": "10.0.9.5",
        "rbd-mirror.4": "10.0.9.7",
    }
    assert "10.0.9.4" in found["the active mgr"]
    assert daemons.inside("fd00::/64", found) == "mgr.b"


@virtual_time
async def test_ceph_before_17_knows_no_ranges() -> None:
    scene = Scene()
    scene.ceph.version = "ceph version 16.2.15 (618f) pacific (stable)"
    scene.fence("a", "10.0.0.7/32")
    async with scene.operator():
        await until(lambda: scene.tells("a", "Failed", "Ceph 17 or later: daemons run 16.2.15-0"))
        assert scene.ceph.writes == []


@virtual_time
async def test_a_driver_of_another_is_left_alone_and_a_class_may_name_ours() -> None:
    scene = Scene()
    scene.fence("theirs", "10.0.0.7/32", driver="rbd.example.com")
    scene.server.create(
        FENCES, {"metadata": {"name": "classy"}, "spec": {"networkFenceClassName": "c", "cidrs": ["10.0.0.8/32"]}}
    )
    async with scene.operator():
        found = {"provisioner": DRIVER, "parameters": {"clusterID": "rook-ceph"}}
        found["parameters"] = {"clusterID": "rook-ceph", "csiaddons.openshift.io/networkfence-secret-name": "s"}
        scene.server.create(CLASSES, {"metadata": {"name": "c"}, "spec": found})
        await until(lambda: scene.tells("classy", "Succeeded", "fencing"))
        assert set(scene.ceph.ranges) == {"10.0.0.8/32"}
        assert scene.status("theirs") == {}
        assert FINALIZER not in scene.server.get(FENCES, "", "theirs")["metadata"].get("finalizers", [])


@virtual_time
async def test_a_cluster_that_is_gone_holds_nothing() -> None:
    scene = Scene()
    scene.fence("a", "10.0.0.7/32", parameters={"clusterID": "elsewhere"})
    async with scene.operator():
        await until(lambda: scene.tells("a", "Failed", "there is no CephCluster in namespace 'elsewhere' (clusterID)"))
        scene.server.delete(FENCES, "", "a")
        await until(lambda: scene.is_gone("a"))


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ({"cidrs": []}, "cidrs is empty"),
        ({"cidrs": ["10.0.0.7"]}, "cidrs[0]: '10.0.0.7' is no range of addresses: expected one such as 10.0.0.7/32"),
        ({"cidrs": ["10.0.0.0/8", "10.0.0.0/33"]}, "cidrs[1]: '10.0.0.0/33' is no range of addresses"),
        ({"cidrs": ["100.64.0.6:0/32"]}, "cidrs[0]: '100.64.0.6:0/32' is no range"),
        ({"cidrs": ["0.0.0.0/0"]}, "all addresses there are"),
        ({"parameters": {}}, "spec has no parameter clusterID"),
        ({"parameters": {"clusterID": "a", "pool": "b"}}, "parameters that are not served: pool"),
        ({"networkFenceClassName": "none"}, "NetworkFenceClass none (networkFenceClassName) does not exist"),
        ({"cidrs": ["10.0.0.7/24", "fd00::7/128"]}, ""),
    ],
)
def test_what_of_a_spec_cannot_be(spec: dict[str, Any], told: str) -> None:
    classes = cast("Informer[NetworkFenceClass]", SimpleNamespace(get=lambda *_: None))
    wanted = {"driver": DRIVER, "cidrs": ["10.0.0.7/32"], "parameters": {"clusterID": "a"}, **spec}
    fence = msgspec.convert({"spec": wanted}, NetworkFence)
    problem = Resolver(classes, lambda found: found).problem(fence)
    assert problem.startswith(told) if told.startswith("cidrs") else told in problem
    assert bool(problem) == bool(told)


def test_the_answers_of_the_mons() -> None:
    until_ = '"until":"2031-12-01T03:20:23.303744+0000"'
    both = (
        f'[{{"addr":"10.7.0.1:0/123",{until_}}}]\n[{{"range":"10.1.0.0:0/16",{until_}}},'
        f'{{"range":"10.1.0.7:0/24",{until_}}},{{"range":"[fd00::]:0/64",{until_}}}]\n'
    )
    found = blocklist.parse(both)
    assert set(found.ranges) == {"10.1.0.0/16", "fd00::/64"}, "one with bits of a host has other words than ours"
    assert found.clients == {"10.7.0.1:0/123"}
    assert blocklist.parse([{"addr": "10.7.0.1:0/123", "until": "x"}]).clients == {"10.7.0.1:0/123"}
    assert blocklist.parse(None) == blocklist.Blocklist()
