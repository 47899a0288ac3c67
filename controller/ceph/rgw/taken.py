"""What is in a store under a name: objects of several namespaces may ask for the same, and the first has it."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from controller.runtime import Request
from controller.runtime.kube import HasMetadata

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from informers import Informer

BY_NAME, BY_STORE = "rgw-name", "rgw-store"
"""The indices of such objects: by store and name in it, and by store."""


def _anywhere(_: str) -> bool:
    return True


class InStores[T: HasMetadata]:
    """Finds objects of a kind by the store that they are in, and their names there, which are those of the objects.

    There is one for an informer, whose indices it adds.

    Args:
        objects: The cache of the kind.
        store_of: The namespace and the name of the CephObjectStore of an object.
    """

    def __init__(self, objects: Informer[T], store_of: Callable[[T], tuple[str, str]]) -> None:
        self._objects, self._store_of = objects, store_of
        objects.add_index(BY_NAME, lambda obj: (self._key(obj),))
        objects.add_index(BY_STORE, lambda obj: ("/".join(store_of(obj)),))

    def alike(self, obj: T) -> Iterable[Request]:
        """Each object that asks for the same name in the same store."""
        return itertools.starmap(Request, self._objects.keys_by_index(BY_NAME, self._key(obj)))

    def of_store(self, store: HasMetadata) -> Iterable[Request]:
        """Each object in a store."""
        meta = store.metadata
        return itertools.starmap(Request, self._objects.keys_by_index(BY_STORE, f"{meta.namespace}/{meta.name}"))

    def taken_by(self, obj: T, allowed: Callable[[str], bool] = _anywhere) -> str:
        """The other object that has the name, as namespace and name; empty: none.

        Args:
            obj: The object that asks for it.
            allowed: Whether objects of a namespace may be in the store. Of those that may, the oldest has it.
        """
        found = (self._objects.get(*key) for key in self._objects.keys_by_index(BY_NAME, self._key(obj)))
        able = (other for other in found if other is not None and allowed(other.metadata.namespace))
        holder = min(able, key=_age, default=obj).metadata
        return "" if holder.uid == obj.metadata.uid else f"{holder.namespace}/{holder.name}"

    def _key(self, obj: T) -> str:
        return "/".join((*self._store_of(obj), obj.metadata.name))


def _age(obj: HasMetadata) -> tuple[str, str, str]:
    meta = obj.metadata
    return meta.creation_timestamp or "", meta.namespace, meta.name
