"""What does not become as it is applied: let be for longer and longer, named, and put right when it can be."""

from __future__ import annotations

import asyncio
import itertools
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
import orjson
from structlog.testing import capture_logs

from controller.framework.children import altered, ensure, snapshot
from controller.framework.program import PROGRAM
from controller.runtime import Controller, Manager, Request, Result
from controller.runtime.altered import REMEMBERED, Alterations
from controller.runtime.kube import ObjectMeta
from controller.testkit import ApiServer, new_manager, running, virtual_time
from informers import Resource

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from informers import Delta, Informer, JsonObject

TOY = Resource("example.com", "v1", "Toy", "toys")

HOUR = 3600.0


class Toy(msgspec.Struct, frozen=True):
    """What the cache's user sees of one."""

    metadata: ObjectMeta


@dataclass(eq=False)
class Meddling(ApiServer):
    """A server with an admission controller that puts another image into what is applied."""

    mirror: str = "mirror/"

    def patch(self, *args: Any, **kwargs: Any) -> JsonObject:
        """See `ApiServer.patch`."""
        found = super().patch(*args, **kwargs)
        image = found["spec"].get("image", "")
        if not self.mirror or kwargs.get("subresource") or image.startswith(self.mirror):
            return found
        return super().patch(TOY, "default", "bear", {"spec": {"image": self.mirror + image}})


def bear(image: str = "bear:1") -> JsonObject:
    return {
        "apiVersion": TOY.api_version,
        "kind": TOY.kind,
        "metadata": {"namespace": "default", "name": "bear"},
        "spec": {"image": image},
    }


class Toys:
    """Applies the bear whenever it changes, if a plan says so."""

    def __init__(self, manager: Manager, toys: Informer[Toy]) -> None:
        self.wanted = bear()
        self.plans: list[int] = []
        self._manager = manager
        self._toys = toys

    async def reconcile(self, _request: Request) -> Result:
        """See `controller.runtime.Reconciler`."""
        live = await snapshot([self._toys], "default", self._manager.applier)
        steps = ensure(live, self.wanted, subject="toys")
        self.plans.append(len(steps))
        if steps:
            await self._manager.applier.apply(self.wanted)
        return Result(requeue_after=10.0)


@asynccontextmanager
async def reconciling(server: ApiServer) -> AsyncIterator[tuple[Manager, Toys, Informer[Toy]]]:
    server.serve(TOY)
    manager = new_manager(server, program=PROGRAM)
    toys = manager.informers.informer(TOY, Toy, cluster_wide=True)
    reconciler = Toys(manager, toys)
    controller = Controller("toys", reconciler)
    controller.watch(toys)
    manager.add(controller)
    controller.queue.add(Request("default", "bear"))
    with capture_logs():
        async with running(manager):
            yield manager, reconciler, toys


def applies(server: ApiServer) -> list[float]:
    return [sent.at for sent in server.requests if sent.method == "PATCH"]


@virtual_time
async def test_what_an_admission_controller_changes_is_applied_less_and_less_often() -> None:
    server = Meddling()
    async with reconciling(server) as (manager, toys, informer):
        await asyncio.sleep(10 * HOUR)
        times = applies(server)
        pauses = [after - before for before, after in itertools.pairwise(times)]
        assert 29 < pauses[0] < 41
        assert all(later > 1.7 * before for before, later in itertools.pairwise(pauses[:6]))
        assert max(pauses) < HOUR + 11
        live = await snapshot([informer], "default", manager.applier)
        assert altered(live) == ("Toy bear: spec.image is 'mirror/bear:1', wanted 'bear:1'",)
        assert orjson.loads(orjson.dumps(live["Toy", "bear"])) == informer.raw("default", "bear")
        assert sum(toys.plans) == len(times), "the plan of a look in between is empty"


@virtual_time
async def test_another_wish_is_applied_at_once() -> None:
    server = Meddling()
    async with reconciling(server) as (_, toys, _):
        await asyncio.sleep(10 * HOUR)
        before = len(applies(server))
        toys.wanted = bear("bear:2")
        await asyncio.sleep(11)
        assert server.get(TOY, "default", "bear")["spec"]["image"] == "mirror/bear:2"
        assert len(applies(server)) == before + 1


@virtual_time
async def test_it_is_put_right_when_the_admission_controller_is_gone() -> None:
    server = Meddling()
    async with reconciling(server) as (manager, _, informer):
        await asyncio.sleep(10 * HOUR)
        server.mirror = ""
        await asyncio.sleep(HOUR + 11)
        assert server.get(TOY, "default", "bear")["spec"]["image"] == "bear:1"
        assert altered(await snapshot([informer], "default", manager.applier)) == ()
        before = len(applies(server))
        await asyncio.sleep(HOUR)
        assert len(applies(server)) == before


@virtual_time
async def test_what_somebody_else_changes_beside_it_is_put_right_at_once() -> None:
    server = Meddling()
    async with reconciling(server):
        await asyncio.sleep(HOUR)
        server.patch(TOY, "default", "bear", {"spec": {"image": "evil:1"}})
        await asyncio.sleep(11)
        assert server.get(TOY, "default", "bear")["spec"]["image"] == "mirror/bear:1"


@virtual_time
async def test_drift_is_put_right_at_once() -> None:
    server = ApiServer()
    async with reconciling(server):
        for number in range(20):
            await asyncio.sleep(HOUR)
            server.patch(TOY, "default", "bear", {"spec": {"image": f"evil:{number}"}})
            await asyncio.sleep(11)
            assert server.get(TOY, "default", "bear")["spec"]["image"] == "bear:1"


@virtual_time
async def test_a_fight_with_another_writer_is_no_hot_loop() -> None:
    server = ApiServer()
    async with reconciling(server) as (manager, _, informer):

        def fight(_: Delta[Toy]) -> None:
            if server.get(TOY, "default", "bear")["spec"]["image"] != "theirs":
                server.patch(TOY, "default", "bear", {"spec": {"image": "theirs"}})

        informer.add_handler(fight)
        await asyncio.sleep(10 * HOUR)
        assert len(applies(server)) < 30
        assert altered(await snapshot([informer], "default", manager.applier)) == (
            "Toy bear: spec.image is 'theirs', wanted 'bear:1'",
        )


def test_no_more_is_remembered_than_there_can_be() -> None:
    altered_objects = Alterations()
    for number in range(3 * REMEMBERED):
        obj = ("toys", "default", str(number))
        altered_objects.note(obj, "a", left="b", change="x", again=False, now=0.0, most=2 * REMEMBERED)
    assert len(altered_objects) == 2 * REMEMBERED
    altered_objects.note(("toys", "default", str(number)), "a", left=None, change="", again=False, now=1.0, most=0)
    assert len(altered_objects) == 2 * REMEMBERED - 1, "what became as wanted is forgotten"
