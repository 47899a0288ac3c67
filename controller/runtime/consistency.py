"""Read your writes: a reconciler never acts on a cache that is older than what it wrote last time.

A write is noted before it is sent. Its answer settles it, and goes into the caches at once if it is newer than theirs
(write-through), so that mostly nothing is left to wait for. Otherwise the caches must reach its version, to which
bookmarks lead them even without changes, or show a list that began after it. A cache that is watched gets there; a
cache that is not must not be acted on, however long that takes. No worker waits for that.

If a write has no answer, its outcome is unknown. Then the object is read and stands for the answer; if there is none,
or its name is not known, the collection's version is read once, and the caches must reach it. The collection is also
read when an answer is older than a cache that does not show it: if the server is behind the cache, its data was
restored from a backup, and the cache makes a new list.

Versions of one resource can be compared:
https://github.com/kubernetes/enhancements/tree/master/keps/sig-api-machinery/5504-comparable-resource-version
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import anyio
import structlog

from controller.runtime.reconciler import Write, current_reconcile
from informers import ApiError, TransportError
from informers.entry import uid_of
from informers.watcher import Backoff
from workqueue import Histogram, loop_clock

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from controller.runtime.reconciler import Reconcile
    from informers import Client, InformerFactory, JsonObject, Resource
    from informers.cache import Cache
    from informers.scope import Scope

log = structlog.get_logger(__name__)

WAIT_BUCKETS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)

READ_DEADLINE = 10.0
"""Seconds for a request that finds out what became of a write."""

FORBIDDEN = 403


@dataclass(slots=True)
class ConsistencyStats:
    """What following writes has counted.

    Attributes:
        waits: Seconds from the end of reconciles until the caches had seen what they wrote; no entry if they had then.
    """

    waits: Histogram = field(default_factory=lambda: Histogram(WAIT_BUCKETS))


class Consistency:
    """Follows writes until the caches show them.

    Args:
        client: Notifies of its writes, and reads versions.
        factory: The caches.
        clock: Monotonic seconds; `workqueue.loop_clock` by default.
    """

    def __init__(self, client: Client, factory: InformerFactory, *, clock: Callable[[], float] | None = None) -> None:
        self.stats = ConsistencyStats()
        self._client = client
        self._factory = factory
        self._clock = clock or loop_clock()
        self._open: dict[Scope, list[Write]] = {}
        """Writes whose outcome has to be asked for, by a scope that may show them."""
        self._asking: set[Scope] = set()
        self._asked = anyio.Event()
        client.on_write = self.note

    def note(self, resource: Resource, namespace: str, name: str) -> Callable[[JsonObject | None], None]:
        """Notes a write that is about to be sent: see `Client.on_write`."""
        reconcile = current_reconcile.get()
        write = Write(resource, namespace, name)
        if reconcile is not None:
            reconcile.writes.append(write)
        return partial(self._settle, reconcile, write)

    def follow(self, writes: Sequence[Write], observed: Callable[[], None]) -> bool:
        """Whether every cache that may hold the written objects shows the writes.

        Args:
            writes: All that a reconcile has written, after its end.
            observed: If they have not, called once they have.
        """
        for write in writes:
            if write.resource_version is None:
                self._ask(write)
        started = self._clock()

        def again() -> None:
            if self._seen_from(writes, again):
                self.stats.waits.observe(self._clock() - started)
                observed()

        return self._seen_from(writes, again)

    async def run(self) -> None:
        """Finds out what became of writes whose outcome is unknown, until cancelled."""
        async with anyio.create_task_group() as tasks:
            while True:
                for scope in [scope for scope in self._open if scope not in self._asking]:
                    self._asking.add(scope)
                    tasks.start_soon(self._resolve, scope)
                self._asked = anyio.Event()
                await self._asked.wait()

    def _settle(self, reconcile: Reconcile | None, write: Write, answer: JsonObject | None) -> None:
        if answer is None:
            if reconcile is not None:
                reconcile.writes.remove(write)
            return
        caches = self._caches(write.resource)
        scopes = [scope for cache in caches if (scope := cache.scope(write.namespace)) is not None]
        write.lists_begun = {scope: scope.lists_begun for scope in scopes}
        if answer.get("kind") == write.resource.kind:
            self._show(caches, answer)
            metadata = answer["metadata"]
            write.name, write.labels = metadata["name"], metadata.get("labels") or {}
            write.answered = int(metadata["resourceVersion"])
            if not any(_contradicts(cache, write) for cache in caches):
                write.resource_version = write.answered
        elif uid := (answer.get("details") or {}).get("uid"):
            write.resource_version, write.deleted_uid = 0, uid
        # Else it is the answer of a subresource, which does not say what became of the object itself.

    def _show(self, caches: Sequence[Cache], answer: JsonObject) -> None:
        within = current_reconcile.set(None)  # handlers of the change are no part of the reconcile
        try:
            for cache in caches:
                cache.observe_write(answer)
        finally:
            current_reconcile.reset(within)

    def _seen_from(self, writes: Sequence[Write], again: Callable[[], None]) -> bool:
        # All of them, in order: once an earlier write of an object is seen, a later one may be missing.
        for write in writes:
            for cache in self._caches(write.resource):
                scope = cache.scope(write.namespace)
                if scope is not None and not _seen(write, cache, scope):
                    scope.call_when(partial(_seen, write, cache, scope), again)
                    return False
        return True

    def _ask(self, write: Write) -> None:
        scopes = [cache.scope(write.namespace) for cache in self._caches(write.resource)]
        for scope in scopes:
            if scope is not None and scope.synced:  # one is enough: versions are those of the resource
                self._open.setdefault(scope, []).append(write)
                self._asked.set()
                return

    async def _resolve(self, scope: Scope) -> None:
        """Answers what is open about a scope; what comes up meanwhile with another reading."""
        backoff = Backoff(self._clock, random.random)
        while writes := self._open.pop(scope, []):
            if not self._caches(writes[0].resource):
                break  # nothing shows them any more
            try:
                for write in writes:
                    if write.name and not write.answered:
                        await self._read(write)
                if unknown := [write for write in writes if write.resource_version is None]:
                    await self._compare(scope, unknown)
            except (ApiError, TransportError) as error:
                unknown = [write for write in writes if write.resource_version is None]
                log.warning(
                    "Not known whether writes were carried out: the API server does not say what there is now",
                    resource=str(writes[0].resource),
                    namespace=scope.namespace,
                    writes=len(unknown),
                    error=str(error),
                )
                self._open[scope] = [*unknown, *self._open.get(scope, [])]
                await anyio.sleep(backoff.next())
            for cache in self._caches(writes[0].resource):
                for changed in cache.scopes.values():
                    changed.check_waiters()
        self._asking.remove(scope)

    async def _read(self, write: Write) -> None:
        """Reads the object, which stands for the missing answer."""
        try:
            found = await self._client.find(write.resource, write.namespace, write.name, deadline=READ_DEADLINE)
        except ApiError as error:
            if error.status != FORBIDDEN:  # whoever may list a collection need not be allowed to read its objects
                raise
            return
        write.absent = found is None
        if found is not None:
            self._settle(None, write, found)

    async def _compare(self, scope: Scope, writes: Sequence[Write]) -> None:
        """Reads the collection's version, which the caches must reach; or finds caches that are ahead of the server."""
        resource = writes[0].resource
        scopes = [scope for cache in self._caches(resource) for scope in cache.scopes.values()]
        before = {scope: (scope.version, scope.lists_begun) for scope in scopes}
        version = await self._client.version(
            resource, scope.namespace, selectors=scope.selectors, deadline=READ_DEADLINE
        )
        for write in writes:
            write.lists_begun = {scope: begun for scope, (_, begun) in before.items()} | dict(write.lists_begun)
            write.resource_version = write.answered or version
        for ahead, (shown, _) in before.items():
            if version < shown:
                ahead.mark_rewound()

    def _caches(self, resource: Resource) -> list[Cache]:
        return [cache for cache, _ in self._factory.caches() if cache.resource == resource]


