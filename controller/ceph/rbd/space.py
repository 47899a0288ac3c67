"""Space that images take and do not need: objects that have only zeros are removed, as by `rbd sparsify`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from controller.ceph.access.threads import Lane
from controller.ceph.rbd import images
from controller.ceph.rbd.encryption import is_encrypted
from controller.ceph.rbd.volumes import image_name, named
from controller.volumes.backend import BackendError

if TYPE_CHECKING:
    from controller.ceph.rbd.calls import Calls
    from controller.ceph.rbd.images import Changes
    from controller.volumes.backend import Volume


def sparsify(ioctx: Any, volume: Volume, changes: Changes) -> int:
    """Removes the image's objects that have only zeros; returns the bytes of those. Blocking.

    A client that opens the image meanwhile is safe: the OSDs look at each object and change it in one step.

    Raises:
        BackendError: There is no such image.
    """
    rbd = images.library()
    try:
        with changes.alone(volume, "sparsified"), rbd.Image(ioctx, image_name(volume)) as image:
            before = _taken(image)
            image.sparsify(image.stat()["obj_size"])
            return max(before - _taken(image), 0)
    except rbd.ImageNotFound:
        raise BackendError(f"image {named(volume)} does not exist") from None


def _taken(image: Any) -> int:
    """The bytes of the objects that the image has, without its parent's and its snapshots'."""
    found = 0

    def add(_: int, length: int, exists: bool) -> None:
        nonlocal found
        found += length if exists else 0

    image.diff_iterate(0, image.size(), None, add, include_parent=False, whole_object=True)
    return found


class RbdSpace:
    """Gives back space of RBD images. Implements `controller.volumes.features.Space`."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def reclaim(self, volume: Volume) -> int | None:
        """A call that does not end in time goes on in its thread; its result is not known then."""
        changes = self._calls.changes
        return await self._calls.on_pool(volume, lambda _, ioctx: sparsify(ioctx, volume, changes), lane=Lane.LONG)

    def is_trimmable(self, volume: Volume) -> bool:
        """Not an encrypted one: what is discarded there is written over, and takes more space than before."""
        return not is_encrypted(volume)
