"""What each claim costs by their number, in a process of its own: `python -m bench.scale.volumes N` prints JSON.

N claims of a sort come at once, then N of the next, and so on: each sort finds those before it in the cluster. CPU is
that of the whole process, the shares of the test kit and of the simulation included, from the first of them until the
last is bound and the operator has nothing to do any more. Progress goes to stderr.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import anyio
import anyio.lowlevel
import msgspec

from bench.scale.demand import AT_ONCE, DEMANDS, Binder, prepare
from bench.scale.measure import Loop, Operator, operator, progress
from bench.scale.storage import CephWithVolumes
from bench.scale.world import World
from controller.__main__ import GC_THRESHOLDS
from controller.framework.program import PROGRAM
from controller.runtime import configure_logging

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from bench.scale.demand import Demand


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """What objects of one sort cost, each."""

    name: str
    cpu: float
    """Milliseconds."""
    stretch: float
    """The longest stretch of the event loop, in milliseconds; of all of them, not each."""
    calls: float
    """Commands to mons and mgrs, and calls of librbd that go to the OSDs."""
    writes: float
    """Requests to the API server that change something, those for events included."""


class VolumeRow(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured with so many claims of each sort."""

    claims: int
    costs: tuple[Cost, ...]


@asynccontextmanager
async def at_rest(loop: Loop) -> AsyncIterator[tuple[World, Binder, Operator]]:
    """A cluster with mons and mgrs, that volumes can be asked of, and its operator."""
    world = World(0, CephWithVolumes)
    prepare(world.server)
    world.ceph.install()
    binder = Binder(world.server)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(world.kubelets)
        tasks.start_soon(binder.run)
        async with operator(world, loop) as running:
            await running.until(lambda: world.status().get("phase") == "Ready", "mons and mgrs")
            await running.done()
            yield world, binder, running
        tasks.cancel_scope.cancel()


async def measure(claims: int, loop: Loop, demands: Sequence[Demand] = DEMANDS) -> VolumeRow:
    """What so many claims of each sort cost."""
    async with at_rest(loop) as (world, binder, running):
        gc.collect()
        await anyio.lowlevel.checkpoint()  # what comes is measured from its own callback on
        return VolumeRow(
            claims=claims, costs=tuple([await cost(world, binder, running, demand, claims) for demand in demands])
        )


async def cost(world: World, binder: Binder, running: Operator, demand: Demand, claims: int) -> Cost:
    """What so many objects of a demand cost, once all that came before is done."""
    count = min(claims, demand.most)
    progress(f"{count} x {demand.name}")
    server, asked = world.server, world.ceph.asked.total()
    server.requests.clear()
    running.loop.longest, cpu = 0.0, time.process_time()
    for number, (resource, obj) in enumerate(demand.objects(count, server)):
        binder.expect(demand, resource, obj)
        server.put(resource, obj)
        if number % AT_ONCE == 0:
            await anyio.lowlevel.checkpoint()
    await running.until(lambda: not binder.waiting, f"{count} x {demand.name}")
    await running.done()
    cpu = time.process_time() - cpu
    writes = sum(sent.method != "GET" and "/leases/" not in sent.path for sent in server.requests)
    return Cost(
        name=demand.name,
        cpu=round(cpu * 1000 / count, 2),
        stretch=round(running.loop.longest * 1000, 1),
        calls=round((world.ceph.asked.total() - asked) / count, 1),
        writes=round(writes / count, 1),
    )


if __name__ == "__main__":
    configure_logging(level="error", secrets=PROGRAM.secrets)
    gc.set_threshold(*GC_THRESHOLDS)
    measuring = Loop()
    with asyncio.Runner(loop_factory=measuring.new_event_loop) as runner:
        print(msgspec.json.encode(runner.run(measure(int(sys.argv[1]), measuring))).decode())
