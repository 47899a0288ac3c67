"""Some minutes of random changes and random faults; at the end everybody must know exactly what the server has.

A manager behind a proxy reconciles kinds of all sorts while writers change them past the proxy. Meanwhile connections
are cut, held back, delayed and forgotten, the API server is killed and etcd's history goes. What happens is drawn from
a seed, which is printed: `ROOK_SOAK_SEED` repeats it, `ROOK_SOAK_SECONDS` makes it longer.
"""

import asyncio
import contextlib
import gc
import os
import random
from asyncio.constants import SSL_SHUTDOWN_TIMEOUT
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest
import structlog

from controller.runtime import Controller, Manager, Program, Request, Result
from controller.runtime.kube import CONFIG_MAP, NAMESPACE, SECRET
from e2e.apiserver import ApiServer
from informers import ApiError, Client, Informer, InformerFactory, JsonObject, Key, Resource, TransportError, watcher
from informers.http import MAX_CONNECTIONS
from informers.watcher import Backoff
from tests.integration.proxy import Proxy
from tests.integration.test_informers import CRDS, crd_of, until_created
from tests.mirror import Mirror, plain

log = structlog.get_logger("soak")

SECONDS = float(os.environ.get("ROOK_SOAK_SECONDS", "120"))
SEED = int(os.environ.get("ROOK_SOAK_SEED", "0")) or random.SystemRandom().randrange(1, 2**32)
SETTLE = 120.0
"""Seconds after the last fault in which everything must have come to rest."""
FAREWELL = SSL_SHUTDOWN_TIMEOUT
"""Seconds for which TLS waits for a peer's farewell. One that was stranded never answers, so that its sockets stay."""

GADGET = Resource("soak.example.org", "v1", "Gadget", "gadgets")
NAMESPACES = ("soak-a", "soak-b")
ELSEWHERE = "soak-c"
"""A namespace that is written to as well, and served by none but the cluster-wide informer."""
NAMES = [f"object-{number}" for number in range(25)]
GOLD = {"tier": "gold"}
CHILD = {"app": "soak-child"}
MERGE = "application/merge-patch+json"


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """More faults in the time that there is: who waits for half a minute meets none."""
    monkeypatch.setattr(Backoff, "CAP", 2.0)


def value_of(obj: JsonObject) -> str:
    """What writers change, wherever the kind keeps it."""
    found: str = obj["metadata"].get("annotations", {}).get("value", "")
    return found


class StorageError(Exception):
    """What reconcilers fail with at times, on purpose."""


@pytest.fixture
def mistakes(monkeypatch: pytest.MonkeyPatch) -> list[Exception]:
    """Failed reconciles that nothing outside of this process explains."""
    found: list[Exception] = []
    failed = Controller._failed

    def noting(controller: Controller, request: Request, error: Exception) -> None:
        if not isinstance(error, ApiError | TransportError | StorageError):
            found.append(error)
        failed(controller, request, error)

    monkeypatch.setattr(Controller, "_failed", noting)
    return found


def other_of(seed: random.Random) -> random.Random:
    """Numbers of their own for each who draws, so that one does not depend on how often another has drawn."""
    return random.Random(seed.random())  # noqa: S311  # as above


