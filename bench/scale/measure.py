"""Measures one size of cluster, in a process of its own: `python -m bench.scale.measure OSDS` prints a row as JSON.

CPU is that of the whole process, the test kit's share included; the longest stretch is the CPU time that one callback
of the event loop took on the loop's thread, which other programs on the machine do not lengthen. The event loop is the
operator's, uvloop; progress goes to stderr.
"""

from __future__ import annotations

import asyncio
import gc
import statistics
import sys
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import msgspec
import uvloop

from bench.scale.world import CLUSTER, CLUSTERS, NAMESPACE, World
from controller.__main__ import GC_THRESHOLDS
from controller.ceph import system
from controller.ceph.access import memory
from controller.framework import reports
from controller.framework.program import PROGRAM
from controller.framework.settings import Settings
from controller.runtime import configure_logging
from controller.testkit import new_manager, running
from controller.volumes import system as volumes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextvars import Context

    from controller.runtime import Manager

LOOKS = 3
REST_SECONDS = 60.0
QUIET_SECONDS = 0.3
"""The operator is done when it has not reconciled anything for so long."""
DEADLINE = 300.0
BEGUN = time.perf_counter()


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured of one size. CPU is in seconds, stretches in milliseconds."""

    osds: int
    look_cpu: float
    """A look at rest, for which everything is asked."""
    look_stretch: float
    event_cpu: float
    """From the restart of a pod's container until the operator is done."""
    event_stretch: float
    event_commands: int
    """Commands to the cluster that the event cost."""
    image_cpu: float
    """From a new image until every daemon's restart is planned."""
    image_stretch: float
    rss: float
    """MiB that the operator takes at most, without the test kit and the simulated cluster."""
    status: float
    """KiB of the CephCluster's status at its longest."""
    commands: float
    """Commands to the cluster in a minute at rest."""
    rest_cpu: float
    """Seconds in a minute at rest."""


@dataclass
class Loop:
    """The longest stretch of the event loop since `longest` was last set to 0, in seconds of CPU.

    There is no hook for it: the loop's debug mode measures by the wall clock, and slows everything down.
    """

    longest: float = 0.0

    def new_event_loop(self) -> asyncio.AbstractEventLoop:
        """An event loop that measures every callback."""
        made = _MeasuredLoop()
        made.stretches = self
        return made

    def measured(self, callback: Callable[..., object]) -> Callable[..., None]:
        """The callback, measured."""

        def run(*args: Any) -> None:
            begun = time.thread_time()
            callback(*args)
            self.longest = max(self.longest, time.thread_time() - begun)

        return run


