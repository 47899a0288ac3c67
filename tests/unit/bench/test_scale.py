"""The bench of sizes: its table, and that the simulated cluster is as well as the operator thinks it should be."""

from __future__ import annotations

import json
import sys
from collections import Counter
from contextlib import asynccontextmanager
from types import ModuleType
from typing import TYPE_CHECKING, Any

import anyio
import msgspec
import pytest

from bench.scale.__main__ import BEGIN, BEGIN_VOLUMES, COLUMNS, END, END_VOLUMES, Results, table, with_tables
from bench.scale.ceph import OSDS_PER_NODE, SimulatedCeph
from bench.scale.measure import Loop, Row, operator, planned, status_bytes
from bench.scale.volumes import Cost, VolumeRow
from bench.scale.world import World
from controller.ceph.access.health import Health
from controller.ceph.access.mons import MonState
from controller.ceph.mgr.observe import MgrState
from controller.ceph.osd import assess
from controller.ceph.osd.objects import Osd, osd_deployment
from informers import informer
from informers.decode import decoder

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from bench.scale.measure import Operator
    from controller.apis.ceph.storage import StorageScopeSpec
    from controller.ceph.pods import Context
    from informers import JsonObject


def a_row(osds: int) -> Row:
    return msgspec.convert({"osds": osds, **{name: 1 for name, _ in COLUMNS}}, Row)


RESULTS = Results(at="2026-01-01", machine="m", rows=(a_row(100), a_row(5000)))


def test_the_table_has_a_column_for_each_size() -> None:
    lines = table(RESULTS).splitlines()
    assert lines[0] == "|  | 100 OSDs | 5,000 OSDs |"
    assert len(lines) == len(COLUMNS) + 2


def test_the_tables_take_the_place_of_those_before() -> None:
    page = f"before\n{BEGIN}\nold\n{END}\nbetween\n{BEGIN_VOLUMES}\nold\n{END_VOLUMES}\nafter\n"
    once = with_tables(page, msgspec.structs.replace(RESULTS, volumes=(claims_row(250), claims_row(2000))))
    assert "old" not in once
    assert once.startswith("before")
    assert once.endswith("after\n")
    assert "| CephFS claim | 250.0 | 2000.0 | 1 | 2 | 3 |" in once
    assert with_tables(once, RESULTS).count("CephFS claim") == 1, "what was not measured stays"
    with pytest.raises(ValueError, match="has no place for the table"):
        with_tables("nothing", RESULTS)


def claims_row(claims: int) -> VolumeRow:
    return VolumeRow(claims=claims, costs=(Cost(name="CephFS claim", cpu=claims, stretch=1, calls=2, writes=3),))


@asynccontextmanager
async def at_rest(osds: int) -> AsyncIterator[tuple[World, Operator]]:
    """A cluster with so many OSDs, and the operator that has brought it up and has nothing to do any more."""
    world = World(osds)
    world.ceph.install()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(world.kubelets)
        async with operator(world, Loop()) as running:
            await running.until(lambda: world.status().get("phase") == "Ready", "mons and mgrs")
            world.add_osds()
            await running.until(lambda: world.deployments() >= osds + 5, "Deployments of OSDs")
            await running.until(lambda: world.status().get("phase") == "Ready", "OSDs")
            await running.done()
            yield world, running
        tasks.cancel_scope.cancel()


TRIES = 5
"""Looks at a pod's event. A look that is due at the same time, at all that there is, may come in between."""


async def touch_a_pod(world: World, running: Operator, *counted: Counter[Any], is_short: Callable[[], bool]) -> None:
    """Counts what an event of a pod costs by itself."""
    for _ in range(TRIES):
        for counter in counted:
            counter.clear()
        await running.cost(lambda: world.touch_pod("rook-ceph-osd-0-0"))
        if is_short():
            return


async def test_a_pod_event_costs_two_short_questions_and_a_status_stays_small(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "rados", ModuleType("rados"))  # what the simulation replaces is put back
    async with at_rest(40) as (world, running):
        expected = {"quorum_status": 1, "status": 1}
        await touch_a_pod(world, running, world.ceph.asked, is_short=lambda: world.ceph.asked == expected)
        assert world.ceph.asked == expected
        assert status_bytes(world) < 256 << 10


async def test_what_an_event_and_an_image_cost_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rados", ModuleType("rados"))  # what the simulation replaces is put back
    decoded: Counter[str] = Counter()
    built: Counter[int] = Counter()

    def counting(view: type[Any]) -> Callable[[bytes], Any]:
        decode = decoder(view)

        def counted(data: bytes) -> Any:
            decoded[view.__name__] += 1
            return decode(data)

        return counted

    def build(spec: StorageScopeSpec, context: Context, found: Osd, *rest: Any) -> JsonObject:
        built[found.osd_id] += 1
        return osd_deployment(spec, context, found, *rest)

    monkeypatch.setattr(informer, "decoder", counting)
    monkeypatch.setattr(assess, "osd_deployment", build)
    osds = 300
    async with at_rest(osds) as (world, running):
        await touch_a_pod(world, running, decoded, built, is_short=lambda: max(decoded.values()) <= 10 and not built)
        assert max(decoded.values()) <= 10, "however many objects there are"
        assert not built, "and no Deployment is built to be compared"
        world.follows = False
        await running.cost(world.change_image, until=lambda: planned(world) > osds)
        assert set(built.values()) <= {1, 2}, "once to be compared, and once more where it is applied"
        assert decoded["Deployment"] <= osds // 2


def test_the_simulated_cluster_answers_as_ceph_does() -> None:
    ceph = SimulatedCeph(2 * OSDS_PER_NODE + 1, lambda: {"a": "10.0.0.1", "b": "10.0.0.2"})

    def asked(prefix: str) -> dict[str, object]:
        found: dict[str, object] = json.loads(ceph.answer({"prefix": prefix}))
        return found

    assert MonState.parse(asked("quorum_status")).in_quorum == {"a", "b"}
    assert MgrState.parse(asked("mgr dump")).active == "a"
    assert Health.parse(asked("status"), asked("versions")).status == "HEALTH_OK"
    assert ceph.asked.total() == 4
