"""Own writes, followed into the caches."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import anyio
import orjson
import pytest

from controller.runtime.consistency import Consistency
from controller.runtime.kube import CONFIG_MAP, POD, SERVICE, ConfigMap
from controller.runtime.reconciler import Write, current_reconcile
from controller.testkit import ApiServer, now, until, virtual_time
from informers import ApiError, Client, InformerFactory, TransportError
from informers.errors import RefusedError
from informers.transport import Api
from informers.wire import Delete, Object, Upsert
from tests.unit.runtime.following import PATIENCE, begun, caught_up, wrote


class Caches:
    """Real caches of ConfigMaps, filled by the test instead of a watch."""

    def __init__(
        self, *, label_selector: str = "", field_selector: str = "", namespaces: tuple[str, ...] | None = None
    ) -> None:
        self.factory = InformerFactory(cast("Api", None), namespaces=namespaces)
        self.informer = self.factory.informer(
            CONFIG_MAP, ConfigMap, label_selector=label_selector, field_selector=field_selector
        )
        self.consistency = Consistency(Client(ApiServer().connection()), self.factory, clock=now)
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


@virtual_time
async def test_an_answer_is_shown_at_once_and_then_nothing_has_to_be_waited_for() -> None:
    caches, reconcile = Caches(), begun()
    await caches.sync()

    wrote(caches.consistency, CONFIG_MAP, "ns", "a", config_map("a", 12))

    assert [(write.name, write.resource_version) for write in reconcile.writes] == [("a", 12)]
    assert caches.informer.get("ns", "a") is not None
    assert await caught_up(caches.consistency, reconcile.writes)
    assert now() == 0


@virtual_time
async def test_waits_until_the_cache_has_the_version() -> None:
    caches = Caches()
    await caches.sync()
    waiting = asyncio.create_task(caught_up(caches.consistency, [Write(CONFIG_MAP, "ns", "a", 12, 12)]))

    await asyncio.sleep(1)
    caches.told(11, "b")
    await asyncio.sleep(1)
    assert not waiting.done()
    caches.bookmark(12)

    assert await waiting
    assert now() == 2
    assert (sum(caches.consistency.stats.waits.counts), caches.consistency.stats.waits.total) == (1, 2.0)


@virtual_time
async def test_waits_until_a_deleted_object_is_gone() -> None:
    caches, reconcile = Caches(), begun()
    await caches.sync()
    caches.told(11, "a", uid="old")
    status = {"kind": "Status", "status": "Success", "details": {"uid": "old"}}
    wrote(caches.consistency, CONFIG_MAP, "ns", "a", status)
    waiting = asyncio.create_task(caught_up(caches.consistency, reconcile.writes))

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
    consistency = Consistency(client, factory, clock=now)
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
        assert not await caught_up(consistency, reconcile.writes)
        await until(lambda: len(services) == 0)
        assert await caught_up(consistency, reconcile.writes)
        tasks.cancel_scope.cancel()


@virtual_time
async def test_a_list_that_began_after_a_write_shows_it_though_versions_went_back() -> None:
    """The server's data was restored from a backup: the deleted object is back, and the version will not come."""
    caches, reconcile = Caches(), begun()
    await caches.sync()
    caches.told(11, "a", uid="old")
    caches.scope.begin(newest=True)
    wrote(caches.consistency, CONFIG_MAP, "ns", "b", config_map("b", 12))
    wrote(caches.consistency, CONFIG_MAP, "ns", "a", {"kind": "Status", "details": {"uid": "old"}})
    restored = [Upsert(Object("ns", "a", 3, orjson.dumps(config_map("a", 3, "old"))))]

    caches.scope.stage(restored)
    await caches.scope.commit(4)
    assert not await caught_up(caches.consistency, reconcile.writes), "it began before the writes"

    caches.scope.begin(newest=True)
    caches.scope.stage(restored)
    await caches.scope.commit(5)
    assert await caught_up(caches.consistency, reconcile.writes)