def _seen(write: Write, cache: Cache, scope: Scope) -> bool:
    """Whether the cache shows the write, or will never hold the object."""
    if not scope.synced or scope.list_shown > write.lists_begun.get(scope, scope.lists_begun):
        return True
    version = write.resource_version
    if version is None or scope.rewound:
        return False
    entry = cache.entry(write.namespace, write.name)
    if not version:
        return entry is None or uid_of(entry) != write.deleted_uid
    if scope.version >= version or (entry is None if write.absent else entry is not None and entry.version >= version):
        return True
    # A cache with selectors learns of an object that does not match only by a bookmark, a minute later; of an object
    # that it holds in an older version it learns at once. If nobody knows whether it matches, the bookmark decides.
    return bool(write.answered) and entry is None and cache.matches(write.namespace, write.name, write.labels) is False


def _contradicts(cache: Cache, write: Write) -> bool:
    """Whether the cache is past the version that was answered, and does not show it.

    This is so if others have changed or deleted the object since, or if the server has gone back.
    """
    scope = cache.scope(write.namespace)
    if scope is None or not scope.synced or scope.version < write.answered:
        return False
    entry = cache.entry(write.namespace, write.name)
    if entry is None:
        return cache.matches(write.namespace, write.name, write.labels) is not False
    return entry.version != write.answered
