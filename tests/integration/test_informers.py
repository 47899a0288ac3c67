"""Informers and the queue against a real API server that is killed, restarted, compacted and cut off."""

import asyncio
import itertools
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from e2e.apiserver import USER_TOKEN, ApiServer
from informers import ApiError, Client, Informer, InformerFactory, JsonObject, Key, Resource, TransportError
from informers.outage import PAUSES
from informers.transport import Stream
from informers.watcher import Backoff
from tests.integration.proxy import Proxy
from tests.mirror import Mirror, plain
from workqueue import ItemExponentialBackoff, QueueShutDown, WorkQueue

CONFIG_MAPS = Resource("", "v1", "ConfigMap", "configmaps")
CRDS = Resource("apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions", namespaced=False)
GADGETS = Resource("tests.example.org", "v1", "Gadget", "gadgets")
"""Served from the middle of one test on, so no other test may have it."""
NAMESPACES = Resource("", "v1", "Namespace", "namespaces", namespaced=False)
PODS = Resource("", "v1", "Pod", "pods")
ROLES = Resource("rbac.authorization.k8s.io", "v1", "Role", "roles")
ROLE_BINDINGS = Resource("rbac.authorization.k8s.io", "v1", "RoleBinding", "rolebindings")

MERGE = "application/merge-patch+json"
CATCH_UP = 90.0
"""Seconds in which an informer must have caught up; a busy machine and the longest backoffs are within."""


def config_map(namespace: str, name: str, value: str, **labels: str) -> JsonObject:
    return {"metadata": {"namespace": namespace, "name": name, "labels": labels}, "data": {"value": value}}


async def until(condition: Callable[[], bool]) -> None:
    """Return once the condition holds."""
    with anyio.fail_after(CATCH_UP):
        while not condition():  # noqa: ASYNC110  # of things that tell nobody when they change
            await asyncio.sleep(0.02)


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unit tests measure how pauses grow, on a virtual clock; here they would only take time."""
    monkeypatch.setattr(Backoff, "CAP", 1.0)


async def persist(client: Client, namespace: str, name: str, value: str) -> JsonObject:
    """Create or update, again and again while the server is away."""
    while True:
        try:
            try:
                body = {"data": {"value": value}}
                return await client.patch(CONFIG_MAPS, namespace, name, body, content_type=MERGE, deadline=10)
            except ApiError as error:
                if not error.is_not_found:
                    raise
                return await client.create(CONFIG_MAPS, config_map(namespace, name, value), deadline=10)
        except (TransportError, ApiError):
            await asyncio.sleep(0.1)


async def write_all(client: Client, namespace: str, names: Iterable[str], value: str) -> None:
    """Create or update every object."""
    await for_each(names, lambda name: persist(client, namespace, name, value))


async def create_all(client: Client, namespace: str, names: Iterable[str], value: str) -> None:
    """Create every object."""
    await for_each(names, lambda name: client.create(CONFIG_MAPS, config_map(namespace, name, value)))


async def for_each(names: Iterable[str], act: Callable[[str], Awaitable[object]]) -> None:
    """Act on every name, on several at a time."""
    remaining = iter(names)

    async def worker() -> None:
        for name in remaining:
            await act(name)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(16):
            tasks.create_task(worker())


async def truth(client: Client, resource: Resource, namespace: str = "") -> dict[Key, JsonObject]:
    """What the server has."""
    found = await client.list(resource, namespace)
    return {(obj["metadata"].get("namespace", ""), obj["metadata"]["name"]): plain(obj) for obj in found}


async def caught_up(client: Client, informer: Informer[Any], namespace: str) -> None:
    """Return once the informer has seen everything that was written before."""
    marker = await persist(client, namespace, f"marker-{uuid.uuid4().hex[:8]}", "")
    await informer.reached(int(marker["metadata"]["resourceVersion"]), CATCH_UP)


class Fleet:
    """Workers on a queue which read each key's object from the informer, and remember what they saw last."""

    def __init__(self, informer: Informer[JsonObject]) -> None:
        self.seen: dict[Key, JsonObject | None] = {}
        self.runs = 0
        self._informer = informer
        self._queue: WorkQueue[Key] = WorkQueue("fleet", rate_limiter=ItemExponentialBackoff(0.001, 0.1))
        self._in_process: set[Key] = set()
        informer.add_handler(lambda delta: self._queue.add((delta.namespace, delta.name)))

    @asynccontextmanager
    async def work(self, workers: int = 8) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as tasks:
            for _ in range(workers):
                tasks.create_task(self._worker())
            try:
                yield
            finally:
                self._queue.shut_down(drain=True)

    async def _worker(self) -> None:
        while True:
            try:
                key = await self._queue.get()
            except QueueShutDown:
                return
            assert key not in self._in_process, f"two workers have {key}"
            self._in_process.add(key)
            observed = self._informer.get(*key)
            await asyncio.sleep(0.001 if self.runs % 3 == 0 else 0)
            self._in_process.remove(key)
            self.runs += 1
            if self.runs % 50 == 0:  # a failure
                self._queue.add_rate_limited(key)
            else:
                self._queue.forget(key)
                self.seen[key] = observed
            self._queue.done(key)

    async def settled(self) -> None:
        await self._queue.wait_idle()
        while self._queue.delayed():  # failures wait for their next try
            await asyncio.sleep(0.1)
            await self._queue.wait_idle()

    def objects(self) -> dict[Key, JsonObject]:
        return {key: obj for key, obj in self.seen.items() if obj is not None}