@virtual_time
async def test_an_object_that_was_made_anew_is_not_the_deleted_one() -> None:
    caches = Caches()
    await caches.sync()
    caches.told(11, "a", uid="new")

    assert await caught_up(caches.consistency, [Write(CONFIG_MAP, "ns", "a", 0, deleted_uid="old")])


@virtual_time
async def test_does_not_wait_for_a_cache_that_is_not_to_show_the_object() -> None:
    write = Write(CONFIG_MAP, "ns", "a", 12, 12)
    elsewhere, selective, unfilled = Caches(namespaces=("other",)), Caches(label_selector="app=x"), Caches()
    await elsewhere.sync()
    await selective.sync()

    for caches in (elsewhere, selective, unfilled):
        assert await caught_up(caches.consistency, [write, Write(POD, "ns", "a", 12, 12)])
    assert now() == 0


@virtual_time
async def test_waits_for_a_cache_with_selectors_that_holds_the_object() -> None:
    caches = Caches(label_selector="app=x")
    await caches.sync()
    caches.told(11, "a")
    waiting = asyncio.create_task(caught_up(caches.consistency, [Write(CONFIG_MAP, "ns", "a", 12, 12)]))

    await asyncio.sleep(1)
    assert not waiting.done()
    caches.told(12, "a", deleted=True)  # it does not match any more

    assert await waiting


@virtual_time
async def test_a_new_object_that_matches_a_selector_is_shown_at_once() -> None:
    caches, reconcile = Caches(label_selector="app=x"), begun()
    await caches.sync()

    wrote(caches.consistency, CONFIG_MAP, "ns", "a", labelled("a", 12, app="x"))
    wrote(caches.consistency, CONFIG_MAP, "ns", "b", labelled("b", 13, app="y"))

    assert caches.informer.keys() == [("ns", "a")]
    assert await caught_up(caches.consistency, reconcile.writes)
    assert now() == 0


@virtual_time
async def test_waits_for_a_cache_with_selectors_that_does_not_hold_a_matching_object_yet() -> None:
    caches = Caches(label_selector="app=x")
    await caches.sync()
    write = Write(CONFIG_MAP, "ns", "a", 12, 12, labels={"app": "x"})
    waiting = asyncio.create_task(caught_up(caches.consistency, [write]))

    await asyncio.sleep(1)
    assert not waiting.done()
    caches.told(12, "a")

    assert await waiting
    assert now() == 1


@virtual_time
async def test_waits_for_a_cache_of_which_only_the_server_can_tell_whether_it_shows_the_object() -> None:
    caches, reconcile = Caches(field_selector="data.key=value"), begun()
    await caches.sync()
    wrote(caches.consistency, CONFIG_MAP, "ns", "a", config_map("a", 12))
    assert caches.informer.keys() == []

    assert not await caught_up(caches.consistency, reconcile.writes)
    assert now() == PATIENCE
    caches.bookmark(12)
    assert await caught_up(caches.consistency, reconcile.writes)


@virtual_time
async def test_waits_for_the_later_write_of_an_object_that_a_cache_learns_of_by_the_earlier_one() -> None:
    caches = Caches(label_selector="app=x")
    await caches.sync()
    writes = [Write(CONFIG_MAP, "ns", "a", 11, 11, labels={"app": "x"}), Write(CONFIG_MAP, "ns", "a", 12, 12)]
    waiting = asyncio.create_task(caught_up(caches.consistency, writes))

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

    wrote(caches.consistency, CONFIG_MAP, "ns", "a", config_map("a", 12))

    assert caches.informer.get("ns", "a") is not None


@virtual_time
async def test_a_write_that_was_refused_is_none() -> None:
    caches, reconcile = Caches(), begun()
    await caches.sync()

    wrote(caches.consistency, CONFIG_MAP, "ns", "a", None)

    assert reconcile.writes == []


@virtual_time
async def test_who_waits_no_more_leaves_nothing_behind() -> None:
    caches = Caches()
    await caches.sync()

    for _ in range(100):
        with anyio.move_on_after(1.0):
            await caches.scope.reached(50)

    assert not caches.scope._waiters