class _MeasuredLoop(uvloop.Loop):
    """uvloop, of which everything that tasks, futures, timers and threads have it call is measured."""

    stretches: Loop

    def call_soon[*Ts](
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        return super().call_soon(self.stretches.measured(callback), *args, context=context)

    def call_soon_threadsafe[*Ts](
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        return super().call_soon_threadsafe(self.stretches.measured(callback), *args, context=context)

    def call_later[*Ts](
        self, delay: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        return super().call_later(delay, self.stretches.measured(callback), *args, context=context)

    def call_at[*Ts](
        self, when: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        return super().call_at(when, self.stretches.measured(callback), *args, context=context)


@dataclass
class Cost:
    """What a piece of work cost."""

    cpu: float
    stretch: float
    commands: int


class Operator:
    """The operator under measurement."""

    def __init__(self, world: World, manager: Manager, loop: Loop) -> None:
        self.world, self.manager, self.loop = world, manager, loop

    async def done(self) -> None:
        """Returns when the operator has been quiet for a while."""
        with anyio.fail_after(DEADLINE):
            since, before = time.monotonic(), self._reconciles()
            while time.monotonic() - since < QUIET_SECONDS:
                await anyio.sleep(0.02)
                now = self._reconciles()
                if now != before or any(controller.stats.active for controller in self.manager.controllers):
                    since, before = time.monotonic(), now

    async def until(self, condition: Callable[[], bool], what: str) -> None:
        """Waits for a condition."""
        try:
            with anyio.fail_after(DEADLINE):
                while not condition():  # noqa: ASYNC110  # what is waited for has no event
                    await anyio.sleep(0.02)
        except TimeoutError:
            status = {key: value for key, value in self.world.status().items() if key != "devices"}
            raise TimeoutError(f"{what}: not within {DEADLINE:g} s; the status is {status}") from None

    async def cost(self, trigger: Callable[[], object], until: Callable[[], bool] = lambda: True) -> Cost:
        """What it costs from `trigger` until the operator is done, and `until` holds."""
        before, asked = self._reconciles(), self.world.ceph.asked.total()
        self.loop.longest, cpu = 0.0, time.process_time()
        trigger()
        await self.until(lambda: self._reconciles() > before and until(), "a look")
        await self.done()
        return Cost(time.process_time() - cpu, self.loop.longest * 1000, self.world.ceph.asked.total() - asked)

    def _reconciles(self) -> int:
        return sum(controller.stats.reconcile_time.count for controller in self.manager.controllers)


async def measure(osds: int, loop: Loop) -> Row:
    """Makes a cluster of so many OSDs and volumes, and measures what the operator does for it on this event loop."""
    imports = rss()
    world = World(osds)
    world.ceph.install()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(world.kubelets)
        async with operator(world, loop) as first:
            progress("mons and mgrs")
            await first.until(lambda: world.status().get("phase") == "Ready", "mons and mgrs")
            world.add_osds()
            progress("Deployments of OSDs")
            await first.until(lambda: world.deployments() >= osds + 5, "Deployments of OSDs")
            await first.until(lambda: world.status().get("phase") == "Ready", "OSDs")
        world.add_volumes(osds)
        gc.collect()
        gc.freeze()  # what the kit holds is not the operator's to look through
        before = rss()
        progress("another operator takes over, with as many attached volumes")
        async with operator(world, loop) as second:
            highest = Highest()
            tasks.start_soon(highest.watch)
            await second.done()
            row = await figures(second, world, lambda: highest.mib - before + imports)
        tasks.cancel_scope.cancel()
    return row


async def figures(operator: Operator, world: World, memory_taken: Callable[[], float]) -> Row:
    """Measures an operator that is at rest."""

    def look() -> None:
        world.server.patch(
            CLUSTERS, NAMESPACE, CLUSTER, {"metadata": {"annotations": {"bench": str(time.monotonic_ns())}}}
        )

    progress("looks at rest")
    remembered, memory.OLD = memory.OLD, -1.0
    looks = [await operator.cost(look) for _ in range(LOOKS)]
    memory.OLD = remembered
    await operator.cost(look)
    progress("pod events")
    events = [await operator.cost(lambda: world.touch_pod("rook-ceph-osd-0-0")) for _ in range(LOOKS)]
    progress(f"{REST_SECONDS:g} s at rest")
    asked, cpu = world.ceph.asked.total(), time.process_time()
    await anyio.sleep(REST_SECONDS)
    commands, rest = world.ceph.asked.total() - asked, time.process_time() - cpu
    sizes = [status_bytes(world)]
    world.follows = False
    progress("another image")
    image = await operator.cost(
        world.change_image,
        until=lambda: planned(world) > world.ceph.osds,
    )
    sizes.append(status_bytes(world))
    return Row(
        osds=world.ceph.osds,
        look_cpu=round(statistics.median(found.cpu for found in looks), 3),
        look_stretch=round(statistics.median(found.stretch for found in looks), 1),
        event_cpu=round(statistics.median(found.cpu for found in events), 3),
        event_stretch=round(statistics.median(found.stretch for found in events), 1),
        event_commands=round(statistics.median(found.commands for found in events)),
        image_cpu=round(image.cpu, 3),
        image_stretch=round(image.stretch, 1),
        rss=round(memory_taken()),
        status=round(max(sizes) / 1024, 1),
        commands=round(commands * 60 / REST_SECONDS, 1),
        rest_cpu=round(rest * 60 / REST_SECONDS, 2),
    )


@asynccontextmanager
async def operator(world: World, loop: Loop) -> AsyncIterator[Operator]:
    """An operator that serves the world as `python -m controller` does."""
    manager = new_manager(world.server, program=PROGRAM, namespaces=(NAMESPACE,))
    settings = Settings(operator_namespace=NAMESPACE, operator_image="rook:bench")
    reports.register(manager, settings)
    system.register(manager, settings, volumes.register(manager, NAMESPACE))
    async with running(manager):
        yield Operator(world, manager, loop)


class Highest:
    """The most memory that the process took, in MiB."""

    mib: float = 0.0

    async def watch(self) -> None:
        """Looks now and then, for ever."""
        while True:
            self.mib = max(self.mib, rss())
            await anyio.sleep(0.05)


def progress(what: str) -> None:
    """Tells what is done next."""
    print(f"  {time.perf_counter() - BEGUN:5.0f} s: {what}", file=sys.stderr, flush=True)


def rss() -> float:
    """MiB that the process takes now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / (1 << 20)


def planned(world: World) -> int:
    """Steps that the plan shows, those that share a row counted one by one."""
    return sum(row.get("count") or 1 for row in world.status().get("plan", {}).get("steps", ()))


def status_bytes(world: World) -> int:
    """Bytes of the CephCluster's status."""
    return len(msgspec.json.encode(world.status()))


if __name__ == "__main__":
    configure_logging(level="error", secrets=PROGRAM.secrets)
    gc.set_threshold(*GC_THRESHOLDS)
    measuring = Loop()
    with asyncio.Runner(loop_factory=measuring.new_event_loop) as runner:
        print(msgspec.json.encode(runner.run(measure(int(sys.argv[1]), measuring))).decode())
