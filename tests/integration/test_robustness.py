"""Servers at the edges: they refuse for overload, hold giant objects, lose kinds and namespaces and get them back."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from controller.runtime.kube import CONFIG_MAP, NAMESPACE
from e2e.apiserver import USER_TOKEN, ApiServer
from informers import ApiError, Client, Informer, InformerFactory, JsonObject, Resource
from informers.http import MAX_CONNECTIONS
from informers.watcher import Backoff
from tests.integration.replica import add_copier
from tests.integration.test_informers import (
    CATCH_UP,
    CRDS,
    ROLE_BINDINGS,
    ROLES,
    WithoutStreaming,
    copy_of,
    crd_of,
    proxied,
    truth,
    until,
    until_created,
    watched,
)
from tests.integration.test_manager import new_manager, running, source, until_stored
from tests.mirror import Mirror, plain

FLOW_SCHEMAS = Resource("flowcontrol.apiserver.k8s.io", "v1", "FlowSchema", "flowschemas", namespaced=False)
PRIORITY_LEVELS = Resource(
    "flowcontrol.apiserver.k8s.io", "v1", "PriorityLevelConfiguration", "prioritylevelconfigurations", namespaced=False
)
GIANT = Resource("giants.example.org", "v1", "Giant", "giants")
PHOENIX = Resource("phoenix.example.org", "v1", "Bird", "birds")
PHOENIX_BEFORE = Resource("phoenix.example.org", "v1alpha1", "Bird", "birds")
MERGE = "application/merge-patch+json"


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Backoff, "CAP", 1.0)


@asynccontextmanager
async def overloaded(client: Client) -> AsyncIterator[None]:
    """While it lasts the server answers requests of user "user" with 429 and Retry-After, all but one at a time."""
    limited = {
        "nominalConcurrencyShares": 0,
        "lendablePercent": 0,
        "borrowingLimitPercent": 0,
        "limitResponse": {"type": "Reject"},
    }
    everything = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "namespaces": ["*"], "clusterScope": True}
    rules = [{"subjects": [{"kind": "User", "user": {"name": "user"}}], "resourceRules": [everything]}]
    await client.create(
        PRIORITY_LEVELS, {"metadata": {"name": "nothing"}, "spec": {"type": "Limited", "limited": limited}}
    )
    schema = {"priorityLevelConfiguration": {"name": "nothing"}, "matchingPrecedence": 10, "rules": rules}
    await client.create(FLOW_SCHEMAS, {"metadata": {"name": "nothing"}, "spec": schema})
    try:
        yield
    finally:
        await client.delete(FLOW_SCHEMAS, "", "nothing")
        await client.delete(PRIORITY_LEVELS, "", "nothing")


async def test_requests_that_an_overloaded_server_refuses_are_sent_again(
    apiserver: ApiServer, client: Client, namespace: str, tmp_path: Path
) -> None:
    config = apiserver.write_kubeconfig(tmp_path / "user", user={"token": USER_TOKEN})
    group = {"apiGroup": ROLES.group}
    rules = [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list", "watch"]}]
    meta = {"metadata": {"namespace": namespace, "name": "reader"}}
    await client.create(ROLES, meta | {"rules": rules})
    subjects = [group | {"kind": "User", "name": "user"}]
    await client.create(
        ROLE_BINDINGS, meta | {"roleRef": group | {"kind": "Role", "name": "reader"}, "subjects": subjects}
    )
    await client.create(CONFIG_MAP, {"metadata": {"namespace": namespace, "name": "a"}})
    async with (
        overloaded(client),
        Client.connect(kubeconfig=str(config), user_agent="tests") as user,
        watched(user, (namespace,)) as (informer, _),
        asyncio.timeout(CATCH_UP),
    ):
        while user.stats.retries["429", "GET"] == 0:  # the level takes a moment to be there
            answers = await asyncio.gather(*(user.get(CONFIG_MAP, namespace, "a") for _ in range(8)))
            assert {answer["metadata"]["name"] for answer in answers} == {"a"}
        assert user.stats.requests["429", "GET"] >= user.stats.retries["429", "GET"]
        assert informer.trouble == ""


async def test_more_requests_than_connections_wait_for_one(
    apiserver: ApiServer, client: Client, namespace: str, tmp_path: Path
) -> None:
    await client.create(CONFIG_MAP, {"metadata": {"namespace": namespace, "name": "a"}})
    async with proxied(apiserver, tmp_path) as (proxy, many), asyncio.TaskGroup() as tasks:
        proxy.hold()
        asked = [tasks.create_task(many.get(CONFIG_MAP, namespace, "a")) for _ in range(MAX_CONNECTIONS * 3)]
        await until(lambda: proxy.held == MAX_CONNECTIONS)
        proxy.release()
        assert {(await one)["metadata"]["name"] for one in asked} == {"a"}
        assert proxy.connections == MAX_CONNECTIONS


def giant(namespace: str, name: str, letter: str) -> JsonObject:
    """An object of 1.2 MB; etcd takes 1.5."""
    meta = {"namespace": namespace, "name": name}
    return {"apiVersion": GIANT.api_version, "kind": GIANT.kind, "metadata": meta, "spec": {"text": letter * 1_200_000}}


@pytest.mark.parametrize("streaming", [True, False])
async def test_giant_objects_of_a_custom_kind(client: Client, namespace: str, streaming: bool) -> None:
    definition = crd_of(GIANT)
    schema = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    schema["x-kubernetes-preserve-unknown-fields"] = True
    with contextlib.suppress(ApiError):  # the other run may have made it
        await client.create(CRDS, definition)
    await until_created(client, GIANT, giant(namespace, "first", "a"))
    await client.create(GIANT, giant(namespace, "second", "b"))
    api = client if streaming else WithoutStreaming(client)
    async with watched(api, (namespace,), GIANT) as (informer, mirror):
        assert len(informer) == 2
        written = await client.patch(GIANT, namespace, "first", giant(namespace, "first", "c"), content_type=MERGE)
        await informer.reached(int(written["metadata"]["resourceVersion"]), CATCH_UP)
        assert copy_of(informer) == mirror.objects == await truth(client, GIANT, namespace)
        assert informer.cache.size() > 2_400_000
        assert informer.cache.stats.lists == 1


async def test_giant_config_maps_are_applied_once(client: Client, namespace: str) -> None:
    manager = new_manager(client, namespace)
    informer: Informer[JsonObject] = manager.informers.informer(CONFIG_MAP, dict)
    wanted = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": namespace, "name": "giant"}}
    wanted["data"] = {"text": "x" * 1_000_000}  # a ConfigMap may hold 1 MiB
    async with running(manager):
        assert await manager.applier.apply(wanted)
        assert not await manager.applier.apply(wanted)
        stored = await client.get(CONFIG_MAP, namespace, "giant")
        await informer.reached(int(stored["metadata"]["resourceVersion"]), CATCH_UP)
        assert informer.raw(namespace, "giant") == plain(stored)
        assert not await manager.applier.apply(wanted)


def served(*versions: Resource) -> JsonObject:
    """The definition of a kind that is served in these versions, and stored in the last."""
    definition = crd_of(versions[-1])
    schema = definition["spec"]["versions"][0]["schema"]
    definition["spec"]["versions"] = [
        {"name": one.version, "served": True, "storage": one is versions[-1], "schema": schema} for one in versions
    ]
    return definition


def bird(resource: Resource, namespace: str, name: str) -> JsonObject:
    return {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": {"namespace": namespace, "name": name},
    }


async def until_gone(client: Client, resource: Resource) -> None:
    """Returns once the server does not serve the kind any more."""
    with anyio.fail_after(CATCH_UP):
        while True:
            try:
                await client.list(resource)
                await client.get(CRDS, "", f"{resource.plural}.{resource.group}")
            except ApiError as error:
                if error.is_not_found:
                    return
            await asyncio.sleep(0.05)


@pytest.mark.timeout(240)
@pytest.mark.parametrize("unseen", [False, True])
async def test_a_kind_that_goes_away_and_comes_back_in_another_version(
    apiserver: ApiServer, client: Client, namespace: str, tmp_path: Path, unseen: bool
) -> None:
    """`unseen`: the informers are cut off while all of it happens."""
    name = f"{PHOENIX.plural}.{PHOENIX.group}"
    await client.create(CRDS, served(PHOENIX_BEFORE))
    await until_created(client, PHOENIX_BEFORE, bird(PHOENIX_BEFORE, namespace, "first"))
    async with proxied(apiserver, tmp_path) as (proxy, cut_off), anyio.create_task_group() as tasks:
        factory = InformerFactory(cut_off, namespaces=(namespace,))
        before: Informer[JsonObject] = factory.informer(PHOENIX_BEFORE, dict)
        now: Informer[JsonObject] = factory.informer(PHOENIX, dict)
        other: Informer[JsonObject] = factory.informer(CONFIG_MAP, dict)
        told = Mirror()
        before.add_handler(told)
        tasks.start_soon(factory.run)
        with anyio.fail_after(CATCH_UP):
            await before.wait_synced()
        await until(lambda: "404" in now.trouble)
        assert list(told.objects) == [(namespace, "first")]

        if unseen:
            proxy.block()
        await client.delete(CRDS, "", name)
        await until_gone(client, PHOENIX_BEFORE)
        if not unseen:
            await until(lambda: not told.objects and "404" in before.trouble)
        await client.create(CRDS, served(PHOENIX))
        second = await until_created(client, PHOENIX, bird(PHOENIX, namespace, "second"))
        proxy.unblock()
        with anyio.fail_after(CATCH_UP):
            await now.wait_synced()
            await now.reached(int(second["metadata"]["resourceVersion"]), CATCH_UP)
        assert copy_of(now) == {(namespace, "second"): plain(second)}
        await until(lambda: "404" in before.trouble)
        assert not now.trouble
        await until(lambda: not other.trouble)  # the others go on
        # What nobody saw deleted stays, as nothing is deleted on a guess: a 404 may be a server that is starting.
        assert list(told.objects) == ([(namespace, "first")] if unseen else [])

        live = await client.get(CRDS, "", name)
        versions = served(PHOENIX_BEFORE, PHOENIX)["spec"]["versions"]
        await client.patch(CRDS, "", name, {"spec": {"versions": versions}}, content_type=MERGE)
        await until(lambda: list(told.objects) == [(namespace, "second")])
        assert told.objects[namespace, "second"]["apiVersion"] == PHOENIX_BEFORE.api_version
        assert before.trouble == ""
        assert before.cache.stats.tombstones == unseen
        assert live["status"]["storedVersions"] == ["v1"]
        tasks.cancel_scope.cancel()
    await client.delete(CRDS, "", name)
    await until_gone(client, PHOENIX)


async def remove_namespace(client: Client, namespace: str) -> None:
    """Deletes a namespace with what is in it, as its controller does, which is not here."""
    await client.delete(NAMESPACE, "", namespace)
    for key in await truth(client, CONFIG_MAP, namespace):
        await client.delete(CONFIG_MAP, *key)
    terminating = await client.get(NAMESPACE, "", namespace)
    terminating["spec"] = {"finalizers": []}
    await client.replace(NAMESPACE, terminating, subresource="finalize")


async def test_a_namespace_that_comes_and_goes_while_it_is_served(client: Client, namespace: str) -> None:
    """It does not exist at first; then it does, twice, with objects of the same names."""
    served_one = f"{namespace}-later"
    manager = new_manager(client, served_one)
    controller = add_copier(manager)
    informer: Informer[Any] = manager.informers.informer(CONFIG_MAP, dict)
    uids = set()
    async with running(manager):
        for value in ("one", "two"):
            await client.create(NAMESPACE, {"metadata": {"name": served_one}})
            await client.create(CONFIG_MAP, source(served_one, "a", value=value))
            copy = await until_stored(client, served_one, "copy-a")
            assert copy["data"] == {"value": value}
            uids.add(copy["metadata"]["uid"])
            await remove_namespace(client, served_one)
            await until(lambda: not len(informer))
        await until(lambda: not len(controller.queue) and not controller.active)
    assert len(uids) == 2
    assert informer.trouble == ""
    assert informer.cache.stats.lists == 1, "a watch of a namespace outlives it"
    assert controller.stats.panics == 0
