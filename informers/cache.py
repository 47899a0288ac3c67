"""The local copy of a collection: bytes by namespace and name, kept up to date by one reflector for each scope.

A scope is a namespace, or everything. While a new list of a scope comes in, and is prepared in slices, readers see the
old one; at its end the new one takes its place at once, and what differs is told to the listeners, deletions that
happened unseen included.

Objects that we wrote ourselves are shown as the server returned them, before the watch tells of them
(`Cache.observe_write`), so that nobody acts on a state older than his own write.
"""

from __future__ import annotations

import asyncio
import itertools
import math
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec
import orjson
import structlog

from informers import wire
from informers.media import METADATA, PARTIAL, WHOLE
from informers.selector import fields_match, labels_match
from informers.turns import Turns, sliced
from informers.wire import Delete, Upsert
from workqueue import loop_clock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from informers.media import Accept
    from informers.resource import JsonObject, Key, Resource

EVERYWHERE: Final = ""
"""The scope of all namespaces, and of cluster-scoped resources."""

LEFT_OUT: Final = 1024
"""Objects that cannot be read of which it is remembered that this was told."""

_log = structlog.get_logger("informers")


class Entry(msgspec.Struct, frozen=True, gc=False):
    """An object as it is kept: its resource version, and its JSON without managedFields."""

    version: int
    data: bytes


class Change(msgspec.Struct, frozen=True, gc=False):
    """What became of one object: added (no old), updated, or deleted (no new).

    Attributes:
        namespace: Of the object.
        name: Of the object.
        old: Its state before; of a deleted one the last, as far as it is known.
        new: Its state now.
        initial: Whether it comes from the first list.
    """

    namespace: str
    name: str
    old: Entry | None
    new: Entry | None
    initial: bool


@dataclass(slots=True)
class CacheStats:
    """What a cache has done since it was made.

    Attributes:
        events: Changes that the server sent, duplicates included.
        lists: Lists that were completed; all but the first of a scope are relists.
        tombstones: Deletions that only a relist found.
        write_throughs: Own writes that were shown before the watch told of them.
        handler_errors: Handlers and index functions that raised.
        undecodable: Objects that were left out of what a reader asked for, since they cannot be read.
    """

    events: int = 0
    lists: int = 0
    tombstones: int = 0
    write_throughs: int = 0
    handler_errors: int = 0
    undecodable: int = 0


class Table:
    """Keys of a scope's objects by values that are computed from them.

    Attributes:
        failed: Objects whose values could not be computed.
    """

    __slots__ = ("_keys", "_values", "failed")

    def __init__(self) -> None:
        self.failed: dict[Key, None] = {}
        self._values: dict[Key, tuple[str, ...]] = {}
        self._keys: dict[str, dict[Key, None]] = {}

    def keys(self, value: str) -> Iterable[Key]:
        """Keys of the objects that have the value."""
        return self._keys.get(value, ())

    def values(self, key: Key) -> tuple[str, ...] | None:
        """The values of the object; None: they could not be computed."""
        return None if key in self.failed else self._values.get(key, ())

    def put(self, key: Key, computed: tuple[str, ...] | None) -> None:
        """The object has these values now; none: it is gone. None: they could not be computed."""
        values = computed or ()
        if computed is None:
            self.failed[key] = None
        else:
            self.failed.pop(key, None)
        before = self._values.get(key, ())
        if before == values:
            return
        for value in before:
            found = self._keys.get(value)
            if found is not None:
                found.pop(key, None)
                if not found:
                    del self._keys[value]
        for value in values:
            self._keys.setdefault(value, {})[key] = None
        if values:
            self._values[key] = values
        else:
            del self._values[key]


class Index:
    """Keys of objects by values that are computed from them.

    Attributes:
        values: Computes them.
        tables: By scope.
    """

    def __init__(self, values: Callable[[bytes], Iterable[str]]) -> None:
        self.values = values
        self.tables: dict[str, Table] = {}

    def keys(self, value: str) -> list[Key]:
        """Keys of the objects that have the value."""
        return [key for table in self.tables.values() for key in table.keys(value)]

    @property
    def failed(self) -> list[Key]:
        """Keys of the objects whose values could not be computed."""
        return [key for table in self.tables.values() for key in table.failed]

    def table(self, scope: Scope) -> Table:
        """That of a scope."""
        found = self.tables.get(scope.namespace)
        if found is None:
            found = self.tables[scope.namespace] = Table()
        return found


