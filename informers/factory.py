"""Informers, one for each collection and view, shared by all callers, and the tasks that keep them up to date."""

from __future__ import annotations

import random
from contextvars import copy_context
from typing import TYPE_CHECKING, Any

import anyio

from informers.cache import Cache
from informers.informer import Informer
from informers.outage import Outage
from informers.store import EVERYWHERE
from informers.watcher import Watcher, loop_time

if TYPE_CHECKING:
    from collections.abc import Iterator

    from anyio.abc import TaskGroup

    from informers.resource import Resource
    from informers.transport import Api

type _CacheKey = tuple[Resource, tuple[str, ...], str, str, bool]


class _Followed:
    """A cache, and the watchers that keep it up to date until it is removed."""

    def __init__(self, cache: Cache, watchers: list[Watcher]) -> None:
        self.cache = cache
        self.watchers = watchers
        self._tasks: TaskGroup | None = None
        self._ended = False

    async def run(self) -> None:
        """Runs the watchers until `end` is called."""
        async with anyio.create_task_group() as self._tasks:
            for watcher in self.watchers if not self._ended else ():
                self._tasks.start_soon(watcher.run)

    def end(self) -> None:
        """Ends the watchers, and lets go of whatever waits for the cache."""
        self._ended = True
        if self._tasks is not None:
            self._tasks.cancel_scope.cancel()
        self.cache.close()


class InformerFactory:
    """Makes informers and runs them.

    Args:
        client: The server to watch.
        namespaces: Namespaces that are served; None: all of them.

    Raises:
        ValueError: No namespace is served.
    """

    def __init__(self, client: Api, *, namespaces: tuple[str, ...] | None = None) -> None:
        if namespaces == ():
            raise ValueError("informers: namespaces is (), must name one at least, or be None for all")
        self._client = client
        self._namespaces = namespaces
        self._followed: dict[_CacheKey, _Followed] = {}
        self._informers: dict[tuple[_CacheKey, Any], Informer[Any]] = {}
        self._outage = Outage(loop_time, random.random)
        self._tasks: TaskGroup | None = None
        self._context = copy_context()

    def informer[T](
        self,
        resource: Resource,
        view: type[T],
        *,
        cluster_wide: bool = False,
        namespaces: tuple[str, ...] | None = None,
        label_selector: str = "",
        field_selector: str = "",
        metadata_only: bool = False,
        optional: bool = False,
    ) -> Informer[T]:
        """The informer of a collection. Equal arguments return the same informer; another view shares its memory.

        A namespaced resource is watched in each served namespace by a watch of its own, so that rights in those
        namespaces are enough. While `run` runs, a new informer starts at once.

        Args:
            resource: What to watch.
            view: What objects are decoded to: a msgspec Struct of the fields that are needed, or `dict`.
            cluster_wide: Watch all namespaces with one watch, whichever are served.
            namespaces: Watch these instead of those that are served.
            label_selector: Watch only what matches, as `kubectl get -l`.
            field_selector: Watch only what matches, as `kubectl get --field-selector`.
            metadata_only: Watch objects' metadata alone; the view has no other field.
            optional: If the collection cannot be listed (its CRD is missing, or may not be read), only the controllers
                that watch it wait for it. One call without this makes the collection required for all.

        Raises:
            ValueError: `namespaces` names none.
        """
        if namespaces == ():
            raise ValueError(f"informer of {resource}: namespaces is (), must name one at least, or be None")
        served = namespaces if namespaces is not None else self._namespaces
        scopes = (EVERYWHERE,) if cluster_wide or served is None or not resource.namespaced else served
        key = (resource, tuple(sorted(set(scopes))), label_selector, field_selector, metadata_only)
        followed = self._followed.get(key)
        if followed is None:
            cache = Cache(
                resource, key[1], label_selector=label_selector, field_selector=field_selector, partial=metadata_only
            )
            watchers = [
                Watcher(self._client, resource, scope, self._outage, cache.selectors) for scope in cache.scopes.values()
            ]
            followed = self._followed[key] = _Followed(cache, watchers)
            if self._tasks is not None:
                self._context.run(self._tasks.start_soon, followed.run)
        cache = followed.cache
        cache.optional &= optional
        found = self._informers.get((key, view))
        if found is None:
            found = self._informers[key, view] = Informer(cache, view)
        return found

    def remove(self, informer: Informer[Any]) -> None:
        """Stop watching a collection and forget its objects, for all views of it: its namespace or its CRD went away.

        Handlers are no longer called. A later call of `informer` makes a new one, with handlers of its own.

        Raises:
            ValueError: It is none of this factory's informers, or was removed before.
        """
        key = next((key for key, followed in self._followed.items() if followed.cache is informer.cache), None)
        if key is None:
            raise ValueError(f"informer of {informer.resource}: is not one of this factory's, or was removed before")
        self._informers = {made: view for made, view in self._informers.items() if made[0] != key}
        self._followed.pop(key).end()

    async def run(self) -> None:
        """Keep all informers up to date until cancelled."""
        async with anyio.create_task_group() as tasks:
            self._tasks = tasks
            self._context = copy_context()  # what is asked for within a reconcile is watched for long after that
            try:
                for followed in self._followed.values():
                    tasks.start_soon(followed.run)
                await anyio.sleep_forever()
            finally:
                self._tasks = None

    async def wait_synced(self) -> None:
        """Return once every informer is synced that is not optional."""
        for followed in list(self._followed.values()):
            if not followed.cache.optional:
                await followed.cache.wait_synced()

    def caches(self) -> Iterator[tuple[Cache, list[Watcher]]]:
        """Every cache with the watchers that fill it, for measurements and readiness."""
        for followed in self._followed.values():
            yield followed.cache, followed.watchers
