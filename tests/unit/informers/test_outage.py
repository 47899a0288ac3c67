import asyncio
from itertools import pairwise

import pytest

from informers import InformerFactory, RefusedError, Resource
from informers.outage import PAUSES, SPREAD, Outage
from informers.watcher import loop_time
from tests.unit.informers.fake_api import WIDGETS, FakeApi
from tests.unit.virtual_time import now, virtual_time

WATCHERS = 10


class Server(FakeApi):
    """Notes when which request finds nobody who listens, and when all is well again."""

    def __init__(self) -> None:
        super().__init__()
        self.away = False
        self.refused: list[float] = []
        self.answered: list[float] = []

    def _admit(self, path: str, params: object) -> None:
        if self.away:
            self.refused.append(now())
            raise RefusedError("connection refused")
        self.answered.append(now())
        super()._admit(path, params)  # type: ignore[arg-type]  # the same


async def outage(seconds: float, watchers: int) -> tuple[Server, float]:
    """Watchers live through an outage. Returns the server, and when it came back."""
    server = Server()
    factory = InformerFactory(server)
    informers = [factory.informer(WIDGETS, dict, label_selector=f"number={number}") for number in range(watchers)]
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(factory.run())
        await factory.wait_synced()
        server.answered.clear()
        server.away = True
        server.cut(0)
        await asyncio.sleep(seconds)
        assert all(informer.trouble for informer in informers)
        back = now()
        server.away = False
        await asyncio.sleep(5)
        assert not any(informer.trouble for informer in informers)
        running.cancel()
    return server, back


@pytest.mark.parametrize("seconds", [0.5, 3.0, 9.0])
@virtual_time
async def test_a_restart_is_noticed_within_a_part_of_its_time(seconds: float) -> None:
    server, back = await outage(seconds, WATCHERS)
    least, most = PAUSES
    found = server.answered[0] - back
    assert found <= max(least, min(most, 0.1 * seconds)) * 1.3
    assert server.answered[WATCHERS - 1] - server.answered[0] <= SPREAD


@virtual_time
async def test_a_long_outage_is_asked_about_once_a_second_by_all_watchers_together() -> None:
    server, _ = await outage(3600, WATCHERS)
    at_length = [at for at in server.refused if at > server.refused[0] + 60]
    assert all(later - at >= PAUSES[1] for at, later in pairwise(at_length))
    assert len(at_length) > 2500, "it is asked about all the time"


@virtual_time
async def test_those_who_waited_do_not_come_back_in_one_moment() -> None:
    server, _ = await outage(3.0, WATCHERS)
    assert len(set(server.answered[:WATCHERS])) == WATCHERS


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
    server = Server()
    server.away = True
    factory = InformerFactory(server)
    widgets = factory.informer(WIDGETS, dict)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(factory.run())
        await asyncio.sleep(100)
        server.away = False
        other = factory.informer(Resource("example.org", "v2", "Widget", "widgets"), dict)
        await asyncio.sleep(0.1)
        assert other.synced
        await asyncio.sleep(0.2)
        assert widgets.synced
        running.cancel()
