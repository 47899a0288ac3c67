import asyncio
from itertools import pairwise
from typing import NamedTuple

import pytest

from controller.testkit import now, virtual_time
from informers import Resource
from informers.outage import PAUSES, SPREAD, Outage
from informers.watcher import loop_time
from tests.unit.informers.widgets import WIDGETS, WidgetServer

WATCHERS = 10


class Seen(NamedTuple):
    """When requests were refused, when the server came back, and when requests were answered then."""

    refused: list[float]
    back: float
    answered: list[float]


async def outage(seconds: float) -> Seen:
    """Watchers live through an outage."""
    server = WidgetServer()
    factory = server.factory()
    informers = [factory.informer(WIDGETS, dict, label_selector=f"number={number}") for number in range(WATCHERS)]
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(factory.run())
        await factory.wait_synced()
        server.requests.clear()
        server.stop()
        await asyncio.sleep(seconds)
        assert all(informer.trouble for informer in informers)
        back = now()
        server.start()
        await asyncio.sleep(5)
        assert not any(informer.trouble for informer in informers)
        running.cancel()
    times = [sent.at for sent in server.requests]
    return Seen([at for at in times if at < back], back, [at for at in times if at >= back])


@pytest.mark.parametrize("seconds", [0.5, 3.0, 9.0])
@virtual_time
async def test_a_restart_is_noticed_within_a_part_of_its_time(seconds: float) -> None:
    seen = await outage(seconds)
    least, most = PAUSES
    assert seen.answered[0] - seen.back <= max(least, min(most, 0.1 * seconds)) * 1.3
    assert seen.answered[WATCHERS - 1] - seen.answered[0] <= SPREAD


@virtual_time
async def test_a_long_outage_is_asked_about_once_a_second_by_all_watchers_together() -> None:
    seen = await outage(3600)
    at_length = [at for at in seen.refused if at > seen.refused[0] + 60]
    assert all(later - at >= PAUSES[1] for at, later in pairwise(at_length))
    assert len(at_length) > 2500, "it is asked about all the time"


@virtual_time
async def test_those_who_waited_do_not_come_back_in_one_moment() -> None:
    seen = await outage(3.0)
    assert len(set(seen.answered[:WATCHERS])) == WATCHERS


@virtual_time
async def test_a_turn_that_is_given_up_holds_nobody_up() -> None:
    outage = Outage(loop_time, lambda: 0.5)

    async def hang() -> None:
        await outage.turn()
        await asyncio.sleep(1000)

    async with asyncio.TaskGroup() as tasks:
        hanging = tasks.create_task(hang())
        began = now()
        await asyncio.sleep(0.01)
        await outage.turn()
        hanging.cancel()
        await outage.turn()
        assert now() - began < 1


@virtual_time
async def test_another_outage_begins_with_short_pauses() -> None:
    outage = Outage(loop_time, lambda: 0.0)
    for _ in range(100):
        await outage.turn()
    outage.over()
    began = now()
    await outage.turn()
    assert now() - began == pytest.approx(PAUSES[0])


@virtual_time
async def test_a_watcher_of_another_resource_is_not_held_up_by_an_outage_that_is_over() -> None:
    server = WidgetServer()
    other_version = Resource("example.org", "v2", "Widget", "widgets")
    server.serve(other_version)
    server.stop()
    factory = server.factory()
    widgets = factory.informer(WIDGETS, dict)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(factory.run())
        await asyncio.sleep(100)
        server.start()
        other = factory.informer(other_version, dict)
        await asyncio.sleep(0.1)
        assert other.synced
        await asyncio.sleep(0.2)
        assert widgets.synced
        running.cancel()
