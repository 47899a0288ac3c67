"""How a manager ends: within its deadlines, without a task left over, and with the lease let go where that is safe."""

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Awaitable, Callable

import anyio
import msgspec
import pytest
from structlog.testing import capture_logs

from controller.runtime import (
    Controller,
    LeaderElection,
    LeadershipLostError,
    Manager,
    NotLeaderError,
    Program,
    Request,
    Result,
)
from controller.runtime.kube import CONFIG_MAP, LEASE, POD, Lease, Pod
from controller.runtime.reconciler import current_reconcile
from controller.testkit import ApiServer, new_manager, now, running, until, virtual_time
from informers import Resource

ELECTION = LeaderElection(namespace="rook", name="operator")


class Work:
    """A reconciler that does the given work."""

    def __init__(self, work: Callable[[], Awaitable[object]]) -> None:
        self._work = work

    async def reconcile(self, request: Request) -> Result:
        await self._work()
        return Result()


class Replica:
    """A manager with a lease, as an operator's pod runs it."""

    def __init__(self, server: ApiServer, name: str = "a", work: Callable[[], Awaitable[object]] = anyio.sleep_forever):
        self.lease_connection = server.connection()
        self.manager = Manager(
            server.client(),
            program=Program("rook"),
            namespaces=("rook",),
            identity=name,
            leader_election=ELECTION,
            lease_client=type(server.client())(self.lease_connection),
            metrics_address=("127.0.0.1", 0),
            debug_address=None,
        )
        self.controller = Controller("test", Work(work))
        self.manager.informers.informer(POD, Pod)
        self.manager.add(self.controller)
        self.acted: list[float] = []
        self.manager.add_runnable(self._act)
        self.task: asyncio.Task[None] | None = None

    async def _act(self) -> None:
        self.acted.append(now())
        await anyio.sleep_forever()

    def start(self) -> asyncio.Task[None]:
        self.task = asyncio.create_task(self.manager.run(signals=False))
        return self.task

    @property
    def leading(self) -> bool:
        return self.manager.elector is not None and self.manager.elector.leading


def new_server() -> ApiServer:
    return ApiServer(namespaces=("rook",))


async def reconciling(server: ApiServer) -> tuple[Replica, asyncio.Task[None]]:
    """A replica that leads, in the middle of a reconcile."""
    replica = Replica(server)
    task = replica.start()
    replica.controller.queue.add(Request("rook", "x"))
    await until(lambda: replica.controller.stats.active)
    return replica, task


def holder(server: ApiServer) -> str:
    found = server.find(LEASE, ELECTION.namespace, ELECTION.name)
    return msgspec.convert(found, Lease).spec.holder_identity or "" if found else ""


@virtual_time
async def test_a_standby_that_is_told_to_stop_starts_nothing_that_needs_the_lease() -> None:
    server = new_server()
    leader, standby = Replica(server), Replica(server, "b")
    leading, standing_by = leader.start(), standby.start()
    await until(lambda: leader.acted or standby.acted)
    if standby.acted:
        leader, standby, leading, standing_by = standby, leader, standing_by, leading
    await asyncio.sleep(5)

    standby.manager.stop()
    await standing_by

    assert not standby.acted
    assert leader.leading
    leader.manager.stop()
    await leading


@virtual_time
async def test_told_to_stop_while_the_lease_comes_it_lets_it_go_and_starts_nothing() -> None:
    server = new_server()
    replica = Replica(server)
    replica.lease_connection.late = 0.2  # the server has acted long before its answer is there
    task = replica.start()
    await until(lambda: holder(server))

    replica.manager.stop()
    await task

    assert (holder(server), replica.acted) == ("", [])