class _Listener:
    """Who is told of changes, and those that he has not been told yet."""

    __slots__ = ("backlog", "call")

    def __init__(self, call: Callable[[Change], None]) -> None:
        self.call = call
        self.backlog: deque[Change] = deque()


class _Uid(msgspec.Struct, frozen=True):
    uid: str = ""


class _WithUid(msgspec.Struct, frozen=True):
    metadata: _Uid = _Uid()


_decode_uid = msgspec.json.Decoder(_WithUid).decode


class Cache:
    """The copy of one collection, in one or several scopes.

    Args:
        resource: What it holds.
        scopes: Namespaces that it holds, or `EVERYWHERE` alone.
        label_selector: Only objects whose labels match belong in it.
        field_selector: Only objects whose fields match belong in it.
        partial: Whether it holds objects' metadata alone.

    Attributes:
        optional: Whether it holds up nobody but the controllers that watch it.
    """

    def __init__(
        self,
        resource: Resource,
        scopes: tuple[str, ...],
        *,
        label_selector: str = "",
        field_selector: str = "",
        partial: bool = False,
    ) -> None:
        self.resource = resource
        self.optional = True
        self.partial = partial
        self.stats = CacheStats()
        self.objects: dict[str, dict[str, Entry]] = {}
        self.indexes: list[Index] = []
        self.scopes = {namespace: Scope(self, namespace) for namespace in scopes}
        self.selective = bool(label_selector or field_selector)
        self._label_selector = label_selector
        self._field_selector = field_selector
        self._synced = asyncio.Event()
        self._listeners: list[_Listener] = []
        self._left_out: dict[Key, int] = {}

    def entry(self, namespace: str, name: str) -> Entry | None:
        """The object's entry, None if there is none."""
        bucket = self.objects.get(namespace)
        return None if bucket is None else bucket.get(name)

    def buckets(self, namespace: str | None) -> Iterator[tuple[str, dict[str, Entry]]]:
        """Entries by name for one namespace, or for each (None)."""
        if namespace is None:
            yield from self.objects.items()
        elif namespace in self.objects:
            yield namespace, self.objects[namespace]

    def __len__(self) -> int:
        return sum(map(len, self.objects.values()))

    def size(self) -> int:
        """Bytes of JSON that are kept."""
        return sum(scope.size for scope in self.scopes.values())

    @property
    def selectors(self) -> dict[str, str]:
        """`labelSelector` and `fieldSelector` as query parameters, those that there are."""
        found = {"labelSelector": self._label_selector, "fieldSelector": self._field_selector}
        return {name: value for name, value in found.items() if value}

    @property
    def synced(self) -> bool:
        """Whether every scope's first list is in, and was told to the listeners."""
        return self._synced.is_set()

    async def wait_synced(self) -> None:
        """Return once it is `synced`."""
        await self._synced.wait()

    @property
    def version(self) -> int:
        """Everything up to this resource version has been seen, in every scope; 0 before the first list."""
        return min((scope.version for scope in self.scopes.values()), default=0)

    @property
    def trouble(self) -> str:
        """Why the copy is not filled or followed now, "" when all is well."""
        return "; ".join(
            f"namespace {scope.namespace}: {scope.trouble}" if scope.namespace else scope.trouble
            for scope in self.scopes.values()
            if scope.trouble
        )

    @property
    def troubled_since(self) -> float:
        """When the oldest trouble began, in seconds of `workqueue.loop_clock`; infinite while all is well."""
        return min((scope.troubled_since for scope in self.scopes.values()), default=math.inf)

    @property
    def untold(self) -> int:
        """Changes that the listener who is furthest behind has not been told yet."""
        return max((len(listener.backlog) for listener in self._listeners), default=0)

    def scope(self, namespace: str) -> Scope | None:
        """The scope that serves the namespace."""
        return self.scopes.get(EVERYWHERE) or self.scopes.get(namespace)

    def matches(self, namespace: str, name: str, labels: Mapping[str, str]) -> bool | None:
        """Whether such an object belongs in the copy by its selectors; None where only the API server can tell."""
        by_labels = labels_match(self._label_selector, labels)
        by_fields = fields_match(self._field_selector, namespace, name)
        if by_labels is False or by_fields is False:
            return False
        return None if by_labels is None or by_fields is None else True

    def observe_write(self, obj: JsonObject) -> None:
        """Show an object as the server returned it for a write, if that is newer than what the watch has told."""
        metadata = obj["metadata"]
        scope = self.scope(metadata.get("namespace", ""))
        version = int(metadata["resourceVersion"])
        # What the watch has passed, it may have deleted since.
        if scope is None or not scope.synced or version <= scope.version:
            return
        if self.matches(metadata.get("namespace", ""), metadata["name"], metadata.get("labels") or {}) is not True:
            return
        kept = {name: value for name, value in metadata.items() if name != "managedFields"}
        data = orjson.dumps({**(PARTIAL if self.partial else obj), "metadata": kept})
        scope.write_through(wire.Object(kept.get("namespace", ""), kept["name"], version, data))

    def put(self, namespace: str, name: str, new: Entry | None, last: Entry | None = None) -> None:
        """Change one object of the copy, and tell it: `new` None deletes it, `last` is then its last state if known."""
        scope = self.scope(namespace)
        assert scope is not None  # noqa: S101  # who puts an object is a scope
        if new is None:
            bucket = self.objects.get(namespace)
            old = None if bucket is None else bucket.pop(name, None)
            if bucket is None or old is None:
                return
            if not bucket:
                del self.objects[namespace]
        else:
            bucket = self.objects.get(namespace)
            if bucket is None:
                bucket = self.objects[namespace] = {}
            old = bucket.get(name)
            bucket[name] = new
        scope.size += _size(new) - _size(old)
        for index in self.indexes:
            index.table(scope).put((namespace, name), () if new is None else self.values(index, new))
        change = Change(namespace, name, last or old, new, initial=False)
        for listener in self._listeners:
            if listener.backlog:
                listener.backlog.append(change)
            else:
                self._call(listener, change)

    def leave_out(self, namespace: str, name: str, entry: Entry, error: Exception) -> None:
        """An object cannot be read, and is left out of what was asked for: told of each of its versions once."""
        if self._left_out.get((namespace, name)) == entry.version:
            return
        self._left_out[namespace, name] = entry.version
        if len(self._left_out) > LEFT_OUT:
            del self._left_out[next(iter(self._left_out))]
        self.stats.undecodable += 1
        _log.error("object left out", resource=str(self.resource), namespace=namespace, name=name, error=str(error))

    def values(self, index: Index, entry: Entry) -> tuple[str, ...] | None:
        """The entry's values for an index; None where they cannot be computed."""
        try:
            return tuple(index.values(entry.data))
        except (SystemExit, KeyboardInterrupt, GeneratorExit):
            raise
        except BaseException:  # one object that does not fit must not stop the stream of all others
            self.stats.handler_errors += 1
            _log.exception("index function failed", resource=str(self.resource))
            return None

    def add_listener(self, call: Callable[[Change], None]) -> None:
        """Tell the listener of each change, in order; first of what is there already, as if it were listed now."""
        listener = _Listener(call)
        listener.backlog.extend(
            Change(namespace, name, None, entry, initial=True)
            for namespace, bucket in self.objects.items()
            for name, entry in bucket.items()
        )
        self._listeners.append(listener)
        self._catch_up(listener)

    async def tell_all(self, changes: Sequence[Change]) -> None:
        """Tell many changes by time slices. What else changes meanwhile is told afterwards, in order."""
        for listener in self._listeners:
            listener.backlog.extend(changes)
        while not self._tell(self._listeners):  # noqa: ASYNC110  # it waits for its next turn, not for an event
            await asyncio.sleep(0)

    def settle(self) -> None:
        """A scope was listed: see whether all are."""
        if all(scope.synced for scope in self.scopes.values()):
            self._synced.set()

    def _catch_up(self, listener: _Listener) -> None:
        if not self._tell([listener]):
            asyncio.get_running_loop().call_soon(self._catch_up, listener)

    def _tell(self, listeners: Sequence[_Listener]) -> bool:
        """Tell listeners what they have not been told, for a time slice; returns whether that was all."""
        turns = Turns()
        while True:
            behind = [listener for listener in listeners if listener.backlog]
            if not behind:
                return True
            for listener in behind:
                self._call(listener, listener.backlog.popleft())
            if turns.over:
                return not any(listener.backlog for listener in listeners)

    def _call(self, listener: _Listener, change: Change) -> None:
        try:
            listener.call(change)
        except (SystemExit, KeyboardInterrupt, GeneratorExit):
            raise
        except BaseException:  # a bad handler must not stop the stream, nor the handlers beside it
            self.stats.handler_errors += 1
            _log.exception("handler failed", resource=str(self.resource), namespace=change.namespace, name=change.name)


