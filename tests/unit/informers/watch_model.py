"""What a reader of caches may rely on, checked against the API server's whole history while anything may happen."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from anyio import Event
from anyio.abc import TaskGroup

from controller.runtime.consistency import Consistency
from controller.runtime.reconciler import Reconcile, Request, current_reconcile
from controller.testkit import ApiServer, Connection, Sent, until
from controller.testkit.selection import Selection
from informers import ApiError, Client, Delta, Informer, InformerFactory, JsonObject, Key, Resource, TransportError
from tests.mirror import plain

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from controller.runtime.reconciler import Write


LIST_SECONDS = 60.0
"""How long an own write waits for a list to be asked for."""


class Moment(NamedTuple):
    """When something happens: after so many seconds, from now or from when the next list is asked for."""

    in_list: bool
    seconds: float


class Times(NamedTuple):
    """When the server carries out an own write, and when its answer reaches us after that, if it is not lost."""

    begins: Moment
    answered: Moment
    lost: bool = False


class State(NamedTuple):
    """What one write made of an object; None: it is gone."""

    version: int
    object: JsonObject | None


class Ledger:
    """Every state that each object has had, whatever the server has forgotten."""

    def __init__(self, api: ApiServer, resource: Resource) -> None:
        self._storage = api.storage
        self._collection = (resource.group, resource.plural)
        self._states: dict[Key, list[State]] = {}
        self._version = 0
        api.storage.listeners.append(self._note)
        self._note()

    def last(self, key: Key) -> State:
        """The object's state now."""
        return self._states.get(key, [State(0, None)])[-1]

    def since(self, key: Key, version: int) -> list[State]:
        """The states of the object at and after a version."""
        states = [State(0, None), *self._states.get(key, ())]
        later = [state for state in states if state.version > version]
        return [max(state for state in states if state.version <= version), *later]

    def at(self, key: Key, version: int) -> JsonObject | None:
        """The object that this very version made."""
        return next((state.object for state in self._states.get(key, ()) if state.version == version), None)

    def _note(self) -> None:
        for record in self._storage.since(self._version):
            self._version = record.version
            if record.collection == self._collection:
                obj = None if record.type == "DELETED" else plain(record.object)
                self._states.setdefault(record.key, []).append(State(record.version, obj))


