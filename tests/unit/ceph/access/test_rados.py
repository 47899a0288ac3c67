"""Access to a cluster, with a stand-in for librados: what is asked of it, and how its failures are told."""

from __future__ import annotations

import errno
import json
import sys
import threading
from types import ModuleType
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import pytest

from controller.ceph.access import librados as librados_module
from controller.ceph.access import rados
from controller.ceph.access.librados import Access
from controller.ceph.access.rados import CephError, Connections, RadosCluster, mon_hosts
from controller.ceph.access.threads import Lane

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ACCESS = Access(("[v2:10.0.0.1:3300,v1:10.0.0.1:6789]",), "f", "client.admin", "hush")


class StandIn:
    """What librados does, as far as it is used: connections and their answers."""

    def __init__(self) -> None:
        self.connections: list[StandIn.Rados] = []
        self.answer: Any = (0, b"{}", "")
        self.on_connect: Exception | Callable[[], object] | None = None
        stand_in = self

        class Rados(StandIn.Rados):
            def __init__(self, **given: Any) -> None:
                super().__init__(stand_in, **given)

        self.module = ModuleType("rados")
        self.module.Rados = Rados  # type: ignore[attr-defined]

    class Rados:
        def __init__(self, stand_in: StandIn, *, name: str, conf: dict[str, str]) -> None:
            self.stand_in, self.name, self.conf = stand_in, name, conf
            self.asked: list[dict[str, Any]] = []
            self.threads: set[int] = set()
            self.shut = threading.Event()
            stand_in.connections.append(self)

        def connect(self) -> None:
            if callable(self.stand_in.on_connect):
                self.stand_in.on_connect()
            elif self.stand_in.on_connect is not None:
                raise self.stand_in.on_connect

        def mon_command(self, command: str, data: bytes, seconds: int) -> Any:
            self.asked.append(json.loads(command))
            self.threads.add(threading.get_ident())
            answer = self.stand_in.answer
            return answer() if callable(answer) else answer

        mgr_command = mon_command

        def shutdown(self) -> None:
            self.shut.set()

        @property
        def closed(self) -> bool:
            return self.shut.is_set()


@pytest.fixture
def librados(monkeypatch: pytest.MonkeyPatch) -> StandIn:
    stand_in = StandIn()
    monkeypatch.setitem(sys.modules, "rados", stand_in.module)
    return stand_in


async def test_a_command_is_json_and_so_is_its_answer(librados: StandIn) -> None:
    librados.answer = (0, b'{"quorum_names": ["a"]}', "")
    async with RadosCluster(ACCESS) as ceph:
        assert await ceph.mon("osd pool get", pool="p", var="size") == {"quorum_names": ["a"]}
    (connection,) = librados.connections
    assert connection.asked == [{"prefix": "osd pool get", "format": "json", "pool": "p", "var": "size"}]
    assert threading.get_ident() not in connection.threads, "librados blocks, so it must not run in the event loop"
    assert connection.closed


@pytest.mark.parametrize(("output", "answer"), [(b"", None), (b"plain text\n", "plain text"), (b"[1]", [1])])
async def test_answers(librados: StandIn, output: bytes, answer: Any) -> None:
    librados.answer = (0, output, "")
    async with RadosCluster(ACCESS) as ceph:
        assert await ceph.mgr("x") == answer


async def test_a_refusal_is_an_error_with_the_clusters_words(librados: StandIn) -> None:
    librados.answer = (-errno.ENOENT, b"", "pool p does not exist")
    async with RadosCluster(ACCESS) as ceph:
        with pytest.raises(CephError, match=r"osd pool get: pool p does not exist \(ENOENT\)") as caught:
            await ceph.mon("osd pool get", pool="p")
    assert caught.value.is_not_found


async def test_every_time_limit_is_in_librados_too_so_that_no_thread_stays(librados: StandIn) -> None:
    async with RadosCluster(ACCESS, timeout=2.5) as ceph:
        await ceph.mon("x")
    conf = librados.connections[0].conf
    assert (conf["rados_mon_op_timeout"], conf["rados_osd_op_timeout"], conf["client_mount_timeout"]) == ("3", "3", "5")


async def test_mgrs_that_do_not_answer_are_given_up_in_time_though_librados_has_no_limit(
    librados: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rados, "GRACE", 0.0)
    released = threading.Event()
    ceph = RadosCluster(ACCESS, timeout=0.05)
    librados.answer = lambda: (released.wait(30), (0, b"[]", ""))[1]
    try:
        for _ in range(Lane.MGRS.value):
            with pytest.raises(CephError, match=r"no answer within 0\.05 s"):
                await ceph.mgr("fs subvolumegroup ls")
        with pytest.raises(CephError, match="EBUSY"):
            await ceph.mgr("fs subvolumegroup ls")
        librados.answer = (0, b"{}", "")
        assert await ceph.mon("x") == {}, "nor are mons kept from answering"
    finally:
        released.set()
    patient, plain = librados.connections
    assert (patient.conf["rados_mon_op_timeout"], plain.conf["rados_mon_op_timeout"]) == ("0", "1")
    for thread in ceph.close():
        thread.join(5)
    while not (patient.closed and plain.closed):
        await anyio.lowlevel.checkpoint()