@dataclass
class Watched:
    """An informer, and what its handlers and its controller have made of it.

    Attributes:
        name: Of its controller.
        informer: The informer.
        truth: Reads what it should hold from the server.
        mirror: What its handlers know.
        overlaps: Requests that two workers had at once.
        seen: The version that each object was reconciled with last; None: it was gone.
    """

    name: str
    informer: Informer[JsonObject]
    truth: Callable[[], Awaitable[dict[Key, JsonObject]]]
    mirror: Mirror = field(default_factory=Mirror)
    overlaps: list[Request] = field(default_factory=list)
    seen: dict[Key, str | None] = field(default_factory=dict)
    _running: set[Request] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.informer.add_index("value", lambda obj: [value_of(obj)])
        self.informer.add_handler(self.mirror)

    async def reconcile(self, request: Request) -> Result:
        """Notes what it sees, and fails at times."""
        if request in self._running:
            self.overlaps.append(request)
        self._running.add(request)
        try:
            found = self.informer.get(request)
            await asyncio.sleep(0.002)
            version = None if found is None else found["metadata"]["resourceVersion"]
            if version is not None and version.endswith("7") and self.seen.get((request.namespace, request.name)) != "":
                self.seen[request.namespace, request.name] = ""
                raise StorageError("cannot be reached")
            self.seen[request.namespace, request.name] = version
        finally:
            self._running.discard(request)
        return Result()

    def copy(self) -> dict[Key, JsonObject]:
        """What the cache shows."""
        keys = self.informer.keys()
        return {key: obj for key in keys if (obj := self.informer.get(*key)) is not None}

    async def differs(self) -> str:
        """What is not as the server has it, "" if all is."""
        expected = await self.truth()
        versions = {key: obj["metadata"]["resourceVersion"] for key, obj in expected.items()}
        reconciled = {key: version for key, version in self.seen.items() if version is not None}
        indexed: dict[str, set[Key]] = {}
        for key, obj in expected.items():
            indexed.setdefault(value_of(obj), set()).add(key)
        known = {value: {_key(obj) for obj in self.informer.by_index("value", value)} for value in self._values()}
        comparisons: tuple[tuple[str, dict[Any, Any], dict[Any, Any]], ...] = (
            ("cache", self.copy(), expected),
            ("handlers", self.mirror.objects, expected),
            ("reconciled", reconciled, versions),
            ("index", {value: keys for value, keys in known.items() if keys}, indexed),
        )
        for what, got, wanted in comparisons:
            if got != wanted:
                wrong = [key for key in {*got, *wanted} if got.get(key) != wanted.get(key)]
                first = f"{wrong[0]}: {got.get(wrong[0])}, not {wanted.get(wrong[0])}"
                return f"{self.name}: {what}: {len(wrong)} differ, {first}"
        return ""

    def _values(self) -> set[str]:
        (index,) = self.informer.cache.indexes
        return {value for table in index.tables.values() for value in table._keys}


def _key(obj: JsonObject) -> Key:
    return obj["metadata"].get("namespace", ""), obj["metadata"]["name"]


class Children:
    """Keeps a ConfigMap for each gadget; none while its value is even, so that children come and go."""

    def __init__(self, manager: Manager, gadgets: Informer[JsonObject], children: Informer[JsonObject]) -> None:
        self._manager = manager
        self._gadgets = gadgets
        self._children = children

    async def reconcile(self, request: Request) -> Result:
        """Makes or removes the child."""
        gadget = self._gadgets.get(request)
        name = f"child-{request.name}"
        value = wanted_of_child(gadget)
        if value is not None:
            await self._manager.applier.apply(child(request.namespace, name, value))
            return Result()
        present = self._children.get(request.namespace, name)
        if present is not None:
            await self._manager.client.delete(CONFIG_MAP, request.namespace, name, uid=present["metadata"]["uid"])
        return Result()


def wanted_of_child(gadget: JsonObject | None) -> str | None:
    """The value that the gadget's child should have; None: it should have no child."""
    return None if gadget is None or int(value_of(gadget)) % 2 == 0 else value_of(gadget)


def child(namespace: str, name: str, value: str) -> JsonObject:
    meta = {"namespace": namespace, "name": name, "labels": CHILD, "annotations": {"value": value}}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"value": value}}