@virtual_time
async def test_a_runnable_that_fails_leaves_the_lease_to_another_at_once() -> None:
    server = new_server()

    async def fail() -> None:
        await asyncio.sleep(10)
        raise RuntimeError("the cluster's disks are on fire")

    failing, standby = Replica(server), Replica(server, "b")
    failing.manager.add_runnable(fail)
    task = failing.start()
    await until(lambda: failing.leading)
    standing_by = standby.start()
    with pytest.raises(RuntimeError, match="on fire"):
        await task
    ended = now()

    await until(lambda: standby.acted)

    assert standby.acted[0] - ended < 0.1
    standby.manager.stop()
    await standing_by


@virtual_time
async def test_what_is_cancelled_from_outside_leaves_neither_the_lease_nor_a_task() -> None:
    server = new_server()
    before = asyncio.all_tasks()
    _, task = await reconciling(server)

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert holder(server) == ""
    assert asyncio.all_tasks() == before


@virtual_time
async def test_a_lost_lease_is_not_let_go_and_leaves_no_task() -> None:
    server = new_server()
    before = asyncio.all_tasks()
    _, task = await reconciling(server)

    server.patch(LEASE, ELECTION.namespace, ELECTION.name, {"spec": {"holderIdentity": "b"}})
    with pytest.raises(LeadershipLostError):
        await task

    assert holder(server) == "b"
    assert asyncio.all_tasks() == before


@virtual_time
async def test_with_an_api_server_that_is_away_it_ends_within_a_pods_time_and_leaves_no_task() -> None:
    server = new_server()
    before = asyncio.all_tasks()
    replica, task = await reconciling(server)
    for number in range(50):
        regarding = {
            "apiVersion": "v1",
            "kind": "Pod",
            "namespace": "rook",
            "name": f"pod-{number}",
            "uid": str(number),
        }
        replica.manager.events.event(regarding, "Normal", "Tested", "note")
    server.stop()
    await asyncio.sleep(1)

    stopped = now()
    replica.manager.stop()
    with pytest.raises(LeadershipLostError):
        await task

    assert now() - stopped < 30
    assert asyncio.all_tasks() == before


@virtual_time
async def test_a_worker_that_is_lost_makes_the_process_not_alive() -> None:
    async def deaf() -> None:
        with anyio.CancelScope(shield=True):
            await asyncio.sleep(1000)

    server = new_server()
    manager = new_manager(server)
    controller = Controller("test", Work(deaf), reconcile_timeout=100)
    manager.add(controller)
    async with running(manager):
        controller.queue.add(Request("rook", "x"))
        await asyncio.sleep(150)
        assert manager.health.live()["workers"] == "ok"
        await asyncio.sleep(50)
        assert manager.health.live()["workers"] == "test rook/x goes on after 200 s though it was cancelled"
        await asyncio.sleep(850)
        assert manager.health.live()["workers"] == "ok"


TOYS = Resource("example.com", "v1", "Toy", "toys")


def noting(name: str, done: list[str]) -> Work:
    async def note() -> None:
        done.append(name)

    return Work(note)


@virtual_time
async def test_an_optional_cache_that_cannot_be_filled_holds_up_only_who_watches_it() -> None:
    server = new_server()
    manager = new_manager(server)
    done: list[str] = []
    for name, resource in (("pods", POD), ("toys", TOYS)):
        controller = Controller(name, noting(name, done))
        controller.watch(manager.informers.informer(resource, Pod, optional=resource == TOYS))
        controller.queue.add(Request("rook", "x"))
        manager.add(controller)
    with capture_logs() as logs:
        async with running(manager):
            await asyncio.sleep(300)
            assert done == ["pods"]
            assert set(manager.health.ready().values()) == {"ok"}
            server.serve(TOYS)
            await until(lambda: done == ["pods", "toys"], within=100)
    assert not [entry for entry in logs if entry.get("controller") == "pods"]
    (told, _) = [entry for entry in logs if entry["event"].startswith("Nothing is done before")]
    assert told["controller"] == "toys"
    assert "toys.example.com: 404: 404 page not found" in told["caches"][0]


