"""Applies, prunes and snapshots of any number of children let everything else on the event loop have its turns."""

from __future__ import annotations

import msgspec
from structlog.testing import capture_logs

from controller.framework.children import snapshot
from controller.runtime.kube import ObjectMeta
from controller.testkit import ApiServer, new_manager, running, virtual_time
from informers import JsonObject, Resource
from tests.turns import LOOKS, counted_turns

TOY = Resource("example.com", "v1", "Toy", "toys")

NUMBER = 500


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
