"""A typed view of a cache: each read decodes the cached bytes into the reader's type.

Every reader gets an object of its own and may keep or change it. Decoding a Struct with the few fields that are needed
takes microseconds; keeping decoded objects instead would take ten times the memory. Thousands of reads hold up the
event loop: `walk` reads a collection of any size in slices, and `keys` and `keys_by_index` decode nothing.
"""

from __future__ import annotations

import asyncio
from functools import cached_property, partial
from typing import TYPE_CHECKING, Literal, overload

import msgspec
import orjson

from informers.cache import Cache
from informers.decode import decoder
from informers.entry import Change, Entry
from informers.errors import IncompleteIndexError, UndecodableError
from informers.index import Index
from informers.turns import sliced

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping

    from informers.resource import JsonObject, Key, Named, Resource


class Delta[T]:
    """A change of one object, as handlers get it.

    `old` and `new` are decoded on first access, once for all handlers of an informer. Handlers must not change them.

    Attributes:
        namespace: Of the object.
        name: Of the object.
        initial: Whether it comes from the informer's first list, so that the object is not new.
        change: The change, with undecoded objects.
    """

    def __init__(self, change: Change, decode: Callable[[Entry], T]) -> None:
        self.change = change
        self.namespace, self.name, self.initial = change.namespace, change.name, change.initial
        self._decode = decode

    @property
    def type(self) -> Literal["added", "updated", "deleted"]:
        """What happened. "updated" may stand for several changes, of which the watch showed only the last."""
        if self.change.new is None:
            return "deleted"
        return "added" if self.change.old is None else "updated"

    @cached_property
    def old(self) -> T | None:
        """The object before the change; the last known state of a deleted one. None when it was added."""
        return None if self.change.old is None else self._decode(self.change.old)

    @cached_property
    def new(self) -> T | None:
        """The object after the change. None when it was deleted."""
        return None if self.change.new is None else self._decode(self.change.new)


class _Labels(msgspec.Struct, frozen=True):
    labels: dict[str, str] = {}


class _Labelled(msgspec.Struct, frozen=True):
    metadata: _Labels = _Labels()


type Known[T] = dict[Key, tuple[Entry, T]]
"""Objects that were read, each with what it was decoded from."""


