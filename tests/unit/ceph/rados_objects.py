"""RADOS objects in memory, as librados opens them: data, keys, versions, and changes that hold for one version only.

It stands for the OSDs: errors and versions are as those of a Ceph 18.2.7 were when it was asked.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import ModuleType, SimpleNamespace
from typing import Any


class Error(Exception):
    """librados' base of errors."""


class RadosError(Error):
    """librados' own OSError."""

    def __init__(self, message: str, number: int) -> None:
        super().__init__(message)
        self.errno = number


class MissingObjectError(RadosError):
    """There is no such object, or pool."""

    def __init__(self) -> None:
        super().__init__("RADOS object not found", errno.ENOENT)


class ExistingObjectError(RadosError):
    """There is one already."""

    def __init__(self) -> None:
        super().__init__("RADOS object exists", errno.EEXIST)


@dataclass
class Stored:
    """An object."""

    data: bytes = b""
    keys: dict[str, bytes] = field(default_factory=dict)
    version: int = 1


class Operation:
    """A compound operation: what it does is in order, and done as a whole or not at all."""

    def __init__(self) -> None:
        self.parts: list[Callable[[Stored | None], Stored | None]] = []
        self.answer: Any = None

    def __enter__(self) -> Operation:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def new(self, exclusive: int) -> None:
        def create(found: Stored | None) -> Stored:
            if found is not None and exclusive:
                raise ExistingObjectError
            return found or Stored(version=0)

        self.parts.append(create)

    def write_full(self, data: bytes) -> None:
        def write(found: Stored | None) -> Stored:
            found = found or Stored(version=0)
            return Stored(data, found.keys, found.version)

        self.parts.append(write)

    def assert_version(self, version: int) -> None:
        def check(found: Stored | None) -> Stored | None:
            if found is None:
                raise MissingObjectError
            if found.version != version:
                number = errno.ERANGE if version < found.version else errno.EOVERFLOW
                raise RadosError("Failed to operate write op", number)
            return found

        self.parts.append(check)


class Ioctx:
    """A namespace of a pool."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._namespace = ""
        self._version = 0

    def __enter__(self) -> Ioctx:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def set_namespace(self, namespace: str) -> None:
        self._namespace = namespace

    def stat(self, name: str) -> tuple[int, object]:
        return len(self._get(name).data), None

    def read(self, name: str, length: int) -> bytes:
        return self._get(name).data[:length]

    def get_last_version(self) -> int:
        return self._version

    def get_omap_vals(self, operation: Operation, after: str, _prefix: str, most: int) -> tuple[Iterator[Any], int]:
        operation.answer = []

        def pairs() -> Iterator[Any]:
            yield from [pair for pair in operation.answer if pair[0] > after][:most]

        return pairs(), 0

    def operate_read_op(self, operation: Operation, name: str) -> None:
        operation.answer = sorted(self._get(name).keys.items())

    def set_omap(self, operation: Operation, keys: tuple[str, ...], values: tuple[bytes, ...]) -> None:
        def change(found: Stored | None) -> Stored:
            found = found or Stored(version=0)
            return Stored(found.data, {**found.keys, **dict(zip(keys, values, strict=True))}, found.version)

        operation.parts.append(change)

    def remove_omap_keys(self, operation: Operation, keys: tuple[str, ...]) -> None:
        def change(found: Stored | None) -> Stored:
            assert found is not None
            kept = {key: value for key, value in found.keys.items() if key not in keys}
            return Stored(found.data, kept, found.version)

        operation.parts.append(change)

    def operate_write_op(self, operation: Operation, name: str) -> None:
        self._objects.before_write(name)
        found = self._objects.stored.get((self._namespace, name))
        for part in operation.parts:
            found = part(found)
        assert found is not None
        self._objects.stored[self._namespace, name] = Stored(found.data, found.keys, found.version + 1)
        self._objects.written.append(name)

    def list_objects(self) -> Iterator[Any]:
        names = [name for namespace, name in self._objects.stored if namespace == self._namespace]
        return iter([SimpleNamespace(key=name) for name in names])

    def remove_object(self, name: str) -> None:
        self._get(name)
        del self._objects.stored[self._namespace, name]

    def notify(self, name: str, _message: str, _timeout: int) -> bool:
        self._objects.told.append(name)
        return True

    def _get(self, name: str) -> Stored:
        found = self._objects.stored.get((self._namespace, name))
        if found is None:
            raise MissingObjectError
        self._version = found.version
        return found


class Objects:
    """The objects of one pool, by namespace and name.

    Attributes:
        pool: The pool's name; there is no other.
        stored: The objects.
        written: The names of those that were written, in order.
        told: The names of those whose watchers were told.
        before_write: Called with the name of an object that is about to be written: somebody else may do so first.
    """

    def __init__(self, pool: str) -> None:
        self.pool = pool
        self.stored: dict[tuple[str, str], Stored] = {}
        self.written: list[str] = []
        self.told: list[str] = []
        self.before_write: Callable[[str], None] = lambda _: None

    def open_ioctx(self, pool: str) -> Ioctx:
        if pool != self.pool:
            raise MissingObjectError
        return Ioctx(self)


def library() -> ModuleType:
    """Module `rados`, as far as it is used with objects."""
    module: Any = ModuleType("rados")
    module.Error, module.OSError = Error, RadosError
    module.ObjectNotFound, module.ObjectExists = MissingObjectError, ExistingObjectError
    module.WriteOpCtx = module.ReadOpCtx = Operation
    module.LIBRADOS_CREATE_EXCLUSIVE, module.LIBRADOS_CREATE_IDEMPOTENT = 1, 0
    found: ModuleType = module
    return found