@dataclass(eq=False)
class View:
    """One cache, and what its readers must not see.

    Attributes:
        informer: Of the cache.
        selection: What belongs in the cache, within its scopes.
        ledger: Of the server.
        floors: Own writes that readers may rely on: nothing older of these objects is shown any more.
        errors: What was wrong.
        listeners: Who was told of the changes.
        raised: How often a listener raised on purpose.
    """

    informer: Informer[JsonObject]
    selection: Selection
    ledger: Ledger
    floors: dict[Key, int] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    listeners: list[Listener] = field(default_factory=list)
    raised: int = 0

    def __post_init__(self) -> None:
        self.informer.add_index("number", numbers)
        self.listen()
        self.informer.add_handler(self._raise)
        self.listen()

    def listen(self) -> None:
        """Add a listener."""
        listener = Listener(self)
        self.listeners.append(listener)
        self.informer.add_handler(listener.told)

    def serves(self, key: Key) -> bool:
        """Whether the cache is there for the object, and filled."""
        scope = self.informer.cache.scope(key[0])
        return scope is not None and scope.synced

    def holds(self, key: Key, obj: JsonObject | None) -> bool:
        """Whether the object belongs in the cache."""
        return obj is not None and self.selection.matches(key, obj)

    def kept(self, obj: JsonObject) -> JsonObject:
        """The object as the cache shows it."""
        if not self.informer.cache.partial:
            return plain(obj)
        return {"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": plain(obj)["metadata"]}

    def rely(self, key: Key, version: int) -> None:
        """From now on a reader relies on seeing what this version made of the object, or something newer."""
        self.floors[key] = max(version, self.floors.get(key, 0))
        self.check(key)

    def check(self, key: Key) -> None:
        """Note if the cache shows a state of the object that it must not."""
        shown = self.informer.get(*key)
        floor = self.floors.get(key, 0)
        if shown is None:
            if floor and all(self.holds(key, state.object) for state in self.ledger.since(key, floor)):
                self.errors.append(f"{key}: is not shown, but was there at version {floor} and ever since")
            return
        version = int(shown["metadata"]["resourceVersion"])
        if version < floor:
            self.errors.append(f"{key}: version {version} is shown, though version {floor} was relied on")
        made = self.ledger.at(key, version)
        if made is not None and shown != self.kept(made):
            self.errors.append(f"{key}: {shown} is shown, {made} it was")

    def check_indexes(self) -> None:
        """Note what an index, or the size, has that cannot be computed from the objects, or lacks."""
        objects = self.informer.list()
        for number in map(str, range(4)):
            found = sorted(key_of(obj) for obj in self.informer.by_index("number", number))
            if found != sorted(key_of(obj) for obj in objects if number in numbers(obj)):
                self.errors.append(f"index {number}: {found}")
        kept = sum(len(entry.data) for _, bucket in self.informer.cache.buckets(None) for entry in bucket.values())
        if self.informer.cache.size() != kept:
            self.errors.append(f"{self.informer.cache.size()} bytes are said to be kept, {kept} are")

    def check_quiet(self, objects: dict[Key, JsonObject], version: int) -> None:
        """Note what differs from the server, after everything has come to rest."""
        informer = self.informer
        expected = {key: self.kept(obj) for key, obj in objects.items() if self.serves(key) and self.holds(key, obj)}
        for what, found in (
            ("cache", {key_of(obj): obj for obj in informer.list()}),
            *((f"listener {number}", listener.objects) for number, listener in enumerate(self.listeners)),
        ):
            if found != expected:
                self.errors.append(f"{what}: has {found}, the server {expected}")
        self.check_indexes()
        stats = informer.cache.stats
        if stats.handler_errors != self.raised:
            self.errors.append(f"{stats.handler_errors} errors of handlers and indexes, {self.raised} were meant")
        if not informer.synced or informer.trouble or informer.resource_version != version:
            self.errors.append(f"trouble {informer.trouble!r}, version {informer.resource_version} of {version}")

    def _raise(self, delta: Delta[JsonObject]) -> None:
        if delta.name == "a":
            self.raised += 1
            raise RuntimeError("it does not like this object")


class Listener:
    """Follows the changes alone, and notes each that does not follow from those before."""

    def __init__(self, view: View) -> None:
        self.objects: dict[Key, JsonObject] = {}
        self._view = view
        self._versions: dict[Key, int] = {}
        self._gone: set[str] = set()

    def told(self, delta: Delta[JsonObject]) -> None:
        """A handler."""
        key = (delta.namespace, delta.name)
        for problem in self._problems(key, delta):
            self._view.errors.append(f"{key}: {delta.type} from {delta.old} to {delta.new}: {problem}")
        if delta.new is None:
            self.objects.pop(key, None)
        else:
            self.objects[key] = delta.new
        self._view.check(key)

    def _problems(self, key: Key, delta: Delta[JsonObject]) -> list[str]:
        before, old, new = self.objects.get(key), delta.old, delta.new
        last, problems = self._versions.get(key, 0), list[str]()
        if new is None:
            if before is None or old is None:
                return ["it was not there"]
            if old["metadata"]["uid"] != before["metadata"]["uid"]:
                problems.append(f"{before} was there")
            if int(old["metadata"]["resourceVersion"]) < last:
                problems.append(f"version {last} was told before")
            if not self._view.selection.labels:  # else it may get its label back
                self._gone.add(old["metadata"]["uid"])
            self._versions[key] = int(old["metadata"]["resourceVersion"])
            return problems
        if old != before:
            problems.append(f"{before} was there")
        if before is not None and new["metadata"]["uid"] != before["metadata"]["uid"]:
            problems.append("it was made anew")
        if new["metadata"]["uid"] in self._gone:
            problems.append("it was gone")
        version = int(new["metadata"]["resourceVersion"])
        if version <= last:
            problems.append(f"version {last} was told before")
        self._versions[key] = version
        return problems


