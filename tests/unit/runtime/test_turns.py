"""Applies, prunes and snapshots of any number of children let everything else on the event loop have its turns."""

from __future__ import annotations

import asyncio

import anyio
import msgspec
from structlog.testing import capture_logs

from controller.framework.children import snapshot
from controller.runtime import Controller, Request, Result
from controller.runtime.kube import ObjectMeta
from controller.testkit import ApiServer, new_manager, running, virtual_time
from informers import InformerFactory, JsonObject, Resource
from tests.turns import LOOKS, counted_turns

TOY = Resource("example.com", "v1", "Toy", "toys")

NUMBER = 500


class Nothing:
    """Does nothing."""

    async def reconcile(self, _request: Request) -> Result:
        """See `controller.runtime.Reconciler`."""
        return Result()


class Toy(msgspec.Struct, frozen=True):
    """What the cache's user sees of one."""

    metadata: ObjectMeta


def toy(number: int) -> JsonObject:
    return {
        "apiVersion": TOY.api_version,
        "kind": TOY.kind,
        "metadata": {
            "namespace": "default",
            "name": f"toy-{number}",
            "labels": {"app": "toys"},
            "ownerReferences": [{"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": "1"}],
        },
        "spec": {"size": 1},
    }


@virtual_time
async def test_an_object_that_stands_for_many_requests_enqueues_them_in_slices() -> None:
    server = ApiServer()
    server.serve(TOY)
    factory = InformerFactory(server.client())
    informer = factory.informer(TOY, Toy)
    controller = Controller("toys", Nothing())
    controller.watch(informer, lambda _: (Request("default", str(number)) for number in range(NUMBER)))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(factory.run)
        await factory.wait_synced()
        async with counted_turns() as had:
            server.create(TOY, toy(1))
            for _ in range(100 * NUMBER):
                if len(controller.queue) < NUMBER:
                    await asyncio.sleep(0)
            assert len(controller.queue) == NUMBER
            assert had[0] >= NUMBER // LOOKS - 1
        tasks.cancel_scope.cancel()


@virtual_time
async def test_work_on_many_children_is_done_in_slices() -> None:
    server = ApiServer(collects=False)
    server.serve(TOY)
    manager = new_manager(server)
    informer = manager.informers.informer(TOY, Toy)
    with capture_logs():
        async with running(manager):
            for number in range(NUMBER):
                await manager.applier.apply(toy(number))
            async with counted_turns() as had:
                for number in range(NUMBER):
                    assert not await manager.applier.apply(toy(number))
                assert had[0] >= NUMBER // LOOKS - 1
            async with counted_turns() as had:
                assert len(await snapshot([informer], "default", manager.applier)) == NUMBER
                assert had[0] >= NUMBER // LOOKS - 1
            async with counted_turns() as had:
                keep = {f"toy-{number}" for number in range(NUMBER)}
                labels = {"app": "toys"}
                found = await manager.applier.prune(informer, "default", labels=labels, owner_uid="1", keep=keep)
                assert found == []
                assert had[0] >= NUMBER // LOOKS - 1
