"""Indexes: keys of objects by values that a function computes from them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from informers.resource import Key


class Table:
    """One scope's part of an index.

    Attributes:
        failed: Objects whose values could not be computed.
    """

    __slots__ = ("_keys", "_values", "failed")

    def __init__(self) -> None:
        self.failed: dict[Key, None] = {}
        self._values: dict[Key, tuple[str, ...]] = {}
        self._keys: dict[str, dict[Key, None]] = {}

    def keys(self, value: str) -> Iterable[Key]:
        """Keys of the objects that have the value."""
        return self._keys.get(value, ())

    def values(self, key: Key) -> tuple[str, ...] | None:
        """The values of the object; None: they could not be computed."""
        return None if key in self.failed else self._values.get(key, ())

    def put(self, key: Key, computed: tuple[str, ...] | None) -> None:
        """The object has these values now; none: it is gone. None: they could not be computed."""
        values = computed or ()
        if computed is None:
            self.failed[key] = None
        else:
            self.failed.pop(key, None)
        before = self._values.get(key, ())
        if before == values:
            return
        for value in before:
            found = self._keys.get(value)
            if found is not None:
                found.pop(key, None)
                if not found:
                    del self._keys[value]
        for value in values:
            self._keys.setdefault(value, {})[key] = None
        if values:
            self._values[key] = values
        else:
            del self._values[key]


class Index:
    """Keys of objects by values that are computed from them.

    Attributes:
        values: Computes the values of an object from its bytes.
        tables: The parts of the index, by scope.
    """

    def __init__(self, values: Callable[[bytes], Iterable[str]]) -> None:
        self.values = values
        self.tables: dict[str, Table] = {}

    def keys(self, value: str) -> list[Key]:
        """Keys of the objects that have the value."""
        return [key for table in self.tables.values() for key in table.keys(value)]

    @property
    def failed(self) -> list[Key]:
        """Keys of the objects whose values could not be computed."""
        return [key for table in self.tables.values() for key in table.failed]

    def table(self, scope: str) -> Table:
        """The part of a scope."""
        found = self.tables.get(scope)
        if found is None:
            found = self.tables[scope] = Table()
        return found