@dataclass(eq=False)
class World:
    """What an operation may act on.

    Attributes:
        api: The server.
        connection: Of the informers.
        resource: What is written and watched.
        views: The caches.
        consistency: Follows own writes.
        ledger: Of the server.
        tasks: Where own writes run.
        waiting: Own writes that no reader may rely on yet.
    """

    api: ApiServer
    connection: Connection
    resource: Resource
    views: list[View]
    consistency: Consistency
    ledger: Ledger
    tasks: TaskGroup
    waiting: int = 0

    def own(self, key: Key, times: Times, write: Callable[[Client], Awaitable[object]]) -> None:
        """A write of our own, whose answer reaches us after a while."""
        self.tasks.start_soon(self._own, key, times, write)

    async def _own(self, key: Key, times: Times, write: Callable[[Client], Awaitable[object]]) -> None:
        reconcile = Reconcile("model", Request(*key), 1)
        current_reconcile.set(reconcile)
        client = self.api.client()
        pending: list[tuple[Callable[[JsonObject | None], None], JsonObject | None]] = []

        def note(resource: Resource, namespace: str, name: str) -> Callable[[JsonObject | None], None]:
            settle = self.consistency.note(resource, namespace, name)
            return lambda answer: pending.append((settle, answer))

        client.on_write = note
        try:
            await self._moment(times.begins)
            await write(client)
        except (ApiError, TransportError):
            pass
        at = self.ledger.last(key).version
        await self._moment(times.answered)
        for settle, answer in () if times.lost else pending:
            settle(answer)
        if not reconcile.writes:
            return  # it was refused, or what was to be deleted was gone
        (written,) = reconcile.writes
        made = self.ledger.at(key, written.answered)
        for view in self.views:
            if written.answered and view.serves(key) and view.holds(key, made):
                view.rely(key, written.answered)
        self.waiting += 1
        woken = Event()
        if not self.consistency.follow(reconcile.writes, woken.set):
            await woken.wait()
        self.waiting -= 1
        for view in self.views:
            if view.serves(key):
                self._seen(view, key, written, at)

    async def _moment(self, moment: Moment) -> None:
        asked = len(self.api.requests)
        if moment.in_list:
            with suppress(TimeoutError):
                await until(lambda: any(map(lists, self.api.requests[asked:])), within=LIST_SECONDS, step=0.05)
        if moment.seconds:
            await asyncio.sleep(moment.seconds)

    def _seen(self, view: View, key: Key, written: Write, at: int) -> None:
        if not written.deleted_uid:
            view.rely(key, written.answered or at)
            return
        shown = view.informer.get(*key)
        if shown is not None and shown["metadata"]["uid"] == written.deleted_uid:
            view.errors.append(f"{key}: the deletion counts as seen, but {shown} is shown")


def lists(sent: Sent) -> bool:
    """Whether the request is one for a list."""
    return "sendInitialEvents" in sent.params or ("limit" in sent.params and "continue" not in sent.params)


def numbers(obj: JsonObject) -> list[str]:
    """The index function."""
    return [obj["metadata"]["labels"]["number"]]


def key_of(obj: JsonObject) -> Key:
    """Namespace and name."""
    return obj["metadata"]["namespace"], obj["metadata"]["name"]


def views_of(factory: InformerFactory, resource: Resource, ledger: Ledger) -> list[View]:
    """A cache of each sort."""
    return [
        View(factory.informer(resource, dict), Selection(), ledger),
        View(factory.informer(resource, dict, label_selector="app=x"), Selection("", "app=x"), ledger),
        View(factory.informer(resource, dict, metadata_only=True), Selection(), ledger),
    ]
