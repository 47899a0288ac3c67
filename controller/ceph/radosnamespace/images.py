"""RADOS namespaces of a pool and the images in one, by librbd (https://docs.ceph.com/en/latest/rbd/api/librbdpy/).

These functions block: they run in a worker thread, with a connection.
"""

from __future__ import annotations

import errno
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from controller.ceph.access.rados import CephError

if TYPE_CHECKING:
    from types import ModuleType


class PoolMissingError(CephError):
    """There is no such pool."""


def names(handle: Any, pool: str) -> tuple[str, ...]:
    """The RADOS namespaces of a pool, without the implicit one.

    Raises:
        PoolMissingError: There is no such pool.
    """
    with _opened(handle, pool) as ioctx:
        return tuple(_rbd().RBD().namespace_list(ioctx))


def contents(handle: Any, pool: str, name: str) -> tuple[str, ...]:
    """What is in a namespace, in words: images, and those in the trash."""
    rbd = _rbd().RBD()
    with _opened(handle, pool) as ioctx:
        ioctx.set_namespace(name)
        return (
            *(f"image {image}" for image in rbd.list(ioctx)),
            *(f"image {entry['name']} in the trash" for entry in rbd.trash_list(ioctx)),
        )


def create(handle: Any, pool: str, name: str) -> None:
    """Makes a namespace; one that is there is no error."""
    rbd = _rbd()
    with _opened(handle, pool) as ioctx, suppress(rbd.ImageExists):
        rbd.RBD().namespace_create(ioctx, name)


def remove(handle: Any, pool: str, name: str) -> None:
    """Removes a namespace; one that is not there is no error.

    Raises:
        CephError: There are images in it, or in its trash.
    """
    rbd = _rbd()
    with _opened(handle, pool) as ioctx:
        try:
            rbd.RBD().namespace_remove(ioctx, name)
        except rbd.ImageNotFound:
            pass
        except rbd.ImageBusy as error:
            raise CephError(errno.EBUSY, f"RADOS namespace {pool}/{name} has images by now: it stays") from error


def _opened(handle: Any, pool: str) -> Any:
    try:
        return handle.open_ioctx(pool)
    except Exception as error:
        if getattr(error, "errno", None) == errno.ENOENT:
            raise PoolMissingError(errno.ENOENT, f"pool {pool} does not exist") from error
        raise


def _rbd() -> ModuleType:
    import rbd  # a system library of the operator's image, absent where only plans are computed

    module: ModuleType = rbd
    return module
