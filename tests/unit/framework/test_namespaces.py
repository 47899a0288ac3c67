"""The namespaces that are served where all are: found, given rights in, followed, and let go."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import yaml

from controller.apis.ceph import CEPH_BLOCK_POOL, CEPH_BUCKET_TOPIC, CEPH_CLUSTER
from controller.framework.namespaces import (
    REVIEWS,
    ROLE_BINDINGS,
    TAKEN_UP_WITHIN,
    TELL_AGAIN,
    Account,
    Everywhere,
    Unserved,
)
from controller.framework.settings import Served
from controller.runtime import resource_of
from controller.runtime.kube import EVENT, SERVICE_ACCOUNT
from controller.testkit import ApiServer, new_manager, running, until, virtual_time
from informers import ApiError, Client

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from controller.runtime import Manager
    from informers import JsonObject, Resource

CLUSTERS, TOPICS, POOLS = (resource_of(kind) for kind in (CEPH_CLUSTER, CEPH_BUCKET_TOPIC, CEPH_BLOCK_POOL))
CRDS = Path(__file__).parents[3] / "manifests/crds"
HOME, NAMESPACES = "operator", ("operator", "named", "a", "b", "c")
BINDING = f"{HOME}-cephclusters.ceph.rook.io"


class World:
    """An API server whose reviews say yes where the operator is bound, or where an administrator says so."""

    def __init__(self) -> None:
        self.server = ApiServer(namespaces=NAMESPACES)
        self.server.serve(ROLE_BINDINGS)
        for name in ("cephclusters", "cephbuckettopics", "cephblockpools"):
            self.server.install(yaml.safe_load((CRDS / f"ceph.rook.io_{name}.yaml").read_text(encoding="utf-8")))
        self.by_hand: set[str] = set()
        self.may_bind = True
        self.every = Everywhere(
            Account(HOME),
            (HOME, "named"),
            (CLUSTERS, TOPICS),
            (CLUSTERS, TOPICS, POOLS),
            pods=("rook-ceph-default", "rook-ceph-osd"),
            pull_secrets=("registry",),
        )

    def make(self, resource: Resource, namespace: str, name: str = "x", **meta: Any) -> JsonObject:
        body = {"apiVersion": resource.api_version, "kind": resource.kind, "spec": {}}
        return self.server.create(resource, body | {"metadata": {"namespace": namespace, "name": name, **meta}})

    def bindings(self) -> set[tuple[str, str]]:
        found = self.server.list(ROLE_BINDINGS)
        return {(o["metadata"]["namespace"], o["metadata"]["name"]) for o in found}

    def client(self) -> Client:
        """A client that may do what the chart lets the operator do."""
        made = self.server.client()
        request, create = made.request, made.create

        async def reviewed(method: str, path: str, **options: Any) -> bytes:
            if path != REVIEWS.path():
                return await request(method, path, **options)
            namespace = options["body"]["spec"]["resourceAttributes"]["namespace"]
            bound = {place for place, _ in self.bindings()} | self.by_hand
            return json.dumps({"status": {"allowed": namespace in bound}}).encode()

        async def admitted(resource: Resource, obj: JsonObject, **options: Any) -> JsonObject:
            if resource == ROLE_BINDINGS and not self.may_bind:
                raise ApiError(HTTPStatus.FORBIDDEN, "Forbidden", "rolebindings is forbidden")
            return await create(resource, obj, **options)

        made.request, made.create = reviewed, admitted  # type: ignore[method-assign]
        return made

    async def find(self) -> Served:
        async with self.client() as client:
            return await self.every.find(client)

    @asynccontextmanager
    async def followed(self, served: Served) -> AsyncIterator[anyio.Event]:
        """Follows with a manager; the event says that other namespaces are to be served."""
        manager, others = new_manager(self.server, namespaces=served.watched), anyio.Event()

        async def follow() -> None:
            async with self.client() as client:
                await self.every.follow(manager, served, client)
            others.set()

        manager.add_runnable(follow, needs_leader=False)
        async with running(manager):
            yield others


@virtual_time
async def test_a_namespace_is_served_for_a_cluster_in_it_and_rights_are_bound_there_alone() -> None:
    world = World()
    world.make(CLUSTERS, "a")
    world.make(TOPICS, "b")
    world.make(POOLS, "c")  # a pool alone is of no cluster
    world.make(CLUSTERS, "named")
    served = await world.find()
    assert served == Served(named=(HOME, "named"), everywhere=True, found=("a", "b"))
    assert served.watched == (HOME, "named", "a", "b")
    assert world.bindings() == {("a", BINDING), ("b", f"{HOME}-cephbuckettopics.ceph.rook.io")}
    (binding,) = (o for o in world.server.list(ROLE_BINDINGS) if o["metadata"]["namespace"] == "a")
    assert binding["roleRef"]["name"] == "operator-rook-cluster-mgmt"
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "rook-ceph-system", "namespace": HOME}]
    assert await world.find() == served, "what is there is no error"


@virtual_time
async def test_accounts_of_pods_are_made_where_they_are_missing_and_others_stay() -> None:
    world = World()
    mine = {"metadata": {"namespace": "a", "name": "rook-ceph-osd"}, "imagePullSecrets": [{"name": "mine"}]}
    world.server.create(SERVICE_ACCOUNT, mine)
    world.make(CLUSTERS, "a")
    world.make(CLUSTERS, "named")
    await world.find()
    made = {
        (o["metadata"]["namespace"], o["metadata"]["name"]): (
            o.get("automountServiceAccountToken"),
            o["imagePullSecrets"],
        )
        for o in world.server.list(SERVICE_ACCOUNT)
    }
    assert made == {
        ("a", "rook-ceph-default"): (False, [{"name": "registry"}]),
        ("a", "rook-ceph-osd"): (None, [{"name": "mine"}]),
    }


@virtual_time
async def test_a_namespace_without_rights_holds_up_no_other_and_nothing_is_said_to_be_gone_from_it() -> None:
    world = World()
    world.may_bind = False
    world.make(CLUSTERS, "a")
    world.make(CLUSTERS, "b")
    world.by_hand = {"b"}
    served = await world.find()
    assert (served.found, served.refused) == (("b",), frozenset({"a"}))
    assert "a" not in served
    assert "b" in served
    assert "c" in served


@virtual_time
async def test_rights_are_given_back_once_nothing_of_ours_is_left() -> None:
    world = World()
    world.make(CLUSTERS, "a")
    world.make(POOLS, "a")
    world.make(CLUSTERS, "b")
    await world.find()
    world.server.create(ROLE_BINDINGS, {"metadata": {"namespace": "c", "name": "of-somebody", "labels": {"a": "b"}}})
    for namespace in ("a", "b"):
        world.server.delete(CLUSTERS, namespace, "x")
    served = await world.find()
    assert served.found == ("a",), "its pool is to be let go of yet"
    assert world.bindings() == {("a", BINDING), ("c", "of-somebody")}
    world.server.delete(POOLS, "a", "x")
    assert (await world.find()).found == ()
    assert world.bindings() == {("c", "of-somebody")}


@virtual_time
async def test_a_new_namespace_is_taken_up_once_there_are_rights_in_it() -> None:
    world = World()
    world.make(CLUSTERS, "a")
    served = await world.find()
    async with world.followed(served) as others:
        world.make(CLUSTERS, "a", "another")
        world.make(CLUSTERS, "named")
        world.make(POOLS, "c")
        await anyio.sleep(120)
        assert not others.is_set()
        world.may_bind = False
        world.make(CLUSTERS, "b")
        await anyio.sleep(120)
        assert not others.is_set(), "it would be no other set"
        world.may_bind = True
        await until(others.is_set)
    assert (await world.find()).found == ("a", "b")


@virtual_time
async def test_another_kind_in_a_namespace_that_is_served_has_its_own_binding() -> None:
    world = World()
    world.make(TOPICS, "a")
    served = await world.find()
    async with world.followed(served) as others:
        world.make(CLUSTERS, "a")
        await until(lambda: ("a", BINDING) in world.bindings())
        await anyio.sleep(10)
        assert not others.is_set()


@virtual_time
async def test_a_namespace_is_let_go_of_once_it_is_empty() -> None:
    world = World()
    world.make(CLUSTERS, "a")
    world.make(POOLS, "a")
    served = await world.find()
    async with world.followed(served) as others:
        world.server.delete(CLUSTERS, "a", "x")
        await anyio.sleep(120)
        assert not others.is_set()
        world.server.delete(POOLS, "a", "x")
        await until(others.is_set)


@virtual_time
async def test_nothing_is_decided_while_the_api_server_does_not_answer() -> None:
    world = World()
    world.make(CLUSTERS, "a")
    world.server.stop()
    found: list[Served] = []

    async def find() -> None:
        found.append(await world.find())

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(find)
        await anyio.sleep(20)
        assert found == []
        world.server.start()
        await until(lambda: bool(found))
    assert found[0].found == ("a",)


def told(server: ApiServer) -> list[tuple[str, str]]:
    return [(o["regarding"]["namespace"], o["note"]) for o in server.list(EVENT) if o["reason"] == "NotServed"]


def telling(world: World, served: Served) -> Manager:
    manager = new_manager(world.server, namespaces=served.watched)
    manager.add_runnable(lambda: Unserved((CLUSTERS, TOPICS), served, HOME).run(manager))
    return manager


@virtual_time
async def test_whoever_makes_a_cluster_where_nobody_serves_it_is_told_what_would_be_right() -> None:
    world = World()
    world.make(CLUSTERS, "a")
    world.make(CLUSTERS, "named")
    world.make(CLUSTERS, "b", finalizers=["cephcluster.ceph.rook.io"])  # another operator has it
    async with running(telling(world, Served(named=("named",)))):
        await anyio.sleep(TAKEN_UP_WITHIN / 2)
        assert told(world.server) == []
        await until(lambda: bool(told(world.server)))
        await anyio.sleep(TELL_AGAIN / 2)
    ((namespace, note),) = told(world.server)
    assert namespace == "a"
    assert note.startswith("namespace a is not served by the operator in namespace operator: expected")
    assert "clusterNamespaces to have it" in note


@virtual_time
async def test_where_all_are_served_the_rights_are_what_is_missing() -> None:
    world = World()
    world.make(CLUSTERS, "a")
    async with running(telling(world, Served(named=(HOME,), everywhere=True, refused=frozenset({"a"})))):
        await until(lambda: bool(told(world.server)))
    ((namespace, note),) = told(world.server)
    assert namespace == "a"
    assert "has no rights in it: expected a RoleBinding" in note
