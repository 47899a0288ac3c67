"""How a manager ends: within its deadlines, without a task left over, and with the lease let go where that is safe."""

import asyncio
import signal
import subprocess
import sys
import textwrap
from collections.abc import Awaitable, Callable

import anyio
import msgspec
import pytest

from controller.runtime import Controller, LeaderElection, LeadershipLostError, Manager, Request, Result
from controller.runtime.kube import LEASE, POD, Lease, Pod
from controller.testkit import ApiServer, new_manager, now, running, until, virtual_time

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
        assert manager.live()["workers"] == "ok"
        await asyncio.sleep(50)
        assert manager.live()["workers"] == "test rook/x goes on after 200 s though it was cancelled"
        await asyncio.sleep(850)
        assert manager.live()["workers"] == "ok"


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