class Writers:
    """Change objects at random, whatever becomes of the server."""

    def __init__(self, client: Client, seed: random.Random) -> None:
        self.writes = 0
        self._client = client
        self._random = seed
        self._stop = asyncio.Event()

    def stop(self) -> None:
        """Ends them after what they are at."""
        self._stop.set()

    async def run(self) -> None:
        """Writes until it is stopped."""
        count = 0
        while not self._stop.is_set():
            count += 1
            resource = self._random.choice((GADGET, CONFIG_MAP, SECRET))
            namespace = self._random.choice((*NAMESPACES, ELSEWHERE))
            act = self._random.choice((self._delete, self._update, self._update, self._update, self._replace))
            with contextlib.suppress(ApiError, TransportError):  # not there, there already, away
                await act(resource, namespace, self._random.choice(NAMES), str(count))
                self.writes += 1
            with anyio.move_on_after(self._random.expovariate(40.0)):
                await self._stop.wait()

    async def _delete(self, resource: Resource, namespace: str, name: str, _: str) -> None:
        await self._client.delete(resource, namespace, name, deadline=5)

    async def _update(self, resource: Resource, namespace: str, name: str, value: str) -> None:
        labels = self._random.choice((GOLD, {"tier": "silver"}, {"tier": None}))
        body = {"metadata": {"labels": labels, "annotations": {"value": value}}}
        try:
            await self._client.patch(resource, namespace, name, body, content_type=MERGE, deadline=5)
        except ApiError as error:
            if not error.is_not_found:
                raise
            await self._create(resource, namespace, name, value)

    async def _replace(self, resource: Resource, namespace: str, name: str, value: str) -> None:
        """Deleted and made anew at once, so that a watch that was away may see only the new one."""
        await self._delete(resource, namespace, name, value)
        await self._create(resource, namespace, name, value)

    async def _create(self, resource: Resource, namespace: str, name: str, value: str) -> None:
        labels = self._random.choice((GOLD, {}))
        meta = {"namespace": namespace, "name": name, "labels": labels, "annotations": {"value": value}}
        obj = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": meta}
        await self._client.create(resource, obj, deadline=5)


class Faults:
    """What goes wrong, one thing after the other."""

    def __init__(self, server: ApiServer, proxy: Proxy, seed: random.Random) -> None:
        self.happened: list[str] = []
        self._server = server
        self._proxy = proxy
        self._random = seed

    async def run(self, seconds: float) -> None:
        """Goes on for so many seconds, each kind of fault at least once, and leaves the network whole."""
        kinds = (self.cut, self.cut_amid, self.block, self.hold, self.delay, self.strand, self.compact, self.kill)
        ends = asyncio.get_running_loop().time() + seconds
        while asyncio.get_running_loop().time() < ends:
            for fault in self._random.sample(kinds, len(kinds)):
                self.happened.append(fault.__name__)
                await fault()
                await self._some_seconds(0.5, 3.0)

    async def cut(self) -> None:
        """Every connection breaks."""
        self._proxy.cut()

    async def cut_amid(self) -> None:
        """A connection breaks in the midst of what the server says."""
        self._proxy.cut_after(self._random.randrange(1, 5000))

    async def block(self) -> None:
        """The server refuses connections for a while."""
        self._proxy.block()
        await self._some_seconds(0.5, 4.0)
        self._proxy.unblock()

    async def hold(self) -> None:
        """The network is silent for a while, and then delivers what it kept."""
        self._proxy.hold()
        await self._some_seconds(0.5, 4.0)
        self._proxy.release()

    async def delay(self) -> None:
        """The network is slow for a while."""
        self._proxy.latency = self._random.uniform(0.02, 0.3)
        await self._some_seconds(0.5, 4.0)
        self._proxy.latency = 0.0

    async def strand(self) -> None:
        """Connections that are open die without a word."""
        self._proxy.strand()

    async def compact(self) -> None:
        """History goes, at times while nobody follows it."""
        if self._random.random() < 0.5:
            self._proxy.block()
            await self._some_seconds(0.5, 2.0)
        with contextlib.suppress(OSError):
            await asyncio.to_thread(self._server.compact)
        self._proxy.unblock()

    async def kill(self) -> None:
        """The server crashes and comes back."""
        await asyncio.to_thread(self._server.restart)

    async def _some_seconds(self, least: float, most: float) -> None:
        await asyncio.sleep(self._random.uniform(least, most))


@asynccontextmanager
async def running(manager: Manager) -> AsyncIterator[None]:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: manager.run(signals=False))
        with anyio.fail_after(60):
            await manager.informers.wait_synced()
        yield
        manager.stop()


async def prepared(client: Client) -> None:
    """Makes the namespaces and the custom kind."""
    for name in (*NAMESPACES, ELSEWHERE):
        await client.create(NAMESPACE, {"metadata": {"name": name}})
    await client.create(CRDS, crd_of(GADGET))
    first = {"apiVersion": GADGET.api_version, "kind": GADGET.kind}
    meta = {"namespace": NAMESPACES[0], "name": NAMES[0], "annotations": {"value": "1"}}
    await until_created(client, GADGET, first | {"metadata": meta})


