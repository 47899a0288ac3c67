"""What is written or deleted: the object that it is about, whatever has become of its name or owners since."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import msgspec
import pytest

from controller.runtime import Manager
from controller.runtime.apply import CONFLICTS
from controller.runtime.kube import ObjectMeta
from controller.testkit import ApiServer, new_manager, running, virtual_time
from informers import ApiError, Resource

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from informers import JsonObject


class Toy(msgspec.Struct, frozen=True):
    """What the cache's user sees of one."""

    metadata: ObjectMeta


TOY = Resource("example.com", "v1", "Toy", "toys")


def create(server: ApiServer) -> str:
    """Its uid."""
    made = server.create(TOY, {"metadata": {"namespace": "default", "name": "bear"}, "spec": {"size": 1}})
    return str(made["metadata"]["uid"])


@asynccontextmanager
async def over(server: ApiServer) -> AsyncIterator[Manager]:
    """A manager whose cache has the toys as they are now, and sees no change from now on."""
    manager = new_manager(server)
    manager.informers.informer(TOY, Toy, cluster_wide=True)
    async with running(manager):
        server.stall()
        yield manager


async def apply_status(manager: Manager, uid: str, status: JsonObject | None = None) -> bool:
    wanted = {"phase": "Ready"} if status is None else status
    return await manager.applier.apply_status(TOY, "default", "bear", wanted, uid=uid)


def bear(server: ApiServer) -> JsonObject:
    return server.get(TOY, "default", "bear")


def toys(*, collects: bool = True) -> ApiServer:
    server = ApiServer(collects=collects)
    server.serve(TOY)
    return server


@virtual_time
async def test_one_that_was_made_anew_does_not_get_the_status_of_the_one_before() -> None:
    server = toys()
    uid = create(server)
    async with over(server) as manager:
        server.delete(TOY, "default", "bear")
        create(server)
        assert not await apply_status(manager, uid)
        assert "status" not in bear(server)


@virtual_time
async def test_nor_where_the_cache_shows_it_already() -> None:
    server = toys()
    uid = create(server)
    server.delete(TOY, "default", "bear")
    create(server)
    async with over(server) as manager:
        assert not await apply_status(manager, uid)
        assert "status" not in bear(server)


@virtual_time
async def test_one_that_is_gone_is_no_error() -> None:
    server = toys()
    uid = create(server)
    async with over(server) as manager:
        server.delete(TOY, "default", "bear")
        assert not await apply_status(manager, uid)


@virtual_time
async def test_an_edit_that_the_cache_does_not_show_yet_is_no_conflict() -> None:
    server = toys()
    uid = create(server)
    async with over(server) as manager:
        server.patch(TOY, "default", "bear", {"spec": {"size": 2}})
        assert await apply_status(manager, uid)
        assert bear(server)["status"] == {"phase": "Ready"}
        assert bear(server)["spec"] == {"size": 2}


@virtual_time
async def test_a_map_that_loses_all_that_was_in_it_goes() -> None:
    server = toys()
    uid = create(server)
    async with over(server) as manager:
        assert await apply_status(
            manager, uid, {"phase": "Ready", "sync": {"from": {"zone": "a"}}, "nodes": [{"at": {}}]}
        )
        assert bear(server)["status"] == {"phase": "Ready", "sync": {"from": {"zone": "a"}}, "nodes": [{}]}
        assert await apply_status(manager, uid, {"phase": "Ready", "sync": {"from": {}}})
        assert bear(server)["status"] == {"phase": "Ready"}


@virtual_time
async def test_one_that_changes_all_the_time_is_given_up() -> None:
    server = toys()
    uid = create(server)
    async with over(server) as manager:
        server.patch(TOY, "default", "bear", {"spec": {"size": 2}})
        get = manager.client.get
        reads = 0

        async def changing(resource: Resource, namespace: str, name: str, *, deadline: float) -> JsonObject:
            nonlocal reads
            reads += 1
            found = await get(resource, namespace, name, deadline=deadline)
            server.patch(TOY, "default", "bear", {"spec": {"size": 2 + reads}})
            return found

        manager.client.get = changing  # type: ignore[method-assign,assignment]
        with pytest.raises(ApiError) as caught:
            await apply_status(manager, uid)
        assert caught.value.is_conflict
        assert reads == CONFLICTS


def owner(uid: str) -> JsonObject:
    return {"apiVersion": "example.com/v1", "kind": "Toy", "name": f"owner-{uid}", "uid": uid}


def child(server: ApiServer, *owners: str) -> None:
    metadata = {"namespace": "default", "name": "bear", "ownerReferences": [owner(uid) for uid in owners]}
    server.create(TOY, {"metadata": metadata, "spec": {"size": 1}})


async def prune(manager: Manager) -> list[str]:
    informer = manager.informers.informer(TOY, Toy, cluster_wide=True)
    return await manager.applier.prune(informer, "default", labels={}, owner_uid="1", keep=())


@virtual_time
async def test_what_another_owns_too_is_not_pruned() -> None:
    server = toys(collects=False)
    child(server, "1", "2")
    async with over(server) as manager:
        assert await prune(manager) == []
    assert bear(server)


@pytest.mark.parametrize("owners", [[], [owner("2")]])
def test_what_was_given_away_since_is_not_pruned(owners: list[JsonObject]) -> None:
    @virtual_time
    async def run() -> None:
        server = toys(collects=False)
        child(server, "1")
        async with over(server) as manager:
            server.patch(TOY, "default", "bear", {"metadata": {"ownerReferences": owners}})
            with pytest.raises(ApiError, match="Conflict"):
                await prune(manager)
        assert bear(server)

    run()


@virtual_time
async def test_what_was_made_anew_since_is_not_pruned() -> None:
    server = toys(collects=False)
    child(server, "1")
    async with over(server) as manager:
        server.delete(TOY, "default", "bear")
        child(server, "1")
        with pytest.raises(ApiError, match="Conflict"):
            await prune(manager)
    assert bear(server)
