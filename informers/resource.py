"""Which resource of the API is meant, and where the server serves it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import quote

type Key = tuple[str, str]
"""(namespace, name) of an object; the namespace of a cluster-scoped object is ""."""


class Named(Protocol):
    """What names an object by its key: a reconcile request, or an object's metadata."""

    @property
    def namespace(self) -> str:
        """The object's namespace, "" for a cluster-scoped object."""
        ...

    @property
    def name(self) -> str:
        """The object's name."""
        ...


type JsonObject = dict[str, Any]
"""A Kubernetes object, or a part of one, as plain JSON."""


@dataclass(frozen=True, slots=True)
class Resource:
    """A resource type that an API server serves.

    Attributes:
        group: API group, "" for the core group.
        version: Version in the group, "v1".
        kind: Name of the type in objects, "Widget".
        plural: Name in paths, "widgets".
        namespaced: Whether its objects live in namespaces.
    """

    group: str
    version: str
    kind: str
    plural: str
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        """What objects carry as `apiVersion`: "example.com/v1", "v1"."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """The request path of the collection, or of one object with a name, or of its subresource.

        Raises:
            ValueError: A namespace for a cluster-scoped resource, one object without its namespace, or a subresource
                without a name: the path would mean something else.
        """
        if namespace and not self.namespaced:
            raise ValueError(f"{self}: is cluster-scoped, but namespace {namespace!r} was given")
        if name and self.namespaced and not namespace:
            raise ValueError(f"{self}: is namespaced, but no namespace was given for {name!r}")
        if subresource and not name:
            raise ValueError(f"{self}: subresource {subresource!r} needs an object's name")
        root = f"/apis/{self.group}" if self.group else "/api"
        parts = [root, self.version]
        if namespace:
            parts += ["namespaces", quote(namespace, safe="")]
        parts.append(self.plural)
        if name:
            parts.append(quote(name, safe=""))
        if subresource:
            parts.append(subresource)
        return "/".join(parts)

    def __str__(self) -> str:
        return f"{self.plural}.{self.group}" if self.group else self.plural