def informers_of(factory: InformerFactory) -> dict[str, Informer[JsonObject]]:
    """An informer of each sort."""
    return {
        "custom": factory.informer(GADGET, dict, cluster_wide=True),
        "namespaced": factory.informer(CONFIG_MAP, dict),
        "metadata": factory.informer(SECRET, dict, metadata_only=True),
        "selected": factory.informer(CONFIG_MAP, dict, label_selector="tier=gold", namespaces=NAMESPACES[:1]),
    }


def truths(client: Client) -> dict[str, Callable[[], Awaitable[dict[Key, JsonObject]]]]:
    """What each of them should hold, read from the server when it is called."""

    async def read(resource: Resource, *namespaces: str, label_selector: str = "") -> dict[Key, JsonObject]:
        found: list[JsonObject] = []
        for namespace in namespaces:
            found += await client.list(resource, namespace, label_selector=label_selector)
        return {_key(obj): plain(obj) for obj in found}

    async def metadata() -> dict[Key, JsonObject]:
        whole = await read(SECRET, *NAMESPACES)
        head = {"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata"}
        return {key: head | {"metadata": obj["metadata"]} for key, obj in whole.items()}

    return {
        "custom": partial(read, GADGET, ""),
        "namespaced": partial(read, CONFIG_MAP, *NAMESPACES),
        "metadata": metadata,
        "selected": partial(read, CONFIG_MAP, NAMESPACES[0], label_selector="tier=gold"),
    }


def watch_all(manager: Manager, client: Client) -> dict[str, Watched]:
    """An informer of each sort, each with a controller of its own."""
    read = truths(client)
    watched = {name: Watched(name, one, read[name]) for name, one in informers_of(manager.informers).items()}
    for name, one in watched.items():
        controller = Controller(name, one, workers=4)
        controller.watch(one.informer)
        manager.add(controller)
    return watched


def add_children(manager: Manager, gadgets: Informer[JsonObject], children: Informer[JsonObject]) -> Controller:
    def of_served(obj: JsonObject) -> list[Request]:
        namespace, name = _key(obj)
        return [Request(namespace, name.removeprefix("child-"))] if namespace in NAMESPACES else []

    controller = Controller("children", Children(manager, gadgets, children), workers=4)
    controller.watch(gadgets, of_served)
    controller.watch(children, lambda obj: of_served(obj) if _key(obj)[1].startswith("child-") else [])
    manager.add(controller)
    return controller


async def at_rest(manager: Manager, watched: dict[str, Watched]) -> str:
    """What is still under way or wrong, "" if nothing is."""
    for controller in manager.controllers:
        if len(controller.queue) or controller.queue.delayed() or controller.active:
            return f"controller {controller.name}: work is left"
    for one in watched.values():
        if one.informer.trouble:
            return f"{one.name}: {one.informer.trouble}"
        if differs := await one.differs():
            return differs
    gadgets, children = watched["custom"].copy(), watched["namespaced"].copy()
    wanted = {
        (namespace, f"child-{name}"): value
        for (namespace, name), gadget in gadgets.items()
        if namespace in NAMESPACES and (value := wanted_of_child(gadget)) is not None
    }
    made = {key: value_of(obj) for key, obj in children.items() if key[1].startswith("child-")}
    return "" if made == wanted else f"children: {made}, not {wanted}"


async def until_nothing_is_left(left: Callable[[], Awaitable[str]], faults: Faults) -> None:
    """Looks until `left` says nothing any more; what it said last is why the test fails."""
    reason = ""
    try:
        with anyio.fail_after(SETTLE):
            while reason := await left():  # noqa: ASYNC110  # the server tells nobody
                await asyncio.sleep(0.2)
    except TimeoutError:
        pytest.fail(f"ROOK_SOAK_SEED={SEED}, after {' '.join(faults.happened)}: {reason}")


async def assert_the_same_bytes(client: Client, watched: dict[str, Watched]) -> None:
    """Compares with caches that were filled just now, byte by byte. Own writes are kept as they were answered."""
    factory = InformerFactory(client, namespaces=NAMESPACES)
    fresh = informers_of(factory)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(factory.run)
        with anyio.fail_after(60):
            await factory.wait_synced()
        for name, other in fresh.items():
            known, cache = other.keys(), watched[name].informer.cache
            keys = [key for key in known if not key[1].startswith("child-")]
            assert [cache.entry(*key) for key in keys] == [other.cache.entry(*key) for key in keys], name
        tasks.cancel_scope.cancel()


