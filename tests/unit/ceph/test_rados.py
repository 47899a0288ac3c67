"""Access to a cluster, with a stand-in for librados: what is asked of it, and how its failures are told."""

from __future__ import annotations

import errno
import json
import sys
import threading
from types import ModuleType
from typing import Any

import pytest

from controller.ceph import rados
from controller.ceph.rados import Access, CephError, Connections, RadosCluster, mon_hosts

ACCESS = Access(("[v2:10.0.0.1:3300,v1:10.0.0.1:6789]",), "f", "client.admin", "hush")


class StandIn:
    """What librados does, as far as it is used: connections and their answers."""

    def __init__(self) -> None:
        self.connections: list[StandIn.Rados] = []
        self.answer: Any = (0, b"{}", "")
        self.on_connect: Exception | None = None
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
            self.closed = False
            stand_in.connections.append(self)

        def connect(self) -> None:
            if self.stand_in.on_connect is not None:
                raise self.stand_in.on_connect

        def mon_command(self, command: str, data: bytes, seconds: int) -> Any:
            self.asked.append(json.loads(command))
            self.threads.add(threading.get_ident())
            answer = self.stand_in.answer
            return answer() if callable(answer) else answer

        mgr_command = mon_command

        def shutdown(self) -> None:
            self.closed = True


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
    first = await connections.cluster("ns", before)
    await first.mon("x")
    second = await connections.cluster("ns", after)
    assert (first is second) is same
    assert librados.connections[0].closed is not same
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
