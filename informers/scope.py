"""One scope of a cache: a reflector's lists and events are carried out on its objects.

While a new list comes in and is prepared in slices, readers see the old objects. At its end it takes their place at
once, and the listeners are notified of the differences, deletions that were missed included.
"""

from __future__ import annotations

import asyncio
import itertools
import math
from typing import TYPE_CHECKING

from informers import wire
from informers.entry import Change, Entry, is_same, size_of, uid_of
from informers.index import Table
from informers.store import EVERYWHERE
from informers.turns import sliced
from informers.wire import Delete, Upsert
from workqueue import loop_clock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from informers.index import Index
    from informers.media import Accept
    from informers.resource import Key
    from informers.store import Store


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
        self.size += len(entry.data) - size_of(bucket.get(name))
        bucket[name] = entry

    def drop(self, namespace: str, name: str) -> None:
        """The object was deleted meanwhile."""
        bucket = self.objects.get(namespace)
        if bucket is not None:
            self.size -= size_of(bucket.pop(name, None))


class _Waiter:
    """What is to be called, and the condition that it waits for."""

    __slots__ = ("seen", "wake")

    def __init__(self, seen: Callable[[], bool], wake: Callable[[], None]) -> None:
        self.seen = seen
        self.wake = wake


class Scope:
    """One part of a cache, a namespace or everything: carries out the actions of the reflector that follows it.

    Args:
        store: Holds the objects of all scopes.
        namespace: Which part, or `EVERYWHERE`.
        selectors: Query parameters that select the objects.
        accept: What to ask the server for.
        listed: Called when a list is complete and its changes were delivered.

    Attributes:
        namespace: Which part, or `EVERYWHERE`.
        selectors: Query parameters that select the objects.
        accept: What to ask the server for.
        version: Everything up to this resource version has been observed.
        synced: Whether the first list is in.
        lists_begun: How many lists were begun that show every write before they were requested.
        list_shown: The number, among those, of the list that is shown.
        troubled_since: When the present error began, by `workqueue.loop_clock`; infinite while there is none.
        rewound: Whether the server went back to an earlier version, as after a restore from a backup. Until the next
            list is in, the versions that are held cannot be compared with those of the server.
        on_rewound: Starts a new list. The watcher sets it.
    """

    def __init__(
        self,
        store: Store,
        namespace: str,
        *,
        selectors: Mapping[str, str],
        accept: Accept,
        listed: Callable[[], None],
    ) -> None:
        self.namespace = namespace
        self.selectors = selectors
        self.accept = accept
        self.version = 0
        self.synced = False
        self.lists_begun = self.list_shown = 0
        self.troubled_since = math.inf
        self.rewound = False
        self.on_rewound: Callable[[], None] | None = None
        self._store = store
        self._listed = listed
        self._trouble = ""
        self._staged = _Staged()
        self._newest = False
        self._written: dict[Key, int] = {}
        """Versions of own writes that the watch has not shown yet."""
        self._touched: set[Key] = set()
        """Objects that own writes have changed since the last list was complete."""
        self._waiters: dict[_Waiter, None] = {}

    @property
    def trouble(self) -> str:
        """Why the objects cannot be listed or watched now; "" if they can. The watcher sets it."""
        return self._trouble

    @trouble.setter
    def trouble(self, reason: str) -> None:
        if not (reason and self._trouble):
            self.troubled_since = loop_clock()() if reason else math.inf
        self._trouble = reason

    def begin(self, *, newest: bool) -> None:
        """A list is about to be requested. `newest`: it will show every write before this moment."""
        self._staged = _Staged()
        self._newest = newest
        if newest:
            self.lists_begun += 1
            self._written.clear()

    def stage(self, changes: Sequence[Upsert | Delete]) -> None:
        """Add to the list under way."""
        staged, store = self._staged, self._store
        store.stats.events += len(changes)
        for kind, (namespace, name, version, data) in ((type(change), change.object) for change in changes):
            if kind is Delete:
                staged.drop(namespace, name)
                continue
            # What did not change stays the same entry, so that a relist takes no memory for it. The
            # version alone does not tell: after a restore from a backup the server gives versions a second time.
            entry = store.entry(namespace, name)
            if entry is None or entry.version != version or not is_same(entry.data, data):
                entry = Entry(version, data)
                if store.indexes:
                    staged.values[namespace, name] = [store.values(index, entry) for index in store.indexes]
            staged.put(namespace, name, entry)

    async def commit(self, version: int) -> None:
        """The list is complete: it is prepared in slices, replaces the objects at once, and listeners are notified."""
        store = self._store
        staged, self._staged = self._staged, _Staged()
        initial = not self.synced
        changes = await self._swap(staged, version, initial=initial)
        store.stats.lists += 1
        if self._newest:
            self.list_shown = self.lists_begun
        self.rewound = False
        self._advance(version, back=True)
        await store.listeners.notify_all(changes)
        self.synced = True
        self._listed()

    def apply(self, changes: Sequence[Upsert | Delete], version: int) -> None:
        """Carry out the changes that a watch has sent; they lead to this version."""
        store = self._store
        store.stats.events += len(changes)
        for change in changes:
            namespace, name, at, data = change.object
            present = store.entry(namespace, name)
            if present is not None and present.version >= at:
                if type(change) is Delete and present.version == at:
                    store.put(namespace, name, None)
                continue  # sent twice, or shown already since we wrote it ourselves
            if type(change) is Delete:
                store.put(namespace, name, None, Entry(at, data))
            else:
                store.put(namespace, name, Entry(at, data))
        self._advance(version)

    def write_through(self, written: wire.Object) -> None:
        """Show an own write, unless the object is as new already."""
        present = self._store.entry(written.namespace, written.name)
        if present is not None and present.version >= written.version:
            return
        entry = Entry(written.version, written.data)
        self._written[written.namespace, written.name] = written.version
        self._touched.add((written.namespace, written.name))
        self._store.stats.write_throughs += 1
        if present is not None and uid_of(present) != uid_of(
            entry
        ):  # deleted before, which the watch has not shown yet
            self._store.put(written.namespace, written.name, None)
        self._store.put(written.namespace, written.name, entry)
        if self._waiters:
            self.check_waiters()

    def mark_rewound(self) -> None:
        """The server was found at an earlier version than this scope: its data was restored."""
        self.rewound = True
        if (
            self.lists_begun == self.list_shown and self.on_rewound is not None
        ):  # otherwise a list is on its way already
            self.on_rewound()

    def call_when(self, seen: Callable[[], bool], wake: Callable[[], None]) -> Callable[[], None]:
        """Call `wake` once, after the first change of the scope for which `seen` is true.

        Returns:
            A function that revokes this.
        """
        waiting = _Waiter(seen, wake)
        self._waiters[waiting] = None
        return lambda: self._waiters.pop(waiting, None)

    def check_waiters(self) -> None:
        """Call what waits for the present state."""
        for waiting in [waiting for waiting in self._waiters if waiting.seen()]:
            if waiting in self._waiters:  # one that was called before may have revoked it
                del self._waiters[waiting]
                waiting.wake()

    def close(self) -> None:
        """The scope is followed no more: call whatever waits for it."""
        while self._waiters:
            self._waiters.popitem()[0].wake()

    async def reached(self, version: int) -> None:
        """Return once everything up to the version has been observed.

        Raises:
            TimeoutError: The scope is followed no more.
        """
        if self.version < version:
            event = asyncio.Event()
            revoke = self.call_when(lambda: self.version >= version, event.set)
            try:
                await event.wait()
            finally:
                revoke()
            if self.version < version:
                raise TimeoutError(f"version {version} was not observed before the informer was removed")

    def _advance(self, version: int, *, back: bool = False) -> None:
        """Note the version. Only a list may lead back: the server's data was restored from a backup."""
        self.version = version if back else max(self.version, version)
        if self._written:
            self._written = {key: written for key, written in self._written.items() if written > version}
        if self._waiters:
            self.check_waiters()

    async def _swap(self, staged: _Staged, version: int, *, initial: bool) -> list[Change]:
        """Replace the objects by the list. Until then readers see the old ones, which own writes still change."""
        store, tables = self._store, [Table() for _ in self._store.indexes]
        changes: dict[Key, tuple[Change, ...]] = {}

        def prepare(key: Key) -> None:
            entry = self._merged(staged, version, key)
            found = self._changes(key, entry, initial=initial)
            if found or key in changes:
                changes[key] = found
            for position, (index, table) in enumerate(zip(store.indexes, tables, strict=True)):
                table.put(key, self._values(staged, key, entry, index, position))

        self._touched.clear()
        async for key in sliced(self._keys(staged)):
            prepare(key)
        for key in self._touched:
            prepare(key)
        filled = {namespace: bucket for namespace, bucket in staged.objects.items() if bucket}
        if self.namespace == EVERYWHERE:
            store.objects = filled
        else:
            store.objects.pop(self.namespace, None)
            store.objects |= filled
        for index, table in zip(store.indexes, tables, strict=True):
            index.tables[self.namespace] = table
        store.sizes[self.namespace] = staged.size
        found = list(itertools.chain.from_iterable(changes.values()))
        store.stats.tombstones += sum(change.new is None for change in found)
        return found

    def _keys(self, staged: _Staged) -> Iterator[Key]:
        """Present and listed objects. What own writes add meanwhile may be left out."""
        live = self._store.objects
        mine = list(live) if self.namespace == EVERYWHERE else [self.namespace]
        for namespace in dict.fromkeys([*mine, *staged.objects]):
            old = live.get(namespace, {})
            for name in list(old):
                yield namespace, name
            for name in list(staged.objects.get(namespace, ())):
                if name not in old:
                    yield namespace, name

    def _merged(self, staged: _Staged, version: int, key: Key) -> Entry | None:
        """The object as listed; or as an own write left it, which is then put into a list that is too old for it."""
        listed, before = staged.get(*key), self._store.entry(*key)
        if before is None or self._written.get(key, 0) <= version:
            return listed
        if listed is None or listed.version < before.version:
            staged.put(*key, before)
            return before
        return listed

    def _changes(self, key: Key, entry: Entry | None, *, initial: bool) -> tuple[Change, ...]:
        """The changes that listeners are notified of when the object becomes `entry`."""
        before = self._store.entry(*key)
        if before is entry:
            return ()
        if before is None or entry is None:
            return (Change(*key, before, entry, initial=initial and entry is not None),)
        if before.version == entry.version and is_same(before.data, entry.data):
            return ()  # an own write that was shown since the list's object came
        if uid_of(before) != uid_of(entry):  # a deletion that was missed, and a new object
            return (Change(*key, before, None, initial=False), Change(*key, None, entry, initial=initial))
        return (Change(*key, before, entry, initial=initial),)

    def _values(
        self, staged: _Staged, key: Key, entry: Entry | None, index: Index, position: int
    ) -> tuple[str, ...] | None:
        """The object's values for an index. Those of a listed object that differs were computed as it came in."""
        if entry is None:
            return ()
        if entry is self._store.entry(*key):
            return index.table(self.namespace).values(key)
        known = staged.values.get(key)
        return self._store.values(index, entry) if known is None else known[position]
