"""The data of an API server: its objects, and their history since the last compaction."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple

from controller.testkit.relations import Relations

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from controller.testkit.relations import Collection
    from informers import JsonObject, Key

type EventType = Literal["ADDED", "MODIFIED", "DELETED"]

FIRST_VERSION = 10


class Record(NamedTuple):
    """One write in the history.

    Attributes:
        version: Version of the whole server.
        type: Kind of the write.
        collection: The collection of the object.
        key: Namespace and name.
        object: The object after the write; for a deletion, its last state with the version of the deletion.
        previous: The object before the write.
    """

    version: int
    type: EventType
    collection: Collection
    key: Key
    object: JsonObject
    previous: JsonObject | None


@dataclass(slots=True)
class Storage:
    """The objects. A write stores a new object and never changes one in place.

    Attributes:
        version: Version of the last write.
        compacted: Version after which the history begins.
        history: Writes since then, oldest first.
        listeners: Callbacks, called after each write.
        relations: The relations of the present objects.
    """

    version: int = FIRST_VERSION
    compacted: int = 0
    history: list[Record] = field(default_factory=list)
    listeners: list[Callable[[], None]] = field(default_factory=list)
    relations: Relations = field(default_factory=Relations)
    _objects: dict[Collection, dict[Key, JsonObject]] = field(default_factory=dict)
    _compacted_objects: dict[Collection, dict[Key, JsonObject]] = field(default_factory=dict)

    def objects(self, collection: Collection) -> dict[Key, JsonObject]:
        """The collection's objects. Only `put` and `remove` may change them."""
        return self._objects.setdefault(collection, {})

    def objects_at(self, version: int, collection: Collection) -> dict[Key, JsonObject]:
        """The collection's objects at a version in the history; at the compaction for an older version."""
        found = dict(self._compacted_objects.get(collection, {}))
        for record in self.history:
            if record.version <= version and record.collection == collection:
                if record.type == "DELETED":
                    del found[record.key]
                else:
                    found[record.key] = record.object
        return found

    def all(self) -> Iterator[tuple[Collection, Key, JsonObject]]:
        """Every present object."""
        for collection, objects in list(self._objects.items()):
            for key, obj in list(objects.items()):
                yield collection, key, obj

    def put(self, collection: Collection, key: Key, obj: JsonObject) -> JsonObject:
        """Store an object. Returns it with its version."""
        return self._write("MODIFIED" if key in self.objects(collection) else "ADDED", collection, key, obj)

    def remove(self, collection: Collection, key: Key) -> JsonObject:
        """Delete an object. Returns its last state with the version of the deletion."""
        return self._write("DELETED", collection, key, self.objects(collection)[key])

    def since(self, version: int) -> Sequence[Record]:
        """Writes after this version."""
        return self.history[bisect_right(self.history, version, key=lambda record: record.version) :]

    def compact(self) -> None:
        """Drop the history up to now."""
        self.compacted = self.version
        self._compacted_objects = {collection: dict(objects) for collection, objects in self._objects.items()}
        self.history.clear()
        self._tell()

    def restore(self, version: int) -> None:
        """Restore the data of this version, as from a backup.

        Raises:
            ValueError: The version is not in the history.
        """
        if not self.compacted <= version <= self.version:
            raise ValueError(f"version {version} is not between {self.compacted} and {self.version}")
        del self.history[bisect_right(self.history, version, key=lambda record: record.version) :]
        self.version = version
        self._objects = {collection: dict(objects) for collection, objects in self._compacted_objects.items()}
        for record in self.history:
            self._carry_out(record)
        self.relations = Relations()
        for collection, objects in self._objects.items():
            for key, obj in objects.items():
                self.relations.note((collection, key), None, obj)

    def _write(self, kind: EventType, collection: Collection, key: Key, obj: JsonObject) -> JsonObject:
        previous = self.objects(collection).get(key)
        self.version += 1
        obj = {**obj, "metadata": {**obj["metadata"], "resourceVersion": str(self.version)}}
        record = Record(self.version, kind, collection, key, obj, previous)
        self.history.append(record)
        self._carry_out(record)
        self.relations.note((collection, key), previous, None if kind == "DELETED" else obj)
        self._tell()
        return obj

    def _carry_out(self, record: Record) -> None:
        objects = self.objects(record.collection)
        if record.type == "DELETED":
            del objects[record.key]
        else:
            objects[record.key] = record.object

    def _tell(self) -> None:
        for listener in self.listeners:
            listener()