class Followed:
    """A server, a client whose writes are followed, and a cache of ConfigMaps behind another connection."""

    def __init__(self) -> None:
        self.server = ApiServer(namespaces=("ns",))
        self.connection = self.server.connection()
        self.client = Client(self.connection)
        self.factory = InformerFactory(self.server.client())
        self.informer = self.factory.informer(CONFIG_MAP, ConfigMap)
        self.consistency = Consistency(self.client, self.factory, clock=now)
        (self.scope,) = self.informer.cache.scopes.values()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.factory.run)
            tasks.start_soon(self.consistency.run)
            await self.factory.wait_synced()
            yield
            tasks.cancel_scope.cancel()

    async def create(self, name: str, *, deadline: float = 30.0) -> None:
        await self.client.create(CONFIG_MAP, {"metadata": {"namespace": "ns", "name": name}}, deadline=deadline)

    @property
    def asked(self) -> int:
        """How often the collection's version was read."""
        return sum(sent.params.get("limit") == "1" for sent in self.server.requests)


@virtual_time
async def test_of_a_write_without_an_answer_the_object_stands_for_the_answer() -> None:
    followed = Followed()
    async with followed.running():
        reconcile = begun()
        followed.server.stall()
        followed.connection.late = 5.0
        with pytest.raises(TransportError):
            await followed.create("a", deadline=1.0)
        followed.connection.late = 0.0

        assert await caught_up(followed.consistency, reconcile.writes, within=1)
        assert followed.informer.get("ns", "a") is not None
        assert followed.asked == 0


@virtual_time
async def test_what_was_not_carried_out_holds_up_nothing() -> None:
    followed = Followed()
    followed.server.create(CONFIG_MAP, {"metadata": {"namespace": "ns", "name": "there"}})
    async with followed.running():
        followed.server.stall()
        for name in ("there", "missing"):
            reconcile = begun()
            followed.server.refusals.append(ApiError(500, "InternalError", "failed calling webhook"))
            with pytest.raises(ApiError):
                await followed.client.patch(CONFIG_MAP, "ns", name, {}, content_type="application/merge-patch+json")

            assert await caught_up(followed.consistency, reconcile.writes, within=1)


@virtual_time
async def test_what_is_gone_has_to_be_gone_from_the_cache() -> None:
    followed = Followed()
    followed.server.create(CONFIG_MAP, {"metadata": {"namespace": "ns", "name": "a"}})
    async with followed.running():
        reconcile = begun()
        followed.server.stall()
        followed.connection.late = 5.0
        with pytest.raises(TransportError):
            await followed.client.delete(CONFIG_MAP, "ns", "a", deadline=1.0)
        followed.connection.late = 0.0

        assert not await caught_up(followed.consistency, reconcile.writes, within=20)
        assert followed.informer.get("ns", "a") is not None
        assert await caught_up(followed.consistency, reconcile.writes, within=200)
        assert followed.informer.get("ns", "a") is None


@pytest.mark.parametrize("readable", [True, False])
@virtual_time
async def test_without_a_name_or_the_right_to_read_it_the_caches_have_to_get_to_what_the_server_has(
    readable: bool,
) -> None:
    followed = Followed()
    async with followed.running():
        reconcile = begun()
        followed.server.stall()
        followed.connection.late = 5.0
        metadata = {"namespace": "ns", "generateName": "a-"} if readable else {"namespace": "ns", "name": "a-b"}
        with pytest.raises(TransportError):
            await followed.client.create(CONFIG_MAP, {"metadata": metadata}, deadline=1.0)
        followed.connection.late = 0.0
        if not readable:
            followed.server.refusals.append(ApiError(403, "Forbidden", "no"))

        assert not await caught_up(followed.consistency, reconcile.writes, within=20)
        assert len(followed.informer) == 0
        assert await caught_up(followed.consistency, reconcile.writes, within=200)
        assert len(followed.informer) == 1
        assert followed.asked == 1


