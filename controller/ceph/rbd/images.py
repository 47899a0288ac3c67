"""What is done to RBD images and asked about them, by librbd (https://docs.ceph.com/en/latest/rbd/api/librbdpy/).

These functions block: they run in a worker thread, with a connection and an I/O context of the image's pool and
namespace.
"""

from __future__ import annotations

import errno
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from controller.ceph.access.clients import address_of, clients_in, plain
from controller.ceph.access.rados import CephError
from controller.ceph.rbd.peers import is_mirrored, mirror_daemons
from controller.ceph.rbd.volumes import FEATURES, image_name, named
from controller.volumes.backend import BackendError, Holder, Volume

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Set
    from types import ModuleType


class PoolMissingError(BackendError):
    """There is no pool of that name, and so no image in it."""


class Changes:
    """Images that are being changed: by one call at a time, which may be one that nobody waits for any more.

    Of two growths at once, the one that asks for less could be carried out last, and librbd would cut the image to that
    size. A second removal would hold a second thread for as long as the first takes.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._images: dict[tuple[str, str], str] = {}

    def concern(self, cluster: str, name: str) -> bool:
        """Whether an image of that name is being changed, in whatever pool of the cluster (its namespace)."""
        with self._lock:
            return any(where == cluster and image.endswith(f"/{name}") for where, image in self._images)

    @contextmanager
    def alone(self, volume: Volume, change: str) -> Iterator[None]:
        """Until the block is left, nobody else in this process changes the volume's image.

        Args:
            volume: The volume.
            change: What is done to it, as in "it is being grown".

        Raises:
            CephError: Somebody does already (`errno.EBUSY`).
        """
        image = (volume.attributes.get("clusterID", ""), named(volume))
        with self._lock:
            if image in self._images:
                raise CephError(errno.EBUSY, f"it is being {self._images[image]}, by a call that has not ended")
            self._images[image] = change
        try:
            yield
        finally:
            with self._lock:
                del self._images[image]


def with_ioctx[T](handle: Any, volume: Volume, work: Callable[[Any, Any], T]) -> T:
    """The result of `work`, which gets the connection and an I/O context of the volume's pool and namespace.

    Raises:
        PoolMissingError: There is no such pool.
    """
    pool = volume.attributes["pool"]
    try:
        ioctx = handle.open_ioctx(pool)
    except Exception as error:
        if getattr(error, "errno", None) == errno.ENOENT:
            raise _pool_missing(volume, "pool") from error
        raise
    try:
        ioctx.set_namespace(volume.attributes.get("radosNamespace", ""))
        return work(handle, ioctx)
    finally:
        ioctx.close()


def create(
    handle: Any, ioctx: Any, volume: Volume, size: int, options: Mapping[str, str], changes: Changes
) -> tuple[int, int]:
    """Makes the image, or grows the one that is there; returns its size in bytes and the id of its pool."""
    rbd = library()
    name = image_name(volume)
    try:
        return grow(ioctx, volume, size, changes), ioctx.get_pool_id()
    except rbd.ImageNotFound:
        pass
    made = layout(handle, volume, options)
    rbd.RBD().create(ioctx, name, size, made.pop("order"), old_format=False, **made)
    return size, ioctx.get_pool_id()


def layout(handle: Any, volume: Volume, options: Mapping[str, str]) -> dict[str, Any]:
    """How librbd is to lay out a new image, by the arguments that its `create` and `clone` have in common.

    Raises:
        PoolMissingError: The pool for the data does not exist.
    """
    data_pool = volume.attributes.get("dataPool")
    if data_pool and not handle.pool_exists(data_pool):  # librbd would say that the image was not found
        raise _pool_missing(volume, "dataPool")
    wanted = volume.attributes.get("imageFeatures", "")
    order = None
    if object_size := int(options.get("objectSize", "0")):
        order = object_size.bit_length() - 1
    return {
        "order": order,
        "features": sum(FEATURES[feature] for feature in wanted.split(",")) if wanted else None,
        "stripe_unit": int(options.get("stripeUnit", "0")),
        "stripe_count": int(options.get("stripeCount", "0")),
        "data_pool": data_pool,
    }


def grow(ioctx: Any, volume: Volume, size: int, changes: Changes) -> int:
    """Makes the image as large as `size` bytes, if it is smaller, and returns its size.

    Raises:
        BackendError: A client that may come back owns the image.
    """
    rbd, name = library(), image_name(volume)
    with rbd.Image(ioctx, name, read_only=True) as image:
        present: int = image.size()
    if present >= size:
        return present
    wait_for_owner(ioctx, volume, "its size stays")
    with changes.alone(volume, "grown"), rbd.Image(ioctx, name) as image:
        if image.size() < size:
            image.resize(size, allow_shrink=False)
        grown: int = image.size()
    return grown


def watchers(handle: Any, ioctx: Any, volume: Volume) -> tuple[Holder, ...]:
    """The clients that have the image open for writing, without this process's own and daemons that mirror it."""
    rbd, own = library(), clients_in(handle.get_addrs())
    try:
        with rbd.Image(ioctx, image_name(volume), read_only=True) as image:
            clients = {plain(watcher["addr"]) for watcher in image.watchers_list()} - own
            mirrored = bool(clients) and is_mirrored(image)
    except rbd.ImageNotFound:
        return ()
    if mirrored:
        clients -= mirror_daemons(handle)
    return tuple(_holder(client) for client in sorted(clients))