@asynccontextmanager
async def watched(
    api: Any, namespaces: tuple[str, ...] | None, resource: Resource = CONFIG_MAPS
) -> AsyncIterator[tuple[Informer[JsonObject], Mirror]]:
    """A running, synced informer and what its handlers were told."""
    factory = InformerFactory(api, namespaces=namespaces)
    informer: Informer[JsonObject] = factory.informer(resource, dict)
    mirror = Mirror()
    informer.add_handler(mirror)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(factory.run)
        with anyio.fail_after(CATCH_UP):
            await informer.wait_synced()
        yield informer, mirror
        tasks.cancel_scope.cancel()


def copy_of(informer: Informer[JsonObject]) -> dict[Key, JsonObject]:
    keys = informer.keys()
    return {key: obj for key in keys if (obj := informer.get(*key)) is not None}


async def assert_equal(
    client: Client, informer: Informer[JsonObject], mirror: Mirror, namespace: str, fleet: Fleet | None = None
) -> None:
    """Cache, handlers and workers all know what the server has, no more and no less."""
    await caught_up(client, informer, namespace)
    expected = await truth(client, CONFIG_MAPS, namespace)
    assert copy_of(informer) == expected
    assert mirror.objects == expected
    assert informer.cache.stats.handler_errors == 0
    if fleet is not None:
        await fleet.settled()
        assert fleet.objects() == expected


@asynccontextmanager
async def proxied(apiserver: ApiServer, directory: Path) -> AsyncIterator[tuple[Proxy, Client]]:
    """A client whose connections can be broken."""
    async with Proxy(apiserver.port).serve() as proxy:
        config = apiserver.write_kubeconfig(directory / "proxied", url=f"https://127.0.0.1:{proxy.port}")
        async with Client.connect(kubeconfig=str(config), user_agent="tests") as client:
            yield proxy, client


async def test_the_copy_is_the_server_s_for_kinds_of_all_sorts(client: Client, namespace: str) -> None:
    container = {"name": "a", "image": "example.org/a:1"}
    pod = {"metadata": {"namespace": namespace, "name": "a"}, "spec": {"containers": [container]}}
    await client.create(PODS, pod)
    status = {"status": {"phase": "Running", "message": 'managed by "managedFields":[{}]'}}
    await client.patch(PODS, namespace, "a", status, content_type=MERGE, subresource="status")
    await client.create(CONFIG_MAPS, config_map(namespace, "a", '{"metadata":{"managedFields":[{"manager":"x"}]}}'))
    for resource in (PODS, CONFIG_MAPS, NAMESPACES, CRDS):
        async with watched(client, None, resource) as (informer, mirror):
            assert copy_of(informer) == await truth(client, resource) == mirror.objects
            if resource is not CRDS:
                assert len(informer) > 0


