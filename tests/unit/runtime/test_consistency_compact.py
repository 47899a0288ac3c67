"""Own deletions, followed into a cache that holds protobuf."""

import asyncio
from typing import Any, cast

import anyio

from controller.runtime.consistency import Consistency
from controller.runtime.kube import CONFIG_MAP, ConfigMap
from controller.runtime.reconciler import Write
from controller.testkit import ApiServer
from controller.testkit import protobuf as server
from informers import Client, InformerFactory, protobuf
from informers.client import Api
from informers.wire import Delete, Upsert
from tests.unit.runtime.following import caught_up

KIND = "v1/ConfigMap"


def told(event: str, version: int, uid: str) -> Any:
    """What the watch tells of the object."""
    metadata = {"namespace": "ns", "name": "a", "uid": uid, "resourceVersion": str(version)}
    content = server.encode({"metadata": metadata}, KIND)
    (found,) = protobuf.Splitter().feed(server.frame(event, content, KIND))
    change = protobuf.event(found)
    assert isinstance(change, Upsert | Delete)
    return change


async def test_waits_until_a_deleted_object_is_gone_and_not_for_the_one_that_takes_its_name() -> None:
    factory = InformerFactory(cast("Api", None))
    informer = factory.informer(CONFIG_MAP, ConfigMap, compact=True)
    consistency = Consistency(Client(ApiServer().connection()), factory)
    (scope,) = informer.cache.scopes.values()
    scope.begin(newest=True)
    scope.stage([told("ADDED", 9, "old")])
    await scope.commit(10)
    deletion = [Write(CONFIG_MAP, "ns", "a", 0, deleted_uid="old")]

    with anyio.fail_after(60):
        waiting = asyncio.create_task(caught_up(consistency, deletion))
        await asyncio.sleep(0)
        assert not waiting.done()
        scope.apply([told("DELETED", 11, "old")], 11)
        assert await waiting
        scope.apply([told("ADDED", 12, "new")], 12)
        assert await caught_up(consistency, deletion)