def assert_nothing_is_kept(manager: Manager) -> None:
    """What is remembered for the time of a list, a wait or a retry is gone when there is none."""
    for cache, watchers in manager.informers.caches():
        assert cache.stats.handler_errors == 0, cache.resource
        assert not cache.listeners.undelivered
        for scope in cache.scopes.values():
            assert not scope._staged.objects
            assert not scope._waiters
        assert len(watchers) == len(cache.scopes)


def own_tasks() -> Counter[str]:
    """How many tasks there are of each coroutine, but those of the proxy."""
    names = (getattr(task.get_coro(), "__qualname__", "?") for task in asyncio.all_tasks())
    return Counter(name for name in names if not name.startswith("Proxy."))


def live_objects() -> int:
    """What the garbage collector knows of."""
    gc.collect()
    return len(gc.get_objects())


@pytest.mark.timeout(SECONDS + SETTLE + FAREWELL + 210)
async def test_everybody_knows_what_the_server_has_after_random_changes_and_faults(
    tmp_path: Path, mistakes: list[Exception]
) -> None:
    log.info("Soak", ROOK_SOAK_SEED=SEED, ROOK_SOAK_SECONDS=SECONDS)
    seed = random.Random(SEED)  # noqa: S311  # to be repeated, not to be secret
    server = ApiServer(tmp_path)
    await asyncio.to_thread(server.__enter__)
    try:
        async with (
            Client.connect(kubeconfig=str(server.kubeconfig), user_agent="soak-writers") as client,
            Proxy(server.port).serve() as proxy,
        ):
            await prepared(client)
            config = server.write_kubeconfig(tmp_path / "proxied", url=f"https://127.0.0.1:{proxy.port}")
            async with Client.connect(kubeconfig=str(config), user_agent="soak") as proxied:
                await soak(server, client, proxy, proxied, seed)
            with anyio.fail_after(FAREWELL + 30):
                while proxy.open:  # noqa: ASYNC110  # the proxy tells nobody
                    await asyncio.sleep(0.05)
        assert mistakes == []
    finally:
        await asyncio.to_thread(server.__exit__, None, None, None)


async def soak(server: ApiServer, client: Client, proxy: Proxy, proxied: Client, seed: random.Random) -> None:
    manager = Manager(
        proxied,
        program=Program("soak"),
        namespaces=NAMESPACES,
        identity="soak",
        metrics_address=("127.0.0.1", 0),
        debug_address=None,
    )
    watched = watch_all(manager, client)
    add_children(manager, watched["custom"].informer, watched["namespaced"].informer)
    writers = [Writers(client, other_of(seed)) for _ in range(4)]
    faults = Faults(server, proxy, other_of(seed))
    streams = sum(len(watchers) for _, watchers in manager.informers.caches())
    async with running(manager):
        await until_nothing_is_left(lambda: at_rest(manager, watched), faults)
        tasks_before, objects_before = own_tasks(), live_objects()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(watcher, "IDLE_SECONDS", (8.0, 10.0))
            async with asyncio.TaskGroup() as tasks:
                for writer in writers:
                    tasks.create_task(writer.run())
                await faults.run(SECONDS)
                for writer in writers:
                    writer.stop()

        async def left() -> str:
            if (found := own_tasks()) != tasks_before:
                return f"tasks: {found}, not {tasks_before}"
            if not streams <= proxy.open <= streams + MAX_CONNECTIONS:
                return f"{proxy.open} connections for {streams} streams"
            return await at_rest(manager, watched)

        await until_nothing_is_left(left, faults)
        await assert_the_same_bytes(client, watched)
        assert [request for one in watched.values() for request in one.overlaps] == []
        assert_nothing_is_kept(manager)
        assert live_objects() < objects_before + 20_000
        lists = sum(cache.stats.lists for cache, _ in manager.informers.caches())
        log.info("Soaked", writes=sum(one.writes for one in writers), faults=faults.happened, lists=lists)
