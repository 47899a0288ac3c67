"""Reading what daemons keep in RADOS objects, by librados and without their own tools."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from controller.ceph.access.threads import Lane

MOST = 1024
"""Keys of an object that are read at once."""


class Used(Protocol):
    """A cluster whose librados can be used: see `controller.ceph.access.rados.RadosCluster.use`."""

    async def use[T](self, function: Callable[[Any], T], *, lane: Lane, seconds: float) -> T:
        """Runs a blocking call in a worker thread."""


def keys(ioctx: Any, name: str) -> dict[str, bytes]:
    """The keys of an object with their values.

    Args:
        ioctx: The pool, with the namespace that the object is in.
        name: The object's.

    Raises:
        rados.ObjectNotFound: There is no such object.
    """
    found: dict[str, bytes] = {}
    after = ""
    while True:
        with library().ReadOpCtx() as operation:
            pairs, _ = ioctx.get_omap_vals(operation, after, "", MOST)
            ioctx.operate_read_op(operation, name)
            page = {key: bytes(value or b"") for key, value in pairs}
        found |= page
        if len(page) < MOST:
            return found
        after = max(page)


def library() -> ModuleType:
    """librados."""
    import rados  # a system library of the operator's image, absent where only plans are computed

    module: ModuleType = rados
    return module