async def test_a_cluster_that_does_not_answer_is_an_error_in_time(
    librados: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rados, "GRACE", 0.0)
    released = threading.Event()
    librados.answer = lambda: released.wait(30)
    try:
        with pytest.raises(CephError, match=r"no answer within 0\.05 s"):
            await RadosCluster(ACCESS, timeout=0.05).mon("x")
    finally:
        released.set()


async def test_a_connection_that_fails_is_closed_and_tried_again_by_the_next_command(librados: StandIn) -> None:
    class TimedOut(Exception):  # noqa: N818  # librados' own name
        errno = errno.ETIMEDOUT

    librados.on_connect = TimedOut("error connecting to the cluster")
    async with RadosCluster(ACCESS) as ceph:
        with pytest.raises(CephError, match=r"error connecting to the cluster \(ETIMEDOUT\)"):
            await ceph.mon("x")
        assert librados.connections[0].closed
        librados.on_connect = None
        assert await ceph.mon("x") == {}


async def test_what_was_answered_a_moment_ago_is_not_asked_again_until_something_changes(librados: StandIn) -> None:
    epoch = 1

    def answer() -> Any:
        return 0, json.dumps({"osdmap": {"epoch": epoch}}).encode(), ""

    librados.answer = answer
    async with RadosCluster(ACCESS) as ceph:
        for _ in range(3):
            await ceph.mon("status")
            await ceph.mon("osd dump")
            await ceph.mon("config dump")
        (connection,) = librados.connections
        asked = [question["prefix"] for question in connection.asked]
        assert asked == ["status", "osd dump", "config dump", "status", "status"]
        epoch = 2
        await ceph.mon("status")
        await ceph.mon("osd dump")
        assert len(connection.asked) == 7, "the map of OSDs is another"
        await ceph.mon("config set", who="global", name="x", value="1")
        await ceph.mon("config dump")
        assert len(connection.asked) == 9, "and a write ends it"


