"""The local copy of a collection, which is one scope, or one scope for each namespace.

Objects that this process wrote are shown as the server returned them, before the watch shows them
(`Cache.observe_write`), so that nobody acts on a state older than their own write.
"""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING

import orjson

from informers import wire
from informers.media import METADATA, PARTIAL, WHOLE
from informers.scope import Scope
from informers.selector import fields_match, labels_match
from informers.store import EVERYWHERE, Store

if TYPE_CHECKING:
    from collections.abc import Mapping

    from informers.resource import JsonObject, Resource


class Cache(Store):
    """A collection's local copy: a store whose scopes are kept up to date by one reflector each.

    Args:
        resource: What it holds.
        scopes: Namespaces that it holds, or `EVERYWHERE` alone.
        label_selector: Only objects whose labels match belong in it.
        field_selector: Only objects whose fields match belong in it.
        partial: Whether it holds objects' metadata alone.

    Attributes:
        optional: Whether only the controllers that watch it wait until it is synced.
        partial: Whether it holds objects' metadata alone.
        selective: Whether it has selectors.
        scopes: By namespace.
    """

    def __init__(
        self,
        resource: Resource,
        scopes: tuple[str, ...],
        *,
        label_selector: str = "",
        field_selector: str = "",
        partial: bool = False,
    ) -> None:
        super().__init__(resource, whole=EVERYWHERE in scopes)
        self.optional = True
        self.partial = partial
        self.selective = bool(label_selector or field_selector)
        self._label_selector = label_selector
        self._field_selector = field_selector
        self._synced = asyncio.Event()
        accept = METADATA if partial else WHOLE
        self.scopes = {
            namespace: Scope(self, namespace, selectors=self.selectors, accept=accept, listed=self._listed)
            for namespace in scopes
        }

    @property
    def selectors(self) -> dict[str, str]:
        """`labelSelector` and `fieldSelector` as query parameters, those that there are."""
        found = {"labelSelector": self._label_selector, "fieldSelector": self._field_selector}
        return {name: value for name, value in found.items() if value}

    @property
    def synced(self) -> bool:
        """Whether every scope's first list is in, and was delivered to the listeners."""
        return self._synced.is_set()

    async def wait_synced(self) -> None:
        """Return once it is `synced`."""
        await self._synced.wait()

    @property
    def version(self) -> int:
        """Everything up to this resource version has been observed, in every scope; 0 before the first list."""
        return min((scope.version for scope in self.scopes.values()), default=0)

    @property
    def trouble(self) -> str:
        """Why the collection cannot be listed or watched now; "" if it can."""
        return "; ".join(
            f"namespace {scope.namespace}: {scope.trouble}" if scope.namespace else scope.trouble
            for scope in self.scopes.values()
            if scope.trouble
        )

    @property
    def troubled_since(self) -> float:
        """When the oldest present error began, in seconds of `workqueue.loop_clock`; infinite while there is none."""
        return min((scope.troubled_since for scope in self.scopes.values()), default=math.inf)

    def scope(self, namespace: str) -> Scope | None:
        """The scope that serves the namespace."""
        return self.scopes.get(EVERYWHERE) or self.scopes.get(namespace)

    def matches(self, namespace: str, name: str, labels: Mapping[str, str]) -> bool | None:
        """Whether the selectors match such an object; None where only the API server can tell."""
        by_labels = labels_match(self._label_selector, labels)
        by_fields = fields_match(self._field_selector, namespace, name)
        if by_labels is False or by_fields is False:
            return False
        return None if by_labels is None or by_fields is None else True

    def observe_write(self, obj: JsonObject) -> None:
        """Show an object as the server returned it for a write, if that is newer than what the watch has shown."""
        metadata = obj["metadata"]
        scope = self.scope(metadata.get("namespace", ""))
        version = int(metadata["resourceVersion"])
        # The watch may have passed this version, and deleted the object since.
        if scope is None or not scope.synced or version <= scope.version:
            return
        if self.matches(metadata.get("namespace", ""), metadata["name"], metadata.get("labels") or {}) is not True:
            return
        kept = {name: value for name, value in metadata.items() if name != "managedFields"}
        data = orjson.dumps({**(PARTIAL if self.partial else obj), "metadata": kept})
        scope.write_through(wire.Object(kept.get("namespace", ""), kept["name"], version, data))

    def close(self) -> None:
        """The cache is followed no more: whatever waits for it goes on, as if it had been synced."""
        self._synced.set()
        for scope in self.scopes.values():
            scope.close()

    def _listed(self) -> None:
        """A scope was listed: the cache is synced once all are."""
        if all(scope.synced for scope in self.scopes.values()):
            self._synced.set()
