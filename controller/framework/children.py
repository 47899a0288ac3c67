"""The objects that a reconciler makes for another one: steps that create, mend and delete them, and how those are done.

A desired child is a plain JSON object. A step is planned only where the live object differs in a field that we set, so
the plan of a settled system is empty.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from controller.framework.plan import Handler, Step
from controller.framework.program import PROGRAM
from controller.runtime.altered import Held
from controller.runtime.apply import Applier
from controller.runtime.needed import pending
from informers import ApiError, Client, Informer, JsonObject, Resource
from informers.turns import Turns

type Live = Mapping[tuple[str, str], JsonObject]
"""The objects of one namespace as the caches have them, by (kind, name)."""


@dataclass(frozen=True, slots=True)
class Apply:
    """Make an object have every field that is set here, creating it where it is missing."""

    obj: JsonObject = field(repr=False)


@dataclass(frozen=True, slots=True)
class Create:
    """Create an object, and leave it alone where it exists: its content is somebody's, or cannot be made again."""

    obj: JsonObject = field(repr=False)


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete the object with this uid; one of the same name that came later stays."""

    resource: Resource
    namespace: str
    name: str
    uid: str


def ensure(live: Live, desired: JsonObject, *, subject: str, reason: str = "", lane: str = "") -> tuple[Step, ...]:
    """The step that makes `desired` so, or none where it is.

    Args:
        live: The objects of the child's namespace.
        desired: The child, with only the fields that are ours.
        subject: What the child is for, as `Step.subject`.
        reason: Why it is wanted, where the difference itself does not say it.
        lane: As `Step.lane`.
    """
    found = live.get((desired["kind"], desired["metadata"]["name"]))
    why = explain(desired, found)
    if not why:
        return ()
    return (Step(subject=subject, action=Apply(desired), reason=reason or why, lane=lane or subject),)


def explain(desired: JsonObject, live: JsonObject | None) -> str:
    """How `live` falls short of `desired`, in words; empty when it does not."""
    name = f"{desired['kind']} {desired['metadata']['name']}"
    if live is None:
        return f"{name} does not exist"
    found = pending(desired, live, PROGRAM)
    return f"{name}: {found}" if found else ""


def delete(resource: Resource, live: JsonObject, *, subject: str, reason: str, lane: str = "") -> Step:
    """The step that deletes `live`."""
    meta = live["metadata"]
    action = Delete(resource=resource, namespace=meta.get("namespace", ""), name=meta["name"], uid=meta["uid"])
    return Step(subject=subject, action=action, reason=reason, lane=lane or subject)


class Snapshot(Mapping[tuple[str, str], JsonObject]):
    """The objects of a namespace as the caches had them at one moment; each is decoded when it is asked for, each time.

    If there are thousands, a look at rest needs few of them whole, and a look that needs all needs them one by one.

    Attributes:
        held: Those that are not to be applied again yet.
    """

    def __init__(self) -> None:
        self.held: dict[tuple[str, str], Held] = {}
        self._kept: dict[tuple[str, str], Callable[[], JsonObject]] = {}

    def add(self, kind: str, name: str, decode: Callable[[], JsonObject]) -> None:
        """Adds an object."""
        self._kept[kind, name] = decode

    def hold(self, kind: str, name: str, obj: Held) -> None:
        """Adds an object that is not to be applied again yet."""
        self.held[kind, name] = obj
        self._kept[kind, name] = lambda: obj

    def __getitem__(self, key: tuple[str, str]) -> JsonObject:
        return self._kept[key]()

    def __contains__(self, key: object) -> bool:
        return key in self._kept

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self._kept)

    def __len__(self) -> int:
        return len(self._kept)


async def snapshot(informers: Iterable[Informer[Any]], namespace: str, applier: Applier) -> Snapshot:
    """The objects of `namespace` in the caches, for an observation; those that `applier` lets be are held."""
    found = Snapshot()
    turns = Turns()
    for informer in informers:
        kind = informer.resource.kind
        for key_namespace, name in informer.keys(namespace):
            decode = informer.kept(key_namespace, name)
            if decode is None:
                continue
            held = applier.held(informer.resource, key_namespace, name, decode)
            if held is not None:
                found.hold(kind, name, held)
            else:
                found.add(kind, name, decode)
            await turns.checkpoint()
    return found


def is_held(live: Live, key: tuple[str, str]) -> bool:
    """Whether an object is not to be applied again yet; it is not decoded for that."""
    return key in live.held if isinstance(live, Snapshot) else isinstance(live.get(key), Held)


def altered(live: Live) -> tuple[str, ...]:
    """The objects that do not become what is applied, and in what, in words: something else changes them."""
    keys = live.held if isinstance(live, Snapshot) else live
    held = ((kind, name, live[kind, name]) for kind, name in keys)
    return tuple(f"{kind} {name}: {obj.change}" for kind, name, obj in held if isinstance(obj, Held))


def handlers(applier: Applier, client: Client, informers: Iterable[Informer[Any]]) -> dict[type, Handler]:
    """How the actions of this module are carried out; `informers` are the caches of the kinds that are applied."""
    caches = {informer.resource.kind: informer for informer in informers}

    async def apply(action: Apply) -> None:
        await applier.apply(action.obj, informer=caches.get(action.obj["kind"]))

    async def create(action: Create) -> None:
        informer = caches[action.obj["kind"]]
        try:
            await client.create(informer.resource, action.obj)
        except ApiError as error:
            if not error.is_already_exists:
                raise

    async def delete_object(action: Delete) -> None:
        await client.delete(action.resource, action.namespace, action.name, uid=action.uid)

    return {Apply: apply, Create: create, Delete: delete_object}