async def test_a_long_answer_is_decoded_in_a_thread(librados: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[int] = []

    def decode(output: bytes, _: str) -> Any:
        threads.append(threading.get_ident())
        return json.loads(output)

    monkeypatch.setattr(librados_module, "decode", decode)
    librados.answer = (0, json.dumps(["x" * 100] * 2000).encode(), "")
    async with RadosCluster(ACCESS) as ceph:
        assert len(await ceph.mon("osd dump")) == 2000
    assert threads
    assert threading.get_ident() not in threads


async def test_of_an_answer_with_thousands_of_osds_only_what_is_read_is_decoded(librados: StandIn) -> None:
    osd = {"osd": 1, "uuid": "u", "up": 1, "in": 1, "state": ["exists"], "public_addrs": {"addrvec": []}}
    librados.answer = (0, json.dumps({"max_osd": 2, "pools": [{"pool": 1}], "osds": [osd], "x": 1}).encode(), "")
    async with RadosCluster(ACCESS) as ceph:
        kept = {name: value for name, value in osd.items() if name != "public_addrs"}
        assert await ceph.mon("osd dump") == {"max_osd": 2, "pools": [{"pool": 1}], "osds": [kept]}
        librados.answer = (0, b'{"nodes": 1}', "")
        assert await ceph.mon("osd tree") == {"nodes": 1}, "one that is not as it should be is decoded whole"


class Hanging:
    """Image calls that do not return until they are let go."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.begun = 0
        self.handles: list[Any] = []

    def __call__(self, handle: Any) -> None:
        self.begun += 1
        self.handles.append(handle)
        self.gate.wait(60)
        assert not any(h.closed for h in self.handles), "the connection was shut under a call"


@pytest.fixture
def hanging() -> Iterator[Hanging]:
    calls = Hanging()
    yield calls
    calls.gate.set()


async def test_quorum_and_health_are_answered_while_64_image_calls_hang(librados: StandIn, hanging: Hanging) -> None:
    ceph = RadosCluster(ACCESS)
    async with anyio.create_task_group() as tasks:
        for _ in range(64):
            tasks.start_soon(lambda: ceph.use(hanging, lane=Lane.IMAGES, seconds=60))
        while hanging.begun < Lane.IMAGES.value:
            await anyio.lowlevel.checkpoint()
        with anyio.fail_after(rados.VITAL_TIMEOUT):
            assert await ceph.mon("quorum_status") == {}
            assert await ceph.mon("status") == {}
        assert await ceph.mon("osd dump") == {}, "nor do other commands wait"
        assert hanging.begun == Lane.IMAGES.value, "and no more threads hang than the lane has places"
        tasks.cancel_scope.cancel()


async def test_a_call_that_nobody_waits_for_holds_its_place(librados: StandIn, hanging: Hanging) -> None:
    ceph = RadosCluster(ACCESS)
    for _ in range(Lane.LONG.value):
        with pytest.raises(CephError, match="no answer within"):
            await ceph.use(hanging, lane=Lane.LONG, seconds=0.01)
    with pytest.raises(CephError, match=r"2 calls before it have not returned within 0\.01 s \(EBUSY\)"):
        await ceph.use(hanging, lane=Lane.LONG, seconds=0.01)
    assert hanging.begun == Lane.LONG.value
    hanging.gate.set()
    assert await ceph.use(lambda _: "done", lane=Lane.LONG, seconds=5) == "done"


async def test_a_connection_is_shut_when_its_last_call_has_returned(librados: StandIn, hanging: Hanging) -> None:
    ceph = RadosCluster(ACCESS)
    with pytest.raises(CephError, match="no answer within"):
        await ceph.use(hanging, lane=Lane.IMAGES, seconds=0.01)
    assert ceph.close() == ()
    with pytest.raises(CephError, match="the connection was closed"):
        await ceph.mon("x")
    (connection,) = librados.connections
    assert not connection.closed
    hanging.gate.set()
    while not connection.closed:
        await anyio.lowlevel.checkpoint()


async def test_a_connect_that_was_given_up_serves_the_next_call(librados: StandIn) -> None:
    gate = threading.Event()
    librados.on_connect = lambda: gate.wait(60)
    ceph = RadosCluster(ACCESS)
    with anyio.move_on_after(0.01) as scope:
        await ceph.mon("x")
    assert scope.cancelled_caught
    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(ceph.mon, "x")
        await anyio.lowlevel.checkpoint()
        gate.set()
    assert len(librados.connections) == 1


async def test_a_connect_that_was_given_up_and_closed_leaks_nothing(librados: StandIn) -> None:
    gate = threading.Event()
    librados.on_connect = lambda: gate.wait(60)
    ceph = RadosCluster(ACCESS)
    with anyio.move_on_after(0.01):
        await ceph.mon("x")
    ceph.close()
    gate.set()
    while not librados.connections[0].closed:
        await anyio.lowlevel.checkpoint()


async def test_connections_that_follow_each_other_share_their_places(librados: StandIn, hanging: Hanging) -> None:
    connections = Connections()
    for host in "abcdef":
        ceph = connections.cluster("ns", access(host))
        with pytest.raises(CephError):
            await ceph.use(hanging, lane=Lane.LONG, seconds=0.01)
    assert hanging.begun == Lane.LONG.value


async def test_a_connection_is_made_on_demand_where_the_cluster_can_be_located(librados: StandIn) -> None:
    known: dict[str, Access] = {}
    connections = Connections(locate=known.get)
    assert connections.get("ns") is None
    known["ns"] = ACCESS
    found = connections.get("ns")
    assert found is not None
    assert await found.mon("x") == {}
    known.clear()
    assert connections.get("ns") is found, "an identity that cannot be read for a moment costs no connection"
    await connections.close_all()
    assert librados.connections[0].closed


def test_the_key_is_not_shown() -> None:
    assert "hush" not in repr(ACCESS)


def access(*hosts: str, key: str = "k") -> Access:
    return Access(hosts, "f", "client.admin", key)


@pytest.mark.parametrize(
    ("before", "after", "same"),
    [
        (access("a", "b"), access("b", "c"), True),
        (access("a"), access("a"), True),
        (access("a"), access("b"), False),
        (access("a"), access("a", key="other"), False),
    ],
)
async def test_a_connection_is_kept_while_it_leads_to_the_same_cluster(
    librados: StandIn, before: Access, after: Access, same: bool
) -> None:
    connections = Connections()
    first = connections.cluster("ns", before)
    await first.mon("x")
    second = connections.cluster("ns", after)
    assert (first is second) is same
    assert librados.connections[0].shut.wait(0 if same else 5) is not same
    assert connections.get("ns") is second
    await connections.close_all()
    assert connections.get("ns") is None


@pytest.mark.parametrize(
    ("addresses", "msgr2_only", "hosts"),
    [
        (["10.0.0.1"], False, ("[v2:10.0.0.1:3300,v1:10.0.0.1:6789]",)),
        (["fd00::1"], False, ("[v2:[fd00::1]:3300,v1:[fd00::1]:6789]",)),
        (["10.0.0.1"], True, ("[v2:10.0.0.1:3300]",)),
    ],
)
def test_mon_hosts(addresses: list[str], msgr2_only: bool, hosts: tuple[str, ...]) -> None:
    assert mon_hosts(addresses, msgr2_only=msgr2_only) == hosts