@virtual_time
async def test_a_write_that_was_cancelled_has_no_answer_either() -> None:
    followed = Followed()
    async with followed.running():
        reconcile = begun()
        followed.server.stall()
        followed.connection.late = 5.0
        with anyio.move_on_after(1.0):
            await followed.create("a")
        followed.connection.late = 0.0

        assert await caught_up(followed.consistency, reconcile.writes, within=1)
        assert followed.informer.get("ns", "a") is not None


@pytest.mark.parametrize(
    ("error", "undecided"),
    [
        (ApiError(409, "Conflict", "changed"), False),
        (ApiError(403, "Forbidden", "no"), False),
        (ApiError(422, "Invalid", "no"), False),
        (ApiError(408, "Timeout", "slow"), True),
        (ApiError(500, "InternalError", "etcdserver: request timed out"), True),
        (ApiError(504, "Timeout", "slow"), True),
        (RefusedError("connection refused"), False),
        (TransportError("broken"), True),
    ],
)
def test_which_errors_say_that_nothing_was_written(error: ApiError | TransportError, undecided: bool) -> None:
    @virtual_time
    async def run() -> None:
        followed = Followed()
        async with followed.running():
            reconcile = begun()
            followed.server.refusals.append(error)
            with pytest.raises(type(error)):
                await followed.create("a")

            assert [write.resource_version for write in reconcile.writes] == [None] * undecided
            assert await caught_up(followed.consistency, reconcile.writes, within=100)

    run()


@virtual_time
async def test_the_version_is_asked_for_until_it_is_known() -> None:
    followed = Followed()
    async with followed.running():
        reconcile = begun()
        followed.connection.cut_off()
        with pytest.raises(TransportError):
            await followed.create("a", deadline=1.0)
        assert not await caught_up(followed.consistency, reconcile.writes, within=60)

        followed.connection.mend()
        assert await caught_up(followed.consistency, reconcile.writes, within=60)


@virtual_time
async def test_the_answer_of_a_subresource_does_not_say_what_became_of_the_object() -> None:
    followed = Followed()
    async with followed.running():
        reconcile = begun()
        followed.server.create(CONFIG_MAP, {"metadata": {"namespace": "ns", "name": "a"}})
        followed.server.stall()
        scale = {"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"namespace": "ns", "name": "a"}}
        wrote(followed.consistency, CONFIG_MAP, "ns", "a", scale)

        assert [write.resource_version for write in reconcile.writes] == [None]
        assert await caught_up(followed.consistency, reconcile.writes, within=1)
        assert followed.informer.get("ns", "a") is not None


@virtual_time
async def test_what_others_have_changed_since_is_no_sign_of_a_restore() -> None:
    followed = Followed()
    async with followed.running():
        reconcile = begun()
        followed.connection.late = 1.0
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(followed.create, "a")
            tasks.start_soon(followed.create, "b")
            await until(lambda: len(followed.informer) == 2)
            followed.server.delete(CONFIG_MAP, "ns", "a")
            followed.server.patch(CONFIG_MAP, "ns", "b", {"data": {"x": "1"}})
            await until(lambda: len(followed.informer) == 1)

        assert await caught_up(followed.consistency, reconcile.writes, within=3.0)
        assert followed.asked == 1
        assert followed.informer.cache.stats.lists == 1


@virtual_time
async def test_a_restore_from_a_backup_is_found_by_the_first_own_write_that_is_behind_the_cache() -> None:
    followed = Followed()
    async with followed.running():
        version = followed.server.storage.version
        for number in range(20):
            followed.server.create(CONFIG_MAP, {"metadata": {"namespace": "ns", "name": f"x{number}"}})
        await until(lambda: len(followed.informer) == 20)
        followed.server.restore(version)
        await asyncio.sleep(1)
        reconcile, started = begun(), now()

        await followed.create("mine")

        assert await caught_up(followed.consistency, reconcile.writes, within=100)
        assert followed.informer.keys() == [("ns", "mine")]
        assert now() - started < 5
