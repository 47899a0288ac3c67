"""What the agent does about volumes that it is asked to trim."""

from __future__ import annotations

import anyio
import pytest

from controller.agent.node.calls import CsiError, Operations
from controller.agent.node.driver import VolumeError
from controller.agent.node.trims import AGAIN, Trims
from controller.apis.rook.node_report import Trim, Trimmed
from controller.testkit import virtual_time
from informers import TransportError

DRIVER = "rook-ceph.rbd.csi.ceph.com"


def trim(volume: str, number: str = "1") -> Trim:
    return Trim(driver=DRIVER, volume_handle=volume, id=number)


class Node:
    """Volumes, each with what a trim of it brings: None where it gives way or is not mounted."""

    def __init__(self, **brings: int | Exception | None) -> None:
        self.brings = brings
        self.tried: list[str] = []
        self.told: list[tuple[Trimmed, ...]] = []
        self.refuses = False
        self.now = 0.0
        self.trims = Trims({DRIVER: self}, self.publish, lambda: self.now)

    async def trim(self, volume: str) -> int | None:
        self.tried.append(volume)
        brought = self.brings[volume]
        if isinstance(brought, Exception):
            raise brought
        return brought

    async def publish(self) -> None:
        if self.refuses:
            raise TransportError("the server does not answer")
        self.told.append(self.trims.listed())

    async def work(self) -> None:
        while await self.trims.look():
            pass


async def test_each_is_trimmed_once_and_told_as_long_as_it_is_asked_for() -> None:
    node = Node(a=3, b=VolumeError("it is encrypted"))
    node.trims.ask({"app/a": trim("a"), "app/b": trim("b")})
    await node.work()
    await node.work()
    assert node.tried == ["a", "b"]
    done = [Trimmed(claim="app/a", id="1", bytes=3), Trimmed(claim="app/b", id="1", error="it is encrypted")]
    assert list(node.told[-1]) == done
    node.trims.ask({"app/a": trim("a", "2")})
    await node.work()
    assert node.tried == ["a", "b", "a"]
    assert list(node.told[-1]) == [Trimmed(claim="app/a", id="2", bytes=3)]
    node.trims.ask({})
    await node.work()
    assert list(node.told[-1]) == []


async def test_one_that_gave_way_is_tried_again_later_and_keeps_no_other() -> None:
    node = Node(a=None, b=1)
    node.trims.ask({"app/a": trim("a"), "app/b": trim("b")})
    await node.work()
    assert node.tried == ["a", "b"]
    node.now, node.brings["a"] = AGAIN, 2
    await node.work()
    assert node.tried == ["a", "b", "a"]
    assert [done.bytes for done in node.trims.listed()] == [2, 1]


async def test_a_driver_that_is_not_here_is_told_and_a_report_that_cannot_be_written_ends_nothing() -> None:
    node = Node()
    node.refuses = True
    node.trims.ask({"app/a": Trim(driver="other", volume_handle="a", id="1")})
    await node.work()
    (done,) = node.trims.listed()
    assert done.error == "CSI driver other is not served on this node"


@virtual_time
async def test_it_runs_by_itself() -> None:
    node = Node(a=None)
    node.trims = Trims({DRIVER: node}, node.publish)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(node.trims.run)
        await anyio.sleep(100)
        node.trims.ask({"app/a": trim("a")})
        await anyio.sleep(AGAIN * 2.5)
        assert len(node.tried) == 3
        node.brings["a"] = 1
        await anyio.sleep(AGAIN)
        assert node.told == [(Trimmed(claim="app/a", id="1", bytes=1),)]
        await anyio.sleep(1000)
        assert len(node.tried) == 4
        tasks.cancel_scope.cancel()


@virtual_time
async def test_whatever_the_kubelet_asks_for_cuts_a_trim_off() -> None:
    ended: list[str] = []

    async def forever() -> int:
        try:
            await anyio.sleep_forever()
        finally:
            ended.append("trim")
        return 1

    async def unstage() -> str:
        return "unstaged"

    async with anyio.create_task_group() as tasks:
        operations = Operations(tasks)
        brought: list[int | None] = []

        async def aside(volume: str) -> None:
            brought.append(await operations.run_aside(volume, forever, "fstrim"))

        tasks.start_soon(aside, "v")
        await anyio.sleep(10)
        assert await operations.run("v", unstage) == "unstaged"
        assert (ended, brought) == (["trim"], [None])

        tasks.start_soon(aside, "w")
        await anyio.sleep(10)
        await operations.drained()
        assert brought == [None, None]
        assert await operations.run_aside("v", forever, "fstrim") is None, "the agent is ending"
        with pytest.raises(CsiError):
            await operations.run("v", unstage)


@virtual_time
async def test_a_trim_does_not_begin_while_the_kubelet_has_to_do_with_the_volume() -> None:
    async with anyio.create_task_group() as tasks:
        operations = Operations(tasks)

        async def slow() -> None:
            await anyio.sleep(50)

        async def never() -> int:
            raise AssertionError

        tasks.start_soon(operations.run, "v", slow)
        await anyio.sleep(1)
        assert await operations.run_aside("v", never, "fstrim") is None