class Informer[T]:
    """A collection's local copy, read as objects of type T. `InformerFactory.informer` makes it.

    Attributes:
        resource: What it holds.
        cache: The local copy, for measurements. Informers with other views may share it.
    """

    def __init__(self, cache: Cache, view: type[T]) -> None:
        self.resource: Resource = cache.resource
        self.cache = cache
        self._decode: Callable[[bytes], T] = decoder(view)
        self._indexes: dict[str, Index] = {}
        self._delta: Delta[T] | None = None
        self._labelled: Callable[[bytes], _Labelled] = decoder(_Labelled)

    @overload
    def get(self, namespace: Named) -> T | None: ...

    @overload
    def get(self, namespace: str, name: str) -> T | None: ...

    def get(self, namespace: str | Named, name: str = "") -> T | None:
        """The object with this key, None if there is none.

        Args:
            namespace: The object's namespace; or what names the object, such as a reconcile request.
            name: The object's name, with a namespace.

        Raises:
            UndecodableError: The object does not fit the view.
        """
        key = (namespace, name) if isinstance(namespace, str) else (namespace.namespace, namespace.name)
        entry = self.cache.entry(*key)
        return None if entry is None else self._view(*key, entry)

    def keys(self, namespace: str | None = None) -> list[Key]:
        """Keys of the objects of a namespace, or of all (None)."""
        return [(found, name) for found, bucket in self.cache.buckets(namespace) for name in bucket]

    def raw(self, namespace: str, name: str) -> JsonObject | None:
        """The whole object but its managedFields, None if there is none."""
        entry = self.cache.entry(namespace, name)
        return None if entry is None else orjson.loads(entry.data)

    def kept(self, namespace: str, name: str) -> Callable[[], JsonObject] | None:
        """A function that decodes the whole object as it is now, whenever it is called; None if there is none."""
        entry = self.cache.entry(namespace, name)
        return None if entry is None else partial(orjson.loads, entry.data)

    def by_index(self, index: str, value: str, *, complete: bool = False) -> list[T]:
        """The objects for which the index function gives this value. Objects that do not fit the view are left out.

        Args:
            index: Its name.
            value: The value.
            complete: Refuse to answer if the values of some objects are not known. For callers that destroy something
                because no other object refers to it.

        Raises:
            KeyError: No such index was added.
            IncompleteIndexError: The answer must be complete, and cannot be.
        """
        return list(self._views(self.keys_by_index(index, value, complete=complete)))

    def keys_by_index(self, index: str, value: str, *, complete: bool = False) -> list[Key]:
        """Keys of the objects for which the index function gives this value. Like `by_index`, but decodes nothing."""
        found = self._indexes[index]
        if complete and found.failed:
            raise IncompleteIndexError(self.resource, index, found.failed)
        return found.keys(value)

    def list(self, namespace: str | None = None) -> list[T]:
        """The objects of a namespace, or all (None), at once: for collections that stay small. See `walk`.

        Objects that do not fit the view are left out, logged and counted.
        """
        return list(self._views(self.keys(namespace)))

    async def walk(
        self, namespace: str | None = None, *, labels: Mapping[str, str] | None = None, known: Known[T] | None = None
    ) -> AsyncIterator[T]:
        """The objects of a namespace, or all (None), one by one, in slices that let other tasks run.

        Each object is in its state at the moment when it is yielded. Objects that are created or deleted during the
        walk are left out, and so are objects that do not fit the view, as by `list`.

        Args:
            namespace: Where.
            labels: Only objects that have all of these labels; the others are not decoded.
            known: What earlier walks of the same objects decoded. Objects that did not change since are not decoded
                again. For callers that read them often and have the memory for it. The walk updates it.
        """
        wanted = (labels or {}).items()
        keys = self.keys(namespace)
        async for key in sliced(keys):
            entry = self.cache.entry(*key)
            if entry is None or (wanted and not wanted <= self._labelled(entry.data).metadata.labels.items()):
                continue
            before = known.get(key) if known is not None else None
            if before is not None and before[0] is entry:
                yield before[1]
                continue
            for found in self._views((key,)):
                if known is not None:
                    known[key] = (entry, found)
                yield found
        if known:
            for gone in known.keys() - set(keys):
                del known[gone]

    def _views(self, keys: Iterable[Key]) -> Iterator[T]:
        """The objects that can be read."""
        for namespace, name in keys:
            entry = self.cache.entry(namespace, name)
            if entry is not None:
                try:
                    found = self._decode(entry.data)
                except Exception as error:  # of whichever decoder
                    self.cache.leave_out(namespace, name, entry, error)
                else:
                    yield found

    def _view(self, namespace: str, name: str, entry: Entry) -> T:
        try:
            return self._decode(entry.data)
        except Exception as error:  # of whichever decoder
            raise UndecodableError(self.resource, namespace, name, error) from error

    def add_index(self, name: str, function: Callable[[T], Iterable[str]]) -> None:
        """Index objects by the values that the function returns for each, such as a node's name.

        Raises:
            ValueError: There is an index of that name.
            RuntimeError: The informer runs already.
        """
        if name in self._indexes:
            raise ValueError(f"informer of {self.resource}: index {name!r} is there already")
        if any(scope.lists_begun for scope in self.cache.scopes.values()):
            raise RuntimeError(f"informer of {self.resource}: index {name!r} must be added before the informer runs")
        index = Index(lambda data: function(self._decode(data)))
        self._indexes[name] = index
        self.cache.indexes.append(index)

    def add_handler(self, handler: Callable[[Delta[T]], None]) -> None:
        """Call the handler with each change, in order, and first with the present objects, as initial changes.

        Many present objects are delivered in slices that let other tasks run. A handler must be quick, as it holds up
        the stream: it should only add a key to a queue. Exceptions of a handler are logged and counted.
        """
        self.cache.add_listener(lambda change: handler(self._delta_of(change)))

    def _delta_of(self, change: Change) -> Delta[T]:
        """The change as a Delta, the same one for all handlers."""
        if self._delta is None or self._delta.change is not change:
            self._delta = Delta(change, lambda entry: self._view(change.namespace, change.name, entry))
        return self._delta

    @property
    def synced(self) -> bool:
        """Whether the first list is complete and was delivered to the handlers."""
        return self.cache.synced

    async def wait_synced(self) -> None:
        """Return once it is `synced`; `trouble` tells what it waits for."""
        await self.cache.wait_synced()

    @property
    def trouble(self) -> str:
        """The error that keeps the informer from listing or watching now; "" if there is none."""
        return self.cache.trouble

    @property
    def resource_version(self) -> int:
        """Everything up to this version has been observed, by events and bookmarks; 0 before the first list."""
        return self.cache.version

    async def reached(self, resource_version: int, deadline: float, *, namespace: str | None = None) -> None:
        """Return once everything up to the version has been observed, so that reads show the write that returned it.

        In a collection without changes only bookmarks show new versions, once a minute.

        Args:
            resource_version: From the metadata of an object of this resource.
            deadline: Seconds to wait.
            namespace: Of that object. None: wait for all namespaces that the informer serves.

        Raises:
            TimeoutError: It was not observed within the deadline, or before the informer was removed.
        """
        if namespace is None:
            scopes = list(self.cache.scopes.values())
        else:
            scope = self.cache.scope(namespace)
            scopes = [] if scope is None else [scope]
        async with asyncio.timeout(deadline):
            for scope in scopes:
                await scope.reached(resource_version)

    def observe_write(self, obj: JsonObject) -> None:
        """Show an object as the server returned it for a write, before the watch shows it.

        The object is ignored if it is not newer, if its namespace is not served, or if it does not match the selectors.
        It is also ignored if a field selector depends on other fields than its name or namespace.
        """
        self.cache.observe_write(obj)

    def __len__(self) -> int:
        return len(self.cache)
