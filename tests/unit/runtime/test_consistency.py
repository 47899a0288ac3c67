"""Own writes, followed into the caches."""

import asyncio
from typing import Any, cast

import anyio
import orjson

from controller.runtime.consistency import WAIT, Consistency
from controller.runtime.kube import CONFIG_MAP, POD, SERVICE, ConfigMap
from controller.runtime.reconciler import Reconcile, Request, Write, current_reconcile
from controller.testkit import ApiServer, now, until, virtual_time
from informers import InformerFactory
from informers.client import Api
from informers.wire import Delete, Object, Upsert


class Caches:
    """Real caches of ConfigMaps, filled by the test instead of a watch."""

    def __init__(
        self, *, label_selector: str = "", field_selector: str = "", namespaces: tuple[str, ...] | None = None
    ) -> None:
        self.factory = InformerFactory(cast("Api", None), namespaces=namespaces)
        self.informer = self.factory.informer(
            CONFIG_MAP, ConfigMap, label_selector=label_selector, field_selector=field_selector
        )
        self.consistency = Consistency(self.factory, clock=now)
        (self.scope,) = self.informer.cache.scopes.values()

    async def sync(self, version: int = 10) -> None:
        self.scope.begin(newest=True)
        await self.scope.commit(version)

    def told(self, version: int, name: str, *, uid: str = "u", deleted: bool = False) -> None:
        found = Object("ns", name, version, orjson.dumps(config_map(name, version, uid)))
        self.scope.apply([Delete(found) if deleted else Upsert(found)], version)

    def bookmark(self, version: int) -> None:
        self.scope.apply([], version)


def config_map(name: str, version: int, uid: str = "u") -> dict[str, Any]:
    metadata = {"namespace": "ns", "name": name, "uid": uid, "resourceVersion": str(version)}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}


def labelled(name: str, version: int, **labels: str) -> dict[str, Any]:
    obj = config_map(name, version)
    obj["metadata"]["labels"] = labels
    return obj


def begun() -> Reconcile:
    reconcile = Reconcile("c", Request("ns", "a"), 1)
    current_reconcile.set(reconcile)
    return reconcile


@virtual_time
async def test_an_answer_is_shown_at_once_and_then_nothing_has_to_be_waited_for() -> None:
    caches, reconcile = Caches(), begun()
    await caches.sync()

    caches.consistency.note(CONFIG_MAP, "ns", "a", config_map("a", 12))

    assert reconcile.writes == [Write(CONFIG_MAP, "ns", "a", 12)]
    assert caches.informer.get("ns", "a") is not None
    assert await caches.consistency.caught_up(reconcile.writes)
    assert now() == 0


@virtual_time
async def test_waits_until_the_cache_has_the_version() -> None:
    caches = Caches()
    await caches.sync()
    waiting = asyncio.create_task(caches.consistency.caught_up([Write(CONFIG_MAP, "ns", "a", 12)]))

    await asyncio.sleep(1)
    caches.told(11, "b")
    await asyncio.sleep(1)
    assert not waiting.done()
    caches.bookmark(12)

    assert await waiting
    assert now() == 2
    assert caches.consistency.stats.waits["success"].count == 1


@virtual_time
async def test_gives_up_after_a_while() -> None:
    caches = Caches()
    await caches.sync()

    assert not await caches.consistency.caught_up([Write(CONFIG_MAP, "ns", "a", 12)])
    assert now() == WAIT
    assert caches.consistency.stats.waits["timeout"].count == 1


@virtual_time
async def test_waits_until_a_deleted_object_is_gone() -> None:
    caches, reconcile = Caches(), begun()
    await caches.sync()
    caches.told(11, "a", uid="old")
    status = {"kind": "Status", "status": "Success", "details": {"uid": "old"}}
    caches.consistency.note(CONFIG_MAP, "ns", "a", status)
    waiting = asyncio.create_task(caches.consistency.caught_up(reconcile.writes))

    await asyncio.sleep(1)
    caches.told(12, "b")
    await asyncio.sleep(1)
    assert not waiting.done()
    caches.told(13, "a", uid="old", deleted=True)

    assert await waiting


@virtual_time
async def test_waits_until_an_object_is_gone_whose_deletion_answers_with_it() -> None:
    server = ApiServer()
    client = server.client()
    factory = InformerFactory(client)
    services = factory.informer(SERVICE, dict)
    consistency = Consistency(factory, clock=now)
    client.on_write = consistency.note
    seen: list[str] = []
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(factory.run)
        await factory.wait_synced()
        server.create(SERVICE, {"metadata": {"namespace": "default", "name": "a"}})
        await until(lambda: len(services) == 1)
        services.add_handler(lambda delta: seen.append(delta.type))
        server.stall()
        reconcile = begun()

        await client.delete(SERVICE, "default", "a")

        assert seen == ["added"], "it was not updated"
        assert not await consistency.caught_up(reconcile.writes)
        await until(lambda: len(services) == 0)
        assert await consistency.caught_up(reconcile.writes)
        tasks.cancel_scope.cancel()


