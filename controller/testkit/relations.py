"""An index of owners, dependents and namespaces, and a queue of objects that the garbage collector has to check.

With it the cost of a write depends on the objects that it concerns, not on the number of all objects.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from informers import JsonObject, Key

type Collection = tuple[str, str]
"""(group, plural): all versions of a kind are one collection."""

type Place = tuple[Collection, Key]
"""The place of an object, which may be gone."""

NAMESPACES: Collection = ("", "namespaces")


class Relations:
    """Relations of the objects of a storage.

    Attributes:
        due: Places that have to be checked, oldest first.
    """

    def __init__(self) -> None:
        self.due: dict[Place, None] = {}
        self._places: dict[str, Place] = {}
        self._dependents: dict[str, dict[Place, None]] = {}
        self._blocking: Counter[str] = Counter()
        self._inhabitants: dict[str, dict[Place, None]] = {}

    def place(self, uid: str) -> Place | None:
        """The place of the object with this uid."""
        return self._places.get(uid)

    def is_owner(self, uid: str) -> bool:
        """Whether any object refers to it as its owner."""
        return uid in self._dependents

    def is_blocked(self, uid: str) -> bool:
        """Whether any object refers to it with `blockOwnerDeletion`."""
        return self._blocking[uid] > 0

    def is_empty(self, namespace: str) -> bool:
        """Whether the namespace has no objects."""
        return not self._inhabitants.get(namespace)

    def note(self, place: Place, old: JsonObject | None, new: JsonObject | None) -> None:
        """Records that an object was written, or removed (`new` is None)."""
        if old is not None:
            self._forget(place, old)
        if new is not None:
            self._add(place, new)
        collection, (namespace, name) = place
        self.due[place] = None
        if new is None or ends(new):
            self._look(self._dependents.get(uid_of(new or old or {}), ()))
            if collection == NAMESPACES:
                self._look(self._inhabitants.get(name, ()))
        if new is None and namespace:
            self.due[NAMESPACES, ("", namespace)] = None
        for owner in _owners(old) ^ _owners(new):
            found = self._places.get(owner)
            if found is not None:
                self.due[found] = None

    def look_everywhere(self) -> None:
        """Queues a check of every object, as after a change of the served kinds."""
        self._look(self._places.values())

    def _look(self, places: Iterable[Place]) -> None:
        self.due.update(dict.fromkeys(places))

    def _add(self, place: Place, obj: JsonObject) -> None:
        self._places[uid_of(obj)] = place
        if place[1][0]:
            self._inhabitants.setdefault(place[1][0], {})[place] = None
        for reference in references(obj):
            self._dependents.setdefault(reference["uid"], {})[place] = None
            self._blocking[reference["uid"]] += bool(reference.get("blockOwnerDeletion"))

    def _forget(self, place: Place, obj: JsonObject) -> None:
        self._places.pop(uid_of(obj), None)
        _drop(self._inhabitants, place[1][0], place)
        for reference in references(obj):
            _drop(self._dependents, reference["uid"], place)
            self._blocking[reference["uid"]] -= bool(reference.get("blockOwnerDeletion"))


def _drop(index: dict[str, dict[Place, None]], value: str, place: Place) -> None:
    found = index.get(value)
    if found is not None:
        found.pop(place, None)
        if not found:
            del index[value]


def _owners(obj: JsonObject | None) -> set[str]:
    return set() if obj is None else {reference["uid"] for reference in references(obj)}


def references(obj: JsonObject) -> list[JsonObject]:
    """The object's references to its owners."""
    found: list[JsonObject] = obj["metadata"].get("ownerReferences", [])
    return found


def ends(obj: JsonObject) -> bool:
    """Whether the object is being deleted."""
    return "deletionTimestamp" in obj["metadata"]


def uid_of(obj: JsonObject) -> str:
    """The object's uid."""
    return str(obj["metadata"]["uid"])
