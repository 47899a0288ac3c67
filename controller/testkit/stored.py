"""The objects of an API server in memory without a copy of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from controller.testkit.objects import Objects
    from informers import JsonObject, Resource


@dataclass(frozen=True)
class Stored:
    """For tests that look at every moment whether something holds: the objects as the server has them.

    They must not be changed: a write stores another object.

    Args:
        server: The server.
    """

    server: Objects

    def list(self, resource: Resource, namespace: str = "") -> list[JsonObject]:
        """The objects of a namespace, or of all namespaces, sorted by namespace and name."""
        found = self.server.storage.objects((resource.group, resource.plural))
        return [obj for key, obj in sorted(found.items()) if namespace in ("", key[0])]

    def find(self, resource: Resource, namespace: str, name: str) -> JsonObject | None:
        """The object, None if there is none."""
        return self.server.storage.objects((resource.group, resource.plural)).get((namespace, name))