@virtual_time
async def test_a_cache_that_all_need_holds_up_all_and_is_named() -> None:
    server = new_server()
    manager = new_manager(server)
    done: list[str] = []
    controller = Controller("pods", noting("pods", done))
    controller.watch(manager.informers.informer(POD, Pod))
    controller.queue.add(Request("rook", "x"))
    manager.add(controller)
    for optional in (True, False):  # who needs it counts, whoever asked first
        manager.informers.informer(TOYS, Pod, optional=optional)
    with capture_logs() as logs:
        task = asyncio.create_task(manager.run(signals=False))
        await asyncio.sleep(130)
        assert done == []
        assert "404: 404 page not found" in manager.health.ready()["informer-toys.example.com"]
        assert any("toys.example.com: 404: 404 page not found" in str(entry.get("caches")) for entry in logs)
        server.serve(TOYS)
        await until(lambda: done == ["pods"], within=100)
        manager.stop()
        await task


@virtual_time
async def test_a_cache_that_is_removed_holds_up_nobody() -> None:
    server = new_server()
    server.create(POD, {"metadata": {"namespace": "rook", "name": "x"}})
    manager = new_manager(server)
    toys, pods = manager.informers.informer(TOYS, Pod), manager.informers.informer(POD, Pod)
    deleted: list[float] = []

    async def delete(request: Request) -> None:
        deleted.append(now())
        await manager.client.delete(POD, request.namespace, request.name)

    controller = Controller("pods", delete)
    controller.watch(pods)
    manager.add(controller)
    task = asyncio.create_task(manager.run(signals=False))
    await asyncio.sleep(5)
    assert deleted == []
    server.stall()  # no deletion is shown any more
    manager.informers.remove(toys)
    await until(lambda: len(deleted) == 1, within=1)
    controller.queue.add(Request("rook", "x"))
    await asyncio.sleep(5)
    assert len(deleted) == 1, "the cache still has what was deleted"
    manager.informers.remove(pods)
    await until(lambda: len(deleted) == 2, within=1)
    manager.stop()
    await task


@virtual_time
async def test_a_manager_that_waits_for_a_cache_stops_at_once() -> None:
    manager = new_manager(new_server())
    controller = Controller("toys", noting("toys", []))
    controller.watch(manager.informers.informer(TOYS, Pod, optional=True))
    manager.add(controller)
    async with running(manager):
        await asyncio.sleep(5)
        stopped = now()
    assert now() - stopped < 1


def test_no_namespace_is_no_choice() -> None:
    with pytest.raises(ValueError, match=r"namespaces is \(\), must name one"):
        new_manager(new_server(), namespaces=())
    with pytest.raises(ValueError, match=r"informer of pods: namespaces is \(\)"):
        new_manager(new_server()).informers.informer(POD, Pod, namespaces=())


@virtual_time
async def test_a_server_that_is_away_for_a_while_leaves_the_replicas_ready() -> None:
    server = new_server()
    manager = new_manager(server)
    manager.informers.informer(POD, Pod)
    async with running(manager):
        server.stop()
        await asyncio.sleep(60)
        assert manager.health.ready()["informer-pods"] == "ok"
        await asyncio.sleep(90)
        assert manager.health.ready()["informer-pods"] != "ok"
        server.start()
        await until(lambda: manager.health.ready()["informer-pods"] == "ok", within=60)


@virtual_time
async def test_what_is_added_while_it_runs_runs_too() -> None:
    server = new_server()
    server.create(POD, {"metadata": {"namespace": "rook", "name": "x"}})
    manager = new_manager(server)
    done: list[str] = []
    within: list[object] = []

    async def run(name: str) -> None:
        done.append(name)
        within.append(current_reconcile.get())
        await anyio.sleep_forever()

    async def grow() -> None:
        late = Controller("late", noting("late", done))
        late.watch(manager.informers.informer(POD, Pod))
        manager.add(late)
        manager.add_runnable(lambda: run("leading"))
        manager.add_runnable(lambda: run("always"), needs_leader=False)

    first = Controller("first", Work(grow))
    manager.add(first)
    async with running(manager):
        first.queue.add(Request("rook", "x"))
        await until(lambda: len(done) == 3)
        with pytest.raises(ValueError, match="there is one of that name already"):
            manager.add(Controller("late", noting("late", done)))
    assert sorted(done) == ["always", "late", "leading"]
    assert within == [None, None]