def absent(_: Any, ioctx: Any, volume: Volume) -> tuple[Holder, ...]:
    """The owner of the image's exclusive lock, if it does not watch the image any more."""
    rbd = library()
    try:
        with rbd.Image(ioctx, image_name(volume), read_only=True) as image:
            before = _lockers(image)
            watching = {plain(watcher["addr"]) for watcher in image.watchers_list()}
            after = _lockers(image)
    except rbd.ImageNotFound:
        return ()
    return tuple(_holder(client) for client in sorted(lost(before, watching, after)))


def wait_for_owner(ioctx: Any, volume: Volume, meanwhile: str) -> None:
    """Refuses a change while the owner of the image's lock is cut off: librbd would take the lock and have it fenced.

    Args:
        ioctx: An I/O context of the image's pool and namespace.
        volume: The volume.
        meanwhile: What is not done, in words: "its size stays".

    Raises:
        BackendError: It is cut off.
    """
    if cut_off := absent(None, ioctx, volume):
        clients = ", ".join(client.client for client in cut_off)
        raise BackendError(
            f"image {named(volume)}: {clients} owns its lock and does not answer: {meanwhile} until that client is "
            "back, or its node is out of service"
        )


def lost(before: Set[str], watchers: Set[str], after: Set[str]) -> Set[str]:
    """Clients that own a lock and watch no more, by three looks: at the owners, at the watchers, at the owners again.

    One that takes the lock or gives it back meanwhile is not among them.
    """
    return (before & after) - watchers


def features(ioctx: Any, volume: Volume) -> int:
    """The image's feature bits."""
    with library().Image(ioctx, image_name(volume), read_only=True) as image:
        bits: int = image.features()
    return bits


def _lockers(image: Any) -> set[str]:
    found = image.list_lockers()
    return {plain(client) for _, _, client in found["lockers"]} if found else set()


def _holder(client: str) -> Holder:
    return Holder(address=address_of(client), client=client)


def _pool_missing(volume: Volume, parameter: str) -> PoolMissingError:
    pool = volume.attributes[parameter]
    return PoolMissingError(f"image {named(volume)}: pool {pool!r} (parameter {parameter!r}) does not exist")


def library() -> ModuleType:
    """librbd's Python module."""
    import rbd  # a system library of the operator's image, absent where only plans are computed

    module: ModuleType = rbd
    return module
