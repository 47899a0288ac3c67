"""Schedules in the life of a cluster: Operations at their times, one at a time, and as many as are to be kept."""

from __future__ import annotations

import asyncio
import itertools
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from controller.apis.cassandra import CassandraOperationSchedule
from controller.cassandra.cluster.observe import OPERATIONS, SCHEDULES
from controller.cassandra.operation.schedule import DUE_ANNOTATION
from controller.testkit import virtual_time
from tests.unit.cassandra.life import NAME, Life, living, operator, spec
from tests.unit.cassandra.world import NAMESPACE

if TYPE_CHECKING:
    from informers import JsonObject

SHOP = {"cluster": NAME, "repair": {"keyspaces": ["shop"]}}


def schedule(life: Life, when: str = "*/10 * * * *", **more: Any) -> None:
    meta = {"name": "often", "namespace": NAMESPACE}
    wanted = {"schedule": when, "operation": SHOP, "history": {"succeeded": 3, "failed": 1}, **more}
    life.server.create(SCHEDULES, {"metadata": meta, "spec": wanted})


def status(life: Life) -> Any:
    return msgspec.convert(life.server.get(SCHEDULES, NAMESPACE, "often"), CassandraOperationSchedule).status


def made(life: Life) -> list[JsonObject]:
    """The Operations, the oldest first."""
    return sorted(life.server.list(OPERATIONS, NAMESPACE), key=lambda o: int(o["metadata"]["name"].split("-")[1]))


async def ring(life: Life) -> None:
    life.create(spec(a=2))
    await life.ready()


@virtual_time
async def test_operations_are_made_at_their_times_and_the_last_ones_are_kept() -> None:
    async with living() as life:
        await ring(life)
        schedule(life)
        assert made(life) == []
        await asyncio.sleep(3600)

        found = made(life)
        assert [o["status"]["phase"] for o in found] == ["Succeeded"] * 3
        minutes = [int(o["metadata"]["name"].removeprefix("often-")) for o in found]
        assert [minute % 10 for minute in minutes] == [0, 0, 0]
        assert [b - a for a, b in itertools.pairwise(minutes)] == [10, 10]
        (last,) = found[-1:]
        assert last["spec"] == SHOP
        due = datetime.fromisoformat(last["metadata"]["annotations"][DUE_ANNOTATION])
        assert due.timestamp() == minutes[-1] * 60
        assert last["metadata"]["ownerReferences"][0]["kind"] == "OperationSchedule"
        told = status(life)
        assert told.last_scheduled == last["metadata"]["annotations"][DUE_ANNOTATION]
        assert told.last_succeeded == last["status"]["completed"]
        assert told.next > told.last_scheduled
        assert told.phase == "Ready"
        assert told.active == ()


@virtual_time
async def test_one_that_is_due_waits_for_the_one_under_way_and_is_made_then() -> None:
    async with living() as life:
        await ring(life)
        life.world.stuck.add("store-dc1-a-0")
        schedule(life)
        await asyncio.sleep(2400)
        (first,) = made(life)
        name = first["metadata"]["name"]
        assert status(life).active == (name,)
        assert status(life).message == f"the next Operation: it is due; waits for {name} to end"
        life.world.stuck.clear()
        life.world.kill("store-dc1-a-0")
        await life.ended(name)
        await asyncio.sleep(60)

        assert len(made(life)) == 2


@virtual_time
async def test_an_operator_that_was_away_makes_up_for_the_last_one_alone() -> None:
    async with living(operated=False) as life:
        async with operator(life):
            await ring(life)
            schedule(life)
            await asyncio.sleep(5)
        await asyncio.sleep(3600)
        async with operator(life):
            await asyncio.sleep(60)

        assert len(made(life)) == 1


@virtual_time
async def test_a_schedule_that_is_suspended_makes_none() -> None:
    async with living() as life:
        await ring(life)
        schedule(life, suspend=True)
        await asyncio.sleep(3600)
        assert made(life) == []
        assert status(life).message == "spec.suspend is true: no Operation is made"
        life.server.patch(SCHEDULES, NAMESPACE, "often", {"spec": {"suspend": False}})
        await asyncio.sleep(60)
        assert len(made(life)) == 1


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"when": "every day"}, 'spec.schedule is "every day": it has to have five fields'),
        ({"timeZone": "Mars"}, "spec.timeZone is Mars: no such time zone is known"),
    ],
)
@virtual_time
async def test_a_schedule_that_means_nothing_says_so(wrong: dict[str, str], message: str) -> None:
    async with living() as life:
        schedule(life, **wrong)
        await life_settles(life)
        assert status(life).phase == "Failure"
        assert status(life).message.startswith(message)
        assert made(life) == []


async def life_settles(life: Life) -> None:
    for _ in range(100):
        await asyncio.sleep(1)
        if status(life).phase:
            return


@virtual_time
async def test_the_operations_of_a_schedule_go_with_it() -> None:
    async with living() as life:
        await ring(life)
        life.world.stuck.add("store-dc1-a-0")
        schedule(life)
        await asyncio.sleep(1200)
        assert len(made(life)) == 1
        life.server.delete(SCHEDULES, NAMESPACE, "often")
        await asyncio.sleep(300)

        assert made(life) == []


@virtual_time
async def test_the_cluster_tells_when_it_was_repaired_and_that_it_is_in_time() -> None:
    async with living() as life:
        await ring(life)
        assert life.condition("RepairOverdue") == ("", "", "")
        schedule(life)
        await asyncio.sleep(900)

        (last,) = made(life)
        assert life.cluster.status.repairs == {"shop": last["status"]["started"]}
        assert life.condition("RepairOverdue")[0] == "False"
        life.server.delete(SCHEDULES, NAMESPACE, "often")
        await asyncio.sleep(60)
        assert life.condition("RepairOverdue") == ("", "", "")
        assert "shop" in life.cluster.status.repairs
