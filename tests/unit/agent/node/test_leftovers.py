"""What is mapped and nobody's is let go; what is anybody's never is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import anyio
import msgspec
from hypothesis import given
from hypothesis import strategies as st

from controller.agent.node.leftovers import GRACE, INTERVAL, Leftovers, NodeVolumes, Wanted, let_go_of_leftovers
from controller.runtime.kube import NODE
from controller.testkit import ApiServer, virtual_time

DRIVER = "rook-ceph.rbd.csi.ceph.com"


class Node:
    """A node with a clock: what is mapped, what is mounted, and what Kubernetes says is attached or in use."""

    def __init__(self) -> None:
        self.maps: set[str] = set()
        self.mounts: set[str] = set()
        self.failed: set[str] = set()
        self.wants: set[str] = set()
        self.wants_at_the_act: set[str] | None = None
        self.in_use: set[str] = set()
        self.broken: set[str] = set()
        self.now = 0.0
        self.leftovers = Leftovers(self, self.wanted, lambda: self.now)

    async def mapped(self) -> Sequence[str]:
        return sorted(self.maps)

    async def wanted(self) -> Wanted:
        return Wanted(frozenset(self.wants), frozenset(self.in_use))

    async def abandoned(self, volume: str) -> bool:
        return volume in self.failed

    def kept(self) -> set[str]:
        """What is mapped, and somebody's."""
        return self.maps & (self.mounts | self.wants | (self.in_use - self.failed))

    async def let_go(self, volume: str, nobodys: Callable[[], Awaitable[bool]]) -> bool:
        if self.wants_at_the_act is not None:
            self.wants = self.wants_at_the_act
        if volume in self.broken:
            raise OSError("the kernel refused")
        if not await nobodys() or volume in self.mounts:
            return False
        assert volume not in self.kept()
        self.maps.remove(volume)
        self.failed.discard(volume)
        return True


async def test_what_is_neither_attached_nor_in_use_is_let_go_after_a_grace() -> None:
    node = Node()
    node.maps = {"left", "used"}
    node.in_use = {"used"}
    assert await node.leftovers.look() == GRACE
    assert node.maps == {"left", "used"}
    node.now += GRACE
    assert await node.leftovers.look() == INTERVAL
    assert node.maps == {"used"}


async def test_one_whose_stage_failed_is_let_go_though_the_next_pod_waits_for_it() -> None:
    node = Node()
    node.maps, node.in_use = {"v"}, {"v"}
    node.now = GRACE
    assert await node.leftovers.look() == INTERVAL, "it was staged, and its kubelet has to do with it"
    node.failed = {"v"}
    assert await node.leftovers.look() == GRACE
    node.now += GRACE
    await node.leftovers.look()
    assert node.maps == set()


async def test_the_grace_begins_anew_when_a_volume_was_wanted_in_between() -> None:
    node = Node()
    node.maps = {"v"}
    await node.leftovers.look()
    node.now, node.wants = GRACE / 2, {"v"}
    await node.leftovers.look()
    node.now, node.wants = GRACE, set()
    await node.leftovers.look()
    assert node.maps == {"v"}
    node.now = 2 * GRACE
    await node.leftovers.look()
    assert node.maps == set()


async def test_one_that_is_attached_at_the_last_moment_is_kept() -> None:
    node = Node()
    node.maps, node.now = {"v"}, 0.0
    await node.leftovers.look()
    node.now, node.wants_at_the_act = GRACE, {"v"}
    await node.leftovers.look()
    assert node.maps == {"v"}


async def test_one_that_cannot_be_let_go_keeps_no_other() -> None:
    node = Node()
    node.maps, node.broken = {"a", "b"}, {"a"}
    await node.leftovers.look()
    node.now = GRACE
    assert await node.leftovers.look() == GRACE
    assert node.maps == {"a"}
    node.broken = set()
    await node.leftovers.look()
    assert node.maps == set()


async def test_an_api_that_does_not_answer_lets_nothing_go_and_ends_nothing() -> None:
    node = Node()
    node.maps = {"v"}
    asked = 0
    answered = anyio.Event()

    async def fails() -> Wanted:
        nonlocal asked
        asked += 1
        if asked == 1:
            raise OSError("no route to host")
        answered.set()
        return Wanted(frozenset({"v"}))

    node.leftovers.wanted = fails
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(node.leftovers.run)
        await anyio.wait_all_tasks_blocked()
        assert asked == 1
        node.leftovers.changed()
        with anyio.fail_after(60):
            await answered.wait()
        tasks.cancel_scope.cancel()
    assert node.maps == {"v"}


def test_a_nodes_status_names_the_handles_of_our_drivers() -> None:
    node = msgspec.convert(
        {
            "status": {
                "volumesAttached": [
                    {"name": f"kubernetes.io/csi/{DRIVER}^attached", "devicePath": ""},
                    {"name": "kubernetes.io/csi/ebs.csi.aws.com^other"},
                ],
                "volumesInUse": [f"kubernetes.io/csi/{DRIVER}^in^use", "kubernetes.io/nfs/x"],
            }
        },
        NodeVolumes,
    )
    assert node.wanted({DRIVER}) == Wanted(frozenset({"attached"}), frozenset({"in^use"}))
    assert msgspec.convert({}, NodeVolumes).wanted({DRIVER}) == Wanted()


@virtual_time
async def test_a_change_of_the_node_is_acted_upon() -> None:
    name = f"kubernetes.io/csi/{DRIVER}^v"
    server = ApiServer()
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}, "status": {"volumesInUse": [name]}}
    server.put(NODE, node)
    mapped = Node()
    mapped.maps = {"v"}
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(let_go_of_leftovers, server.client(), "n1", [((DRIVER,), mapped)])
        await anyio.sleep(3 * INTERVAL)
        assert mapped.maps == {"v"}
        server.put(NODE, {**node, "status": {}})
        await anyio.sleep(GRACE + 2)
        assert mapped.maps == set()
        tasks.cancel_scope.cancel()


changes = st.lists(
    st.tuples(
        st.sampled_from(["map", "mount", "unmount", "fail", "attach", "detach", "begin", "end", "wait"]),
        st.sampled_from("abc"),
    ),
    max_size=30,
)


@given(changes)
def test_nothing_that_is_anybodys_is_let_go_and_nothing_that_is_nobodys_stays(steps: list[tuple[str, str]]) -> None:
    async def scenario() -> None:
        node = Node()
        for step, volume in steps:
            match step:
                case "map":
                    node.maps.add(volume)
                case "mount" if volume in node.maps:
                    node.mounts.add(volume)
                    node.failed.discard(volume)
                case "unmount":
                    node.mounts.discard(volume)
                case "fail" if volume in node.maps - node.mounts:
                    node.failed.add(volume)
                case "attach":
                    node.wants.add(volume)
                case "detach":
                    node.wants.discard(volume)
                case "begin":
                    node.in_use.add(volume)
                case "end":
                    node.in_use.discard(volume)
                case _:
                    node.now += GRACE / 2
            kept = node.kept()
            await node.leftovers.look()
            assert kept <= node.maps
        node.mounts = set()
        for _ in range(3):
            await node.leftovers.look()
            node.now += GRACE
        assert node.maps == node.kept()

    anyio.run(scenario)