@virtual_time
async def test_what_runs_without_the_lease_is_refused_to_write_by_the_managers_client() -> None:
    server = new_server()
    leader, standby = Replica(server), Replica(server, "b")
    leading = leader.start()
    await until(lambda: leader.acted)

    async def write() -> None:
        await standby.manager.client.create(CONFIG_MAP, {"metadata": {"namespace": "rook", "name": "x"}})

    standby.manager.add_runnable(write, needs_leader=False)
    with pytest.raises(NotLeaderError):
        await standby.start()
    leader.manager.stop()
    await leading


@virtual_time
async def test_informers_made_within_a_reconcile_do_not_log_as_part_of_it() -> None:
    server = new_server()
    manager = new_manager(server)
    within: list[object] = []

    async def look() -> None:
        manager.informers.informer(POD, Pod).add_handler(lambda _: within.append(current_reconcile.get()))
        await anyio.sleep(1)
        await manager.client.create(POD, {"metadata": {"namespace": "rook", "name": "mine"}})

    controller = Controller("test", Work(look))
    manager.add(controller)
    async with running(manager):
        controller.queue.add(Request("rook", "x"))
        await until(lambda: len(within) == 1)
        server.create(POD, {"metadata": {"namespace": "rook", "name": "another"}})
        await until(lambda: len(within) == 2)
    assert within == [None, None]


@pytest.mark.parametrize(("signals", "ended"), [(1, []), (2, [128 + signal.SIGTERM])])
async def test_a_signal_while_it_stops_by_itself_is_the_first(signals: int, ended: list[int]) -> None:
    server, codes = new_server(), list[int]()
    seen: list[tuple[bool, bool]] = []

    async def work() -> None:
        manager.stop()
        while len(seen) < signals:
            seen.append((manager.signalled, bool(holder(server))))
            os.kill(os.getpid(), signal.SIGTERM)
            await until(lambda: len(codes) + manager.signalled == len(seen), within=20)

    manager = Manager(
        server.client(),
        program=Program("rook"),
        namespaces=("rook",),
        identity="a",
        leader_election=ELECTION,
        lease_client=server.client(),
        metrics_address=None,
        debug_address=None,
        abort=codes.append,
    )
    controller = Controller("test", Work(work))
    manager.add(controller)
    controller.queue.add(Request("rook", "x"))
    with anyio.fail_after(20):
        await manager.run()

    assert seen == [(False, True), (True, True)][:signals]
    assert (codes, manager.signalled, holder(server)) == (ended, True, "")


HANGING = """
    import anyio
    from controller.runtime import Controller, Request, Result, manager
    from controller.testkit import ApiServer, new_manager

    class Deaf:
        async def reconcile(self, request):
            print("reconciling", flush=True)
            while True:
                with anyio.CancelScope(shield=True):
                    await anyio.sleep(3600)

    async def main():
        manager.ENDING_DEADLINE = 0.3
        made = new_manager(ApiServer())
        made._drain_deadline = 0.1
        controller = Controller("deaf", Deaf())
        made.add(controller)
        controller.queue.add(Request("ns", "x"))
        await made.run()

    anyio.run(main)
"""


def test_the_host_decides_how_the_process_is_ended() -> None:
    codes: list[int] = []
    manager = Manager(
        new_server().client(),
        program=Program("rook"),
        namespaces=None,
        identity="a",
        metrics_address=None,
        abort=codes.append,
    )

    manager._give_up()

    assert codes == [1]


def test_what_does_not_heed_its_cancellation_does_not_keep_the_process() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(HANGING)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert process.stdout is not None
    while "reconciling" not in (line := process.stdout.readline()):
        assert line, "it ended by itself"
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=30)

    assert process.returncode == 1
    assert "Ended by force" in output
    assert "ns/x" in output
