"""How an object goes that is deleted, and what it stands for: nothing that is used, and data with consent alone.

What uses an object blocks its deletion: kinds are registered as its dependents (`Dependents`), which are known by the
caches for the plan, and asked of the API server at the moment of an act that destroys data. Then, with consent, data
goes place by place; after that what protects it, by which it could be used again; and the object is let go last
(`controller.framework.kind.LetGo`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import anyio
import msgspec

from controller.framework.changes import appeared_or_went
from controller.runtime import remove_finalizer
from controller.runtime.kube import HasMetadata, PartialObject

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from controller.runtime import Controller
    from controller.runtime.mapping import ToRequests
    from informers import Client, Informer, Resource

FRESH = 5.0
"""Seconds for which the API server's answer holds to what uses an object, from when it is asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dependent[T]:
    """A kind whose objects use those of another one.

    Attributes:
        kind: Its name.
        known: The names of those that use an object, by the caches.
        asked: The same by the API server.
        objects: The cache of the kind, where an object is to be looked at when they come and go.
    """

    kind: str
    known: Callable[[T], Iterable[str]]
    asked: Callable[[Client, T], Awaitable[Iterable[str]]]
    objects: Informer[Any] | None = None


def of_namespace(objects: Informer[Any]) -> Dependent[HasMetadata]:
    """A kind whose objects all use the one object in their namespace that there can be.

    Args:
        objects: The cache of the kind.
    """

    async def asked(client: Client, obj: HasMetadata) -> list[str]:
        return [found["metadata"]["name"] for found in await client.list(objects.resource, obj.metadata.namespace)]

    def known(obj: HasMetadata) -> list[str]:
        return [name for _, name in objects.keys(obj.metadata.namespace)]

    return Dependent(kind=objects.resource.kind, known=known, asked=asked, objects=objects)


def of_named[T: HasMetadata](
    objects: Informer[T], view: type[T], name_of: Callable[[T], str]
) -> Dependent[HasMetadata]:
    """A kind whose objects each use one object, which they name, in their own namespace.

    Args:
        objects: The cache of the kind.
        view: What its objects are decoded as.
        name_of: The name of what an object uses.
    """

    async def asked(client: Client, obj: HasMetadata) -> list[str]:
        found = await client.list(objects.resource, obj.metadata.namespace)
        return _naming(obj, [msgspec.convert(each, view) for each in found])

    def known(obj: HasMetadata) -> list[str]:
        return _naming(obj, objects.list(obj.metadata.namespace))

    def _naming(obj: HasMetadata, found: Iterable[T]) -> list[str]:
        return [user.metadata.name for user in found if name_of(user) == obj.metadata.name]

    return Dependent(kind=objects.resource.kind, known=known, asked=asked, objects=objects)


def where[T](dependent: Dependent[T], holds: Callable[[T], bool]) -> Dependent[T]:
    """A kind whose objects use those of another one only where something holds of these."""

    async def asked(client: Client, obj: T) -> Iterable[str]:
        return await dependent.asked(client, obj) if holds(obj) else ()

    def known(obj: T) -> Iterable[str]:
        return dependent.known(obj) if holds(obj) else ()

    return Dependent(kind=dependent.kind, known=known, asked=asked, objects=dependent.objects)


@dataclass(frozen=True, slots=True)
class Dependents[T: HasMetadata]:
    """The kinds whose objects use those of a kind. Users are named in words, such as "CephBlockPool p"."""

    kinds: Sequence[Dependent[T]]

    def known(self, obj: T) -> tuple[str, ...]:
        """What uses an object that is being deleted, by the caches; nothing for another."""
        if obj.metadata.deletion_timestamp is None:
            return ()
        return tuple(sorted(f"{dependent.kind} {name}" for dependent in self.kinds for name in dependent.known(obj)))

    def asking(self, client: Client, obj: T) -> Callable[[], Awaitable[tuple[str, ...]]]:
        """Asks the API server what uses an object, of which the caches may not know yet.

        There may be very many users, and as many acts that ask: an answer holds for `FRESH` seconds, so that the acts
        of one look share it.
        """
        asking, until, answer = anyio.Lock(), -math.inf, tuple[str, ...]()

        async def ask() -> tuple[str, ...]:
            nonlocal until, answer
            async with asking:
                began = anyio.current_time()
                if began >= until:
                    found = [(dependent.kind, await dependent.asked(client, obj)) for dependent in self.kinds]
                    answer = tuple(sorted(f"{kind} {name}" for kind, names in found for name in names))
                    until = began + FRESH
                return answer

        return ask


def watch_users(
    controller: Controller, dependents: Iterable[Dependent[Any]], to_requests: ToRequests[HasMetadata]
) -> None:
    """Has `controller` look again when what uses its objects comes or goes.

    Args:
        controller: Of the kind that is used.
        dependents: The kinds whose objects use it.
        to_requests: What a user stands for, such as all objects in its namespace.
    """
    for dependent in dependents:
        if dependent.objects is not None:
            controller.watch(dependent.objects, to_requests, predicate=appeared_or_went)


async def delete_protected(
    client: Client, resource: Resource, namespace: str, name: str, uid: str, *, finalizer: str
) -> None:
    """Deletes an object that a finalizer protects from mistakes; one of the same name that came later stays.

    Args:
        client: Asks the API server, and tells it.
        resource: The object's kind.
        namespace: Where it is.
        name: Its name.
        uid: Which of that name it is.
        finalizer: What protects it.
    """
    found = await client.find(resource, namespace, name)
    if found is not None and found["metadata"]["uid"] == uid:
        await remove_finalizer(client, resource, msgspec.convert(found, PartialObject), finalizer)
        await client.delete(resource, namespace, name, uid=uid)
