"""The objects of a collection in memory: bytes by namespace and name, with indexes, and listeners to changes."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import structlog

from informers.entry import Change, Entry, size_of
from informers.listeners import Listeners

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from informers.index import Index
    from informers.resource import Key, Resource

EVERYWHERE: Final = ""
"""The scope of all namespaces, and of cluster-scoped resources."""

LEFT_OUT: Final = 1024
"""Unreadable objects of which is remembered that they were logged."""

_log = structlog.get_logger("informers")


@dataclass(slots=True)
class CacheStats:
    """What a cache has done since it was made.

    Attributes:
        events: Changes that the server sent, duplicates included.
        lists: Lists that were completed; all but the first of a scope are relists.
        tombstones: Deletions that the watch missed and a relist found.
        write_throughs: Own writes that were shown before the watch showed them.
        handler_errors: Handlers and index functions that raised.
        undecodable: Objects that were left out of answers because they cannot be read.
    """

    events: int = 0
    lists: int = 0
    tombstones: int = 0
    write_throughs: int = 0
    handler_errors: int = 0
    undecodable: int = 0


class Store:
    """The objects. They belong to scopes, each of which is replaced as a whole when it is listed.

    Args:
        resource: What it holds.
        whole: Whether all namespaces are one scope; otherwise each namespace is a scope.

    Attributes:
        stats: What it has counted.
        objects: Entries by name, by namespace.
        indexes: Kept up to date with the objects.
        listeners: Notified of changes.
        sizes: Bytes of JSON, by scope.
    """

    def __init__(self, resource: Resource, *, whole: bool) -> None:
        self.resource = resource
        self.stats = CacheStats()
        self.objects: dict[str, dict[str, Entry]] = {}
        self.indexes: list[Index] = []
        self.listeners = Listeners(self._listener_failed)
        self.sizes: Counter[str] = Counter()
        self._whole = whole
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
        return sum(self.sizes.values())

    def put(self, namespace: str, name: str, new: Entry | None, last: Entry | None = None) -> None:
        """Change one object and notify the listeners.

        Args:
            namespace: The object's namespace.
            name: The object's name.
            new: Its new state; None: it is deleted.
            last: The last state of a deleted object, if it is known better than by the store.
        """
        bucket = self.objects.get(namespace)
        if new is None:
            old = None if bucket is None else bucket.pop(name, None)
            if bucket is None or old is None:
                return
            if not bucket:
                del self.objects[namespace]
        else:
            if bucket is None:
                bucket = self.objects[namespace] = {}
            old = bucket.get(name)
            bucket[name] = new
        scope = EVERYWHERE if self._whole else namespace
        self.sizes[scope] += size_of(new) - size_of(old)
        for index in self.indexes:
            index.table(scope).put((namespace, name), () if new is None else self.values(index, new))
        self.listeners.notify(Change(namespace, name, last or old, new, initial=False))

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
        """Notify the listener of each change, in order; first of the present objects, as if they were listed now."""
        present = (
            Change(namespace, name, None, entry, initial=True)
            for namespace, bucket in self.objects.items()
            for name, entry in bucket.items()
        )
        self.listeners.add(call, present)

    def leave_out(self, namespace: str, name: str, entry: Entry, error: Exception) -> None:
        """An object cannot be read and is left out of an answer: it is counted and logged, once for each version."""
        if self._left_out.get((namespace, name)) == entry.version:
            return
        self._left_out[namespace, name] = entry.version
        if len(self._left_out) > LEFT_OUT:
            del self._left_out[next(iter(self._left_out))]
        self.stats.undecodable += 1
        _log.error("object left out", resource=str(self.resource), namespace=namespace, name=name, error=str(error))

    def _listener_failed(self, change: Change) -> None:
        self.stats.handler_errors += 1
        _log.exception("handler failed", resource=str(self.resource), namespace=change.namespace, name=change.name)
