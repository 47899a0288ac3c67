"""Reading one's own writes: a reconciler never acts on a cache that is older than what it wrote last time.

Each write's answer goes into the caches at once, where it is newer than what they have (write-through), so that the
wait before the next reconcile of the same request is mostly none. Where a cache has not seen a write yet, the wait is
for its version to get there; bookmarks move it on though no object changes. So a cache that is followed gets there, and
one that is not must not be acted on, however long that takes. Where the server's data was restored from a backup,
versions go back, and a list that began after the write counts. Versions of one resource can be compared:
https://github.com/kubernetes/enhancements/tree/master/keps/sig-api-machinery/5504-comparable-resource-version
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from controller.runtime.reconciler import Write, current_reconcile
from informers.cache import uid_of
from workqueue import Histogram, loop_clock

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from informers import InformerFactory, JsonObject, Resource
    from informers.cache import Cache

WAIT = 5.0
"""Seconds to wait for the caches before a request is put back."""

WAIT_BUCKETS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


@dataclass(slots=True)
class ConsistencyStats:
    """Seconds that reconciles waited for the caches, by how that ended; no wait, no entry."""

    waits: dict[str, Histogram] = field(
        default_factory=lambda: {"success": Histogram(WAIT_BUCKETS), "timeout": Histogram(WAIT_BUCKETS)}
    )


class Consistency:
    """Follows writes into the caches.

    Args:
        factory: The caches.
        clock: Monotonic seconds; `workqueue.loop_clock` by default.
    """

    def __init__(self, factory: InformerFactory, *, clock: Callable[[], float] | None = None) -> None:
        self.stats = ConsistencyStats()
        self._factory = factory
        self._clock = clock or loop_clock()

    def note(self, resource: Resource, namespace: str, name: str, answer: JsonObject) -> None:
        """Takes note of a write that the API server has carried out.

        Args:
            resource: The kind of object written.
            namespace: Its namespace.
            name: Its name.
            answer: What the API server answered: the object, or after a deletion a Status.
        """
        reconcile = current_reconcile.get()
        caches = self._caches(resource)
        begun = {scope: scope.begun for cache in caches if (scope := cache.scope(namespace)) is not None}
        if answer.get("kind") == resource.kind:
            for cache in caches:
                cache.observe_write(answer)
            metadata = answer["metadata"]
            version, labels = int(metadata["resourceVersion"]), metadata.get("labels") or {}
            write = Write(resource, namespace, name, version, labels=labels, begun=begun)
        else:
            details = answer.get("details") or {}
            write = Write(resource, namespace, name, 0, deleted_uid=details.get("uid", ""), begun=begun)
        if reconcile is not None:
            reconcile.writes.append(write)

    async def caught_up(self, writes: Sequence[Write]) -> bool:
        """Waits until every cache that may hold the objects written has seen the writes, for at most `WAIT` seconds.

        Returns:
            Whether they have.
        """
        watched = [(write, cache) for write in writes for cache in self._caches(write.resource)]
        if all(_seen(write, cache) for write, cache in watched):
            return True
        started = self._clock()
        caught_up = True
        try:
            async with asyncio.timeout(WAIT):
                # All of them, in order: once an earlier write of an object is seen, a later one may be missing.
                for write, cache in watched:
                    await _until_seen(write, cache)
        except TimeoutError:
            caught_up = False
        self.stats.waits["success" if caught_up else "timeout"].observe(self._clock() - started)
        return caught_up

    def _caches(self, resource: Resource) -> list[Cache]:
        return [cache for cache, _ in self._factory.caches() if cache.resource == resource]


def _seen(write: Write, cache: Cache) -> bool:
    """Whether the cache shows the write, or is not the one to show it."""
    scope = cache.scope(write.namespace)
    if scope is None or not scope.synced or scope.shown > write.begun.get(scope, scope.begun):
        return True
    entry = cache.entry(write.namespace, write.name)
    if not write.resource_version:
        return entry is None or uid_of(entry) != write.deleted_uid
    if scope.version >= write.resource_version or (entry is not None and entry.version >= write.resource_version):
        return True
    # A cache with selectors learns of an object that does not match only by a bookmark, a minute later. What it holds
    # in an older version it is told of at once. Where it cannot be told here whether it matches, the bookmark decides.
    return entry is None and cache.matches(write.namespace, write.name, write.labels) is False


async def _until_seen(write: Write, cache: Cache) -> None:
    scope = cache.scope(write.namespace)
    while scope is not None and not _seen(write, cache):
        # Of a deletion no version is known: look again at each step of the cache.
        await scope.reached(write.resource_version or scope.version + 1)