async def test_own_writes_and_reached(client: Client, namespace: str) -> None:
    async with watched(client, (namespace,)) as (informer, mirror):
        made = await client.create(CONFIG_MAPS, config_map(namespace, "a", "1"))
        informer.observe_write(made)
        assert informer.get(namespace, "a") == plain({**made, "kind": "ConfigMap", "apiVersion": "v1"})
        await informer.reached(int(made["metadata"]["resourceVersion"]), CATCH_UP)
        await client.delete(CONFIG_MAPS, namespace, "a", uid=made["metadata"]["uid"])
        await assert_equal(client, informer, mirror, namespace)


class WithoutStreaming:
    """A client of a server that knows no streaming lists."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.pages = 0

    async def request(
        self, method: str, path: str, *, params: Mapping[str, str], accept: str, deadline: float
    ) -> bytes:
        self.pages += 1
        return await self._client.request(method, path, params=params, accept=accept, deadline=deadline)

    def stream(
        self, path: str, *, params: Mapping[str, str], accept: str, idle: float
    ) -> AbstractAsyncContextManager[Stream]:
        if "sendInitialEvents" in params:
            raise ApiError(422, "Invalid", "sendInitialEvents is forbidden")
        return self._client.stream(path, params=params, accept=accept, idle=idle)


@pytest.mark.timeout(240)
async def test_paged_lists(client: Client, namespace: str) -> None:
    await create_all(client, namespace, (f"a-{number}" for number in range(1100)), "1")
    api = WithoutStreaming(client)
    async with watched(api, (namespace,)) as (informer, mirror):
        assert api.pages == 3
        async with watched(client, (namespace,)) as (streamed, _):
            keys = streamed.keys()
            assert all(streamed.cache.entry(*key) == informer.cache.entry(*key) for key in keys), "the same to the byte"
        await persist(client, namespace, "a-7", "2")
        await assert_equal(client, informer, mirror, namespace)


@pytest.mark.timeout(300)
async def test_a_server_that_is_killed_under_load(apiserver: ApiServer, client: Client, namespace: str) -> None:
    stop = asyncio.Event()

    async def load(number: int) -> None:
        for round_ in itertools.count():
            if stop.is_set():
                return
            name = f"load-{number}-{round_ % 20}"
            await persist(client, namespace, name, str(round_))
            if round_ % 3 == 0:
                try:
                    await client.delete(CONFIG_MAPS, namespace, name, deadline=10)
                except (TransportError, ApiError):
                    continue

    async with watched(client, (namespace,)) as (informer, mirror):
        fleet = Fleet(informer)
        async with fleet.work(), asyncio.TaskGroup() as tasks:
            for number in range(4):
                tasks.create_task(load(number))
            for _ in range(2):
                enough = informer.cache.stats.events + 200
                await until(lambda enough=enough: informer.cache.stats.events >= enough)  # type: ignore[misc]
                await asyncio.to_thread(apiserver.restart)
            stop.set()
        # Every writer has ended, and the fleet has drained: what it saw last is compared below.
        await assert_equal(client, informer, mirror, namespace)
        assert fleet.runs > 200


@pytest.mark.timeout(300)
async def test_an_outage_is_looked_into_once_for_all_informers(
    apiserver: ApiServer, client: Client, namespace: str
) -> None:
    factory = InformerFactory(client)
    selectors = [f"number={number}" for number in range(10)]
    informers = [factory.informer(CONFIG_MAPS, dict, label_selector=selector) for selector in selectors]

    def refused() -> int:
        return client.stats.requests["<error>", "GET"]

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(factory.run)
        await factory.wait_synced()
        before, began = refused(), time.monotonic()
        await asyncio.to_thread(apiserver.kill)
        try:
            await until(lambda: refused() >= before + 30)
            # Once each, and then for all together; a turn or two for those who were at it when the first was refused.
            assert refused() - before <= len(informers) + (time.monotonic() - began) / PAUSES[0] + 2
            assert all(informer.trouble for informer in informers)
        finally:
            await asyncio.to_thread(apiserver.start)
        for number, informer in enumerate(informers):
            body = config_map(namespace, f"after-{number}", "1", number=str(number))
            made = await client.create(CONFIG_MAPS, body)
            await informer.reached(int(made["metadata"]["resourceVersion"]), CATCH_UP)
            assert informer.get(namespace, f"after-{number}") is not None
            assert not informer.trouble
        tasks.cancel_scope.cancel()


@pytest.mark.timeout(300)
async def test_streams_that_are_cut_in_the_midst_of_events(
    apiserver: ApiServer, client: Client, namespace: str, tmp_path: Path
) -> None:
    async with (
        proxied(apiserver, tmp_path) as (proxy, cut_off),
        watched(cut_off, (namespace,)) as (informer, mirror),
    ):
        fleet = Fleet(informer)
        async with fleet.work():
            # The first bytes are those of the answer's head; then each cut falls at another place within an event.
            for round_, allowance in enumerate((1, 150, 777, 1500, 2999)):
                proxy.cut_after(allowance)
                await write_all(client, namespace, [f"a-{number}" for number in range(40)], str(round_))
                await caught_up(client, informer, namespace)
            await assert_equal(client, informer, mirror, namespace, fleet)
        assert proxy.connections > 5
        assert informer.cache.stats.lists == 1, "every stream was resumed where it broke"


@pytest.mark.timeout(300)
async def test_history_that_is_compacted_under_an_open_watch(
    apiserver: ApiServer, client: Client, namespace: str, tmp_path: Path
) -> None:
    await create_all(client, namespace, (f"a-{number}" for number in range(50)), "before")
    async with (
        proxied(apiserver, tmp_path) as (proxy, cut_off),
        watched(cut_off, (namespace,)) as (informer, mirror),
    ):
        await asyncio.to_thread(apiserver.compact)
        await assert_equal(client, informer, mirror, namespace)
        assert informer.cache.stats.lists == 1, "a watch that is up to date needs no history"
        proxy.block()
        await write_all(client, namespace, [f"a-{number}" for number in range(20)], "after")
        for number in range(20, 30):
            await client.delete(CONFIG_MAPS, namespace, f"a-{number}")
        await client.create(CONFIG_MAPS, config_map(namespace, "a-20", "made anew"))
        await asyncio.to_thread(apiserver.compact)
        await asyncio.to_thread(apiserver.restart)  # its watch cache would still know
        proxy.unblock()
        await assert_equal(client, informer, mirror, namespace)
        assert informer.cache.stats.lists == 2
        assert informer.cache.stats.tombstones == 10


@pytest.mark.timeout(240)
async def test_watches_that_come_straight_from_etcd(tmp_path: Path) -> None:
    """Without the server's watch cache its own history is no help: the watch ends with an error event."""
    server = ApiServer(tmp_path, flags=["--watch-cache=false"])
    await asyncio.to_thread(server.__enter__)
    try:
        async with (
            Client.connect(kubeconfig=str(server.kubeconfig), user_agent="tests") as client,
            proxied(server, tmp_path) as (proxy, cut_off),
            watched(cut_off, ("default",)) as (informer, mirror),
        ):
            await create_all(client, "default", [f"a-{number}" for number in range(30)], "before")
            await assert_equal(client, informer, mirror, "default")
            proxy.block()
            await write_all(client, "default", [f"a-{number}" for number in range(10)], "after")
            await client.delete(CONFIG_MAPS, "default", "a-20")
            await asyncio.to_thread(server.compact)
            proxy.unblock()
            await assert_equal(client, informer, mirror, "default")
            assert informer.cache.stats.lists == 2
    finally:
        await asyncio.to_thread(server.__exit__, None, None, None)