@virtual_time
async def test_a_list_that_began_after_a_write_shows_it_though_versions_went_back() -> None:
    """The server's data was restored from a backup: the deleted object is back, and the version will not come."""
    caches, reconcile = Caches(), begun()
    await caches.sync()
    caches.told(11, "a", uid="old")
    caches.scope.begin(newest=True)
    caches.consistency.note(CONFIG_MAP, "ns", "b", config_map("b", 12))
    caches.consistency.note(CONFIG_MAP, "ns", "a", {"kind": "Status", "details": {"uid": "old"}})
    restored = [Upsert(Object("ns", "a", 3, orjson.dumps(config_map("a", 3, "old"))))]

    caches.scope.stage(restored)
    await caches.scope.commit(4)
    assert not await caches.consistency.caught_up(reconcile.writes), "it began before the writes"

    caches.scope.begin(newest=True)
    caches.scope.stage(restored)
    await caches.scope.commit(5)
    assert await caches.consistency.caught_up(reconcile.writes)


@virtual_time
async def test_an_object_that_was_made_anew_is_not_the_deleted_one() -> None:
    caches = Caches()
    await caches.sync()
    caches.told(11, "a", uid="new")

    assert await caches.consistency.caught_up([Write(CONFIG_MAP, "ns", "a", 0, deleted_uid="old")])


@virtual_time
async def test_does_not_wait_for_a_cache_that_is_not_to_show_the_object() -> None:
    write = Write(CONFIG_MAP, "ns", "a", 12)
    elsewhere, selective, unfilled = Caches(namespaces=("other",)), Caches(label_selector="app=x"), Caches()
    await elsewhere.sync()
    await selective.sync()

    for caches in (elsewhere, selective, unfilled):
        assert await caches.consistency.caught_up([write, Write(POD, "ns", "a", 12)])
    assert now() == 0


@virtual_time
async def test_waits_for_a_cache_with_selectors_that_holds_the_object() -> None:
    caches = Caches(label_selector="app=x")
    await caches.sync()
    caches.told(11, "a")
    waiting = asyncio.create_task(caches.consistency.caught_up([Write(CONFIG_MAP, "ns", "a", 12)]))

    await asyncio.sleep(1)
    assert not waiting.done()
    caches.told(12, "a", deleted=True)  # it does not match any more

    assert await waiting


@virtual_time
async def test_a_new_object_that_matches_a_selector_is_shown_at_once() -> None:
    caches, reconcile = Caches(label_selector="app=x"), begun()
    await caches.sync()

    caches.consistency.note(CONFIG_MAP, "ns", "a", labelled("a", 12, app="x"))
    caches.consistency.note(CONFIG_MAP, "ns", "b", labelled("b", 13, app="y"))

    assert caches.informer.keys() == [("ns", "a")]
    assert await caches.consistency.caught_up(reconcile.writes)
    assert now() == 0


@virtual_time
async def test_waits_for_a_cache_with_selectors_that_does_not_hold_a_matching_object_yet() -> None:
    caches = Caches(label_selector="app=x")
    await caches.sync()
    write = Write(CONFIG_MAP, "ns", "a", 12, labels={"app": "x"})
    waiting = asyncio.create_task(caches.consistency.caught_up([write]))

    await asyncio.sleep(1)
    assert not waiting.done()
    caches.told(12, "a")

    assert await waiting
    assert now() == 1


@virtual_time
async def test_waits_for_a_cache_of_which_only_the_server_can_tell_whether_it_shows_the_object() -> None:
    caches, reconcile = Caches(field_selector="data.key=value"), begun()
    await caches.sync()
    caches.consistency.note(CONFIG_MAP, "ns", "a", config_map("a", 12))
    assert caches.informer.keys() == []

    assert not await caches.consistency.caught_up(reconcile.writes)
    assert now() == WAIT
    caches.bookmark(12)
    assert await caches.consistency.caught_up(reconcile.writes)


@virtual_time
async def test_waits_for_the_later_write_of_an_object_that_a_cache_learns_of_by_the_earlier_one() -> None:
    caches = Caches(label_selector="app=x")
    await caches.sync()
    writes = [Write(CONFIG_MAP, "ns", "a", 11, labels={"app": "x"}), Write(CONFIG_MAP, "ns", "a", 12)]
    waiting = asyncio.create_task(caches.consistency.caught_up(writes))

    await asyncio.sleep(1)
    caches.told(11, "a")
    await asyncio.sleep(1)
    assert not waiting.done()
    caches.told(12, "a", deleted=True)  # without the label it does not match any more

    assert await waiting


@virtual_time
async def test_writes_outside_of_a_reconcile_are_shown_too() -> None:
    current_reconcile.set(None)
    caches = Caches()
    await caches.sync()

    caches.consistency.note(CONFIG_MAP, "ns", "a", config_map("a", 12))

    assert caches.informer.get("ns", "a") is not None