class _Staged:
    """A list that is under way: the objects, the index values of those that differ from the copy's, and their bytes."""

    __slots__ = ("objects", "size", "values")

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, Entry]] = {}
        self.values: dict[Key, list[tuple[str, ...] | None]] = {}
        self.size = 0

    def get(self, namespace: str, name: str) -> Entry | None:
        """The object's entry, None if there is none."""
        bucket = self.objects.get(namespace)
        return None if bucket is None else bucket.get(name)

    def put(self, namespace: str, name: str, entry: Entry) -> None:
        """Add an object, or a later state of it."""
        bucket = self.objects.get(namespace)
        if bucket is None:
            bucket = self.objects[namespace] = {}
        self.size += len(entry.data) - _size(bucket.get(name))
        bucket[name] = entry

    def drop(self, namespace: str, name: str) -> None:
        """The object was deleted meanwhile."""
        bucket = self.objects.get(namespace)
        if bucket is not None:
            self.size -= _size(bucket.pop(name, None))


class _Waiting:
    """Who is to be woken, and by what he knows that he is."""

    __slots__ = ("seen", "wake")

    def __init__(self, seen: Callable[[], bool], wake: Callable[[], None]) -> None:
        self.seen = seen
        self.wake = wake


class Scope:
    """The part of a cache that one reflector keeps up to date: carries out the reflector's actions.

    Attributes:
        namespace: Which part, or `EVERYWHERE`.
        version: Everything up to this resource version has been seen.
        synced: Whether the first list is in.
        begun: Lists so far that show every write until they were asked for.
        shown: The number among those of the one that is in.
        troubled_since: When the trouble began, in seconds of `workqueue.loop_clock`; infinite while there is none.
        doubted: Whether the server has gone back to an earlier version, as after a restore from a backup: until the
            next list is in, the versions that are held cannot be compared with those of the server.
        on_doubt: Makes a new list. The watcher sets it.
        size: Bytes of the objects.
    """

    def __init__(self, cache: Cache, namespace: str) -> None:
        self.namespace = namespace
        self.version = 0
        self.synced = False
        self.begun = self.shown = 0
        self.troubled_since = math.inf
        self._trouble = ""
        self.size = 0
        self._cache = cache
        self._staged = _Staged()
        self._newest = False
        self._written: dict[Key, int] = {}
        """Versions of own writes that the watch has not told of yet."""
        self._touched: set[Key] = set()
        """Objects that own writes have changed since the last list was complete."""
        self.doubted = False
        self.on_doubt: Callable[[], None] | None = None
        self._waiting: dict[_Waiting, None] = {}

    @property
    def trouble(self) -> str:
        """Why the part is not filled or followed now, "" when all is well. The watcher sets it."""
        return self._trouble

    @trouble.setter
    def trouble(self, reason: str) -> None:
        if not (reason and self._trouble):
            self.troubled_since = loop_clock()() if reason else math.inf
        self._trouble = reason

    @property
    def selectors(self) -> dict[str, str]:
        """Those of the cache, as query parameters."""
        return self._cache.selectors

    @property
    def accept(self) -> Accept:
        """What to ask the server for."""
        return METADATA if self._cache.partial else WHOLE

    def begin(self, *, newest: bool) -> None:
        """A list is about to be asked for. `newest`: it will show every write until now."""
        self._staged = _Staged()
        self._newest = newest
        if newest:
            self.begun += 1
            self._written.clear()

    def stage(self, changes: Sequence[Upsert | Delete]) -> None:
        """Add to the list under way."""
        staged, cache = self._staged, self._cache
        cache.stats.events += len(changes)
        for kind, (namespace, name, version, data) in ((type(change), change.object) for change in changes):
            if kind is Delete:
                staged.drop(namespace, name)
                continue
            # What did not change stays the same entry, and the new bytes go: a relist takes no memory for it. The
            # version alone does not tell: after a restore from a backup the server gives versions a second time.
            entry = cache.entry(namespace, name)
            if entry is None or entry.version != version or not _same(entry.data, data):
                entry = Entry(version, data)
                if cache.indexes:
                    staged.values[namespace, name] = [cache.values(index, entry) for index in cache.indexes]
            staged.put(namespace, name, entry)

    async def commit(self, version: int) -> None:
        """The list is complete: prepared in slices, it takes the copy's place at once; what differs is told then."""
        cache = self._cache
        staged, self._staged = self._staged, _Staged()
        initial = not self.synced
        changes = await self._swap(staged, version, initial=initial)
        cache.stats.lists += 1
        if self._newest:
            self.shown = self.begun
        self.doubted = False
        self._advance(version, back=True)
        await cache.tell_all(changes)
        self.synced = True
        cache.settle()

    def apply(self, changes: Sequence[Upsert | Delete], version: int) -> None:
        """Carry out changes of the watch, which lead to this version."""
        cache = self._cache
        cache.stats.events += len(changes)
        for change in changes:
            namespace, name, at, data = change.object
            present = cache.entry(namespace, name)
            if present is not None and present.version >= at:
                if type(change) is Delete and present.version == at:
                    cache.put(namespace, name, None)
                continue  # sent twice, or shown already since we wrote it ourselves
            if type(change) is Delete:
                cache.put(namespace, name, None, Entry(at, data))
            else:
                cache.put(namespace, name, Entry(at, data))
        self._advance(version)

    def write_through(self, written: wire.Object) -> None:
        """Show an own write, unless the copy's object is as new."""
        present = self._cache.entry(written.namespace, written.name)
        if present is not None and present.version >= written.version:
            return
        entry = Entry(written.version, written.data)
        self._written[written.namespace, written.name] = written.version
        self._touched.add((written.namespace, written.name))
        self._cache.stats.write_throughs += 1
        if present is not None and uid_of(present) != uid_of(entry):  # deleted before, which the watch has not told yet
            self._cache.put(written.namespace, written.name, None)
        self._cache.put(written.namespace, written.name, entry)
        if self._waiting:
            self.look()

    def doubt(self) -> None:
        """The server was found at an earlier version than this one: what is held is of a history that is no more."""
        self.doubted = True
        if self.begun == self.shown and self.on_doubt is not None:  # else a list is on its way already
            self.on_doubt()

    def when(self, seen: Callable[[], bool], wake: Callable[[], None]) -> Callable[[], None]:
        """Call `wake`, once, after the first change here from which `seen` holds.

        Returns:
            Takes that back.
        """
        waiting = _Waiting(seen, wake)
        self._waiting[waiting] = None
        return lambda: self._waiting.pop(waiting, None)

    def look(self) -> None:
        """Wake who waits for what is there now."""
        for waiting in [waiting for waiting in self._waiting if waiting.seen()]:
            if waiting in self._waiting:  # unless one that was woken before has taken it back
                del self._waiting[waiting]
                waiting.wake()

    async def reached(self, version: int) -> None:
        """Return once everything up to the version has been seen."""
        if self.version < version:
            event = asyncio.Event()
            take_back = self.when(lambda: self.version >= version, event.set)
            try:
                await event.wait()
            finally:
                take_back()

    def _advance(self, version: int, *, back: bool = False) -> None:
        """Note how far the copy is. Only a list may lead back: the server's data was restored from a backup."""
        self.version = version if back else max(self.version, version)
        if self._written:
            self._written = {key: written for key, written in self._written.items() if written > version}
        if self._waiting:
            self.look()

    async def _swap(self, staged: _Staged, version: int, *, initial: bool) -> list[Change]:
        """Make the list the copy. Until it is one, readers see the old copy, and own writes go on to change that."""
        cache, tables = self._cache, [Table() for _ in self._cache.indexes]
        changes: dict[Key, tuple[Change, ...]] = {}

        def prepare(key: Key) -> None:
            entry = self._merged(staged, version, key)
            found = self._changes(key, entry, initial=initial)
            if found or key in changes:
                changes[key] = found
            for position, (index, table) in enumerate(zip(cache.indexes, tables, strict=True)):
                table.put(key, self._values(staged, key, entry, index, position))

        self._touched.clear()
        async for key in sliced(self._keys(staged)):
            prepare(key)
        for key in self._touched:
            prepare(key)
        filled = {namespace: bucket for namespace, bucket in staged.objects.items() if bucket}
        if self.namespace == EVERYWHERE:
            cache.objects = filled
        else:
            cache.objects.pop(self.namespace, None)
            cache.objects |= filled
        for index, table in zip(cache.indexes, tables, strict=True):
            index.tables[self.namespace] = table
        self.size = staged.size
        told = list(itertools.chain.from_iterable(changes.values()))
        cache.stats.tombstones += sum(change.new is None for change in told)
        return told

    def _keys(self, staged: _Staged) -> Iterator[Key]:
        """Objects of the copy and of the list. What own writes add to the copy meanwhile may be left out."""
        live = self._cache.objects
        mine = list(live) if self.namespace == EVERYWHERE else [self.namespace]
        for namespace in dict.fromkeys([*mine, *staged.objects]):
            old = live.get(namespace, {})
            for name in list(old):
                yield namespace, name
            for name in list(staged.objects.get(namespace, ())):
                if name not in old:
                    yield namespace, name

    def _merged(self, staged: _Staged, version: int, key: Key) -> Entry | None:
        """The object as the list has it, or an own write that the list is too old to show, and has now."""
        listed, before = staged.get(*key), self._cache.entry(*key)
        if before is None or self._written.get(key, 0) <= version:
            return listed
        if listed is None or listed.version < before.version:
            staged.put(*key, before)
            return before
        return listed

    def _changes(self, key: Key, entry: Entry | None, *, initial: bool) -> tuple[Change, ...]:
        """What it is to the copy that the object becomes so."""
        before = self._cache.entry(*key)
        if before is entry:
            return ()
        if before is None or entry is None:
            return (Change(*key, before, entry, initial=initial and entry is not None),)
        if before.version == entry.version and _same(before.data, entry.data):
            return ()  # an own write, of which its answer has told since the list's object came
        if uid_of(before) != uid_of(entry):  # deleted unseen, and made anew
            return (Change(*key, before, None, initial=False), Change(*key, None, entry, initial=initial))
        return (Change(*key, before, entry, initial=initial),)

    def _values(
        self, staged: _Staged, key: Key, entry: Entry | None, index: Index, position: int
    ) -> tuple[str, ...] | None:
        """The object's values for an index, which are known already if it was listed otherwise than the copy has it."""
        if entry is None:
            return ()
        if entry is self._cache.entry(*key):
            return index.table(self).values(key)
        known = staged.values.get(key)
        return self._cache.values(index, entry) if known is None else known[position]


def _size(entry: Entry | None) -> int:
    return 0 if entry is None else len(entry.data)


def _same(data: bytes, other: bytes) -> bool:
    """Whether these are the same object, however each is written: Go escapes what we do not, for one."""
    return data == other or bool(orjson.loads(data) == orjson.loads(other))


def uid_of(entry: Entry) -> str:
    """The object's uid."""
    return _decode_uid(entry.data).metadata.uid