@pytest.mark.timeout(300)
async def test_5000_changes_while_disconnected(
    apiserver: ApiServer, client: Client, namespace: str, tmp_path: Path
) -> None:
    await create_all(client, namespace, (f"a-{number}" for number in range(2000)), "before")
    async with proxied(apiserver, tmp_path) as (proxy, cut_off), watched(cut_off, (namespace,)) as (informer, mirror):
        fleet = Fleet(informer)
        async with fleet.work():
            proxy.block()
            await write_all(client, namespace, [f"a-{number}" for number in range(1000)], "after")
            gone = (f"a-{number}" for number in range(1000, 2000))
            await for_each(gone, lambda name: client.delete(CONFIG_MAPS, namespace, name))
            await create_all(client, namespace, (f"b-{number}" for number in range(3000)), "new")
            proxy.unblock()
            await assert_equal(client, informer, mirror, namespace, fleet)
            assert len(informer) == 4001


def crd_of(resource: Resource) -> JsonObject:
    """A CustomResourceDefinition that lets the server serve the resource."""
    schema = {"openAPIV3Schema": {"type": "object"}}
    return {
        "apiVersion": CRDS.api_version,
        "kind": CRDS.kind,
        "metadata": {"name": f"{resource.plural}.{resource.group}"},
        "spec": {
            "group": resource.group,
            "names": {"kind": resource.kind, "plural": resource.plural},
            "scope": "Namespaced",
            "versions": [{"name": resource.version, "served": True, "storage": True, "schema": schema}],
        },
    }


