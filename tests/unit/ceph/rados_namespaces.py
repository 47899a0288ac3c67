"""RADOS namespaces as tests describe them, and librbd as far as they go."""

from __future__ import annotations

import errno
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Self, cast

import msgspec

from controller.apis.ceph import CephBlockPoolRadosNamespace
from controller.ceph.access.rados import CephError
from controller.ceph.access.rados_namespaces import RadosNamespaces, cluster_id

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from informers import Informer, JsonObject

NOW = "2027-01-15T08:00:00Z"


def a_namespace(
    spec: JsonObject | None = None,
    *,
    name: str = "namespace-a",
    namespace: str = "rook-ceph",
    created: str = NOW,
    deleting: bool = False,
    status: JsonObject | None = None,
) -> CephBlockPoolRadosNamespace:
    """A CephBlockPoolRadosNamespace of pool replicapool."""
    meta: JsonObject = {"name": name, "namespace": namespace, "uid": f"u-{namespace}-{name}", "generation": 2}
    meta["creationTimestamp"] = created
    if deleting:
        meta["deletionTimestamp"] = NOW
    obj = {"metadata": meta, "spec": {"blockPoolName": "replicapool", **(spec or {})}, "status": status or {}}
    return msgspec.convert(obj, CephBlockPoolRadosNamespace)


def known(*namespaces: CephBlockPoolRadosNamespace) -> RadosNamespaces:
    """These, by clusterID."""
    by_key = {(n.metadata.namespace, n.metadata.name): n for n in namespaces}
    cache = SimpleNamespace(
        add_index=lambda name, function: None,
        keys=lambda namespace: [key for key in by_key if namespace in (None, key[0])],
        keys_by_index=lambda index, value: [key for key, n in by_key.items() if cluster_id(n) == value],
        get=lambda *key: by_key.get(key),
    )
    return RadosNamespaces(cast("Informer[CephBlockPoolRadosNamespace]", cache))


class ImageExistsError(Exception):
    """`rbd.ImageExists`."""


class ImageNotFoundError(Exception):
    """`rbd.ImageNotFound`."""


class ImageBusyError(Exception):
    """`rbd.ImageBusy`."""


class NoPoolError(Exception):
    """`rados.ObjectNotFound`."""

    errno = errno.ENOENT


class Pools:
    """A cluster's pools, with their RADOS namespaces and what is in each; librados and librbd as far as they are used.

    Attributes:
        pools: By pool and namespace: the images and those in the trash.
        down: Whether nobody answers.
    """

    def __init__(self, **pools: dict[str, tuple[list[str], list[str]]]) -> None:
        self.pools, self.down = pools, False

    async def mon(self, prefix: str, /, **_: Any) -> Any:
        """There are no records."""
        assert prefix == "config-key dump"
        return {}

    async def use(self, function: Callable[[Any], Any], **_: Any) -> Any:
        if self.down:
            raise CephError(errno.ETIMEDOUT, "no answer")
        return function(self)

    def open_ioctx(self, name: str) -> Context:
        if name not in self.pools:
            raise NoPoolError
        return Context(self.pools[name])

    def library(self) -> Any:
        """The module `rbd`."""
        return SimpleNamespace(
            RBD=lambda: Rbd,
            ImageExists=ImageExistsError,
            ImageNotFound=ImageNotFoundError,
            ImageBusy=ImageBusyError,
        )


class Context:
    """An I/O context of a pool."""

    def __init__(self, pool: dict[str, tuple[list[str], list[str]]]) -> None:
        self.pool, self.namespace = pool, ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...

    def set_namespace(self, name: str) -> None:
        self.namespace = name


class Rbd:
    """`rbd.RBD`."""

    @staticmethod
    def namespace_list(context: Context) -> list[str]:
        return [name for name in context.pool if name]

    @staticmethod
    def namespace_create(context: Context, name: str) -> None:
        if name in context.pool:
            raise ImageExistsError
        context.pool[name] = ([], [])

    @staticmethod
    def namespace_remove(context: Context, name: str) -> None:
        if name not in context.pool:
            raise ImageNotFoundError
        if any(context.pool[name]):
            raise ImageBusyError
        del context.pool[name]

    @staticmethod
    def list(context: Context) -> list[str]:
        return context.pool[context.namespace][0]

    @staticmethod
    def trash_list(context: Context) -> Sequence[dict[str, str]]:
        return [{"name": name} for name in context.pool[context.namespace][1]]