async def until_created(client: Client, resource: Resource, obj: JsonObject) -> JsonObject:
    """Create the object as soon as the server serves its new resource."""
    with anyio.fail_after(60):
        while True:
            try:
                return await client.create(resource, obj)
            except ApiError as error:
                if not error.is_not_found:
                    raise
            await asyncio.sleep(0.1)


async def test_a_crd_that_comes_later(client: Client, namespace: str) -> None:
    factory = InformerFactory(client, namespaces=(namespace,))
    informer: Informer[JsonObject] = factory.informer(GADGETS, dict)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(factory.run)
        with anyio.fail_after(CATCH_UP):
            await until(lambda: "404" in informer.trouble)
            await client.create(CRDS, crd_of(GADGETS))
            gadget = {"apiVersion": GADGETS.api_version, "kind": GADGETS.kind}
            made = await until_created(client, GADGETS, gadget | {"metadata": {"namespace": namespace, "name": "a"}})
            await informer.wait_synced()
            await informer.reached(int(made["metadata"]["resourceVersion"]), CATCH_UP)
        assert copy_of(informer) == {(namespace, "a"): plain(made)}
        assert informer.trouble == ""
        tasks.cancel_scope.cancel()


async def test_rights_in_one_namespace_are_enough_and_may_come_later(
    apiserver: ApiServer, client: Client, namespace: str, tmp_path: Path
) -> None:
    config = apiserver.write_kubeconfig(tmp_path / "user", user={"token": USER_TOKEN})
    role = {"metadata": {"namespace": namespace, "name": "watcher"}}
    rules = [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list", "watch"]}]
    group = {"apiGroup": ROLES.group}
    binding = {
        "roleRef": group | {"kind": "Role", "name": "watcher"},
        "subjects": [group | {"kind": "User", "name": "user"}],
    }
    async with Client.connect(kubeconfig=str(config), user_agent="tests") as limited:
        factory = InformerFactory(limited, namespaces=(namespace,))
        informer: Informer[JsonObject] = factory.informer(CONFIG_MAPS, dict)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(factory.run)
            with anyio.fail_after(CATCH_UP):
                await until(lambda: "403 Forbidden" in informer.trouble)
                await client.create(ROLES, role | {"rules": rules})
                await client.create(ROLE_BINDINGS, role | binding)
                await informer.wait_synced()
            assert informer.trouble == ""
            tasks.cancel_scope.cancel()
