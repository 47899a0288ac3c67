"""Copies of RBD images, by librbd: clones of format 2, which share with their parent what neither has written since.

A snapshot of a volume is an image of its own, as by Ceph's CSI driver
(https://github.com/ceph/ceph-csi/blob/devel/docs/design/proposals/rbd-snap-clone.md): a clone of the volume's image
with a snapshot, of which volumes are clones. So volume, snapshot and what was restored from it can go in any order. As
in `images`, these functions block.

librbd makes a clone in several writes. One that was cut off may be an image without a parent, or one that its parent
does not know of. So an image is a copy only once it is marked as one, and what is not marked is made anew: nobody has
used it.
"""

from __future__ import annotations

import errno
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC
from typing import TYPE_CHECKING, Any

from controller.ceph.access.rados import CephError
from controller.ceph.rbd import encryption, images
from controller.ceph.rbd.removal import discard, drop_snapshot, is_marked, mark, sweep, ties
from controller.ceph.rbd.volumes import FEATURES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

COPIED = "rook.io/copied"
"""The metadata of an image that is a whole copy."""

CLONE_FORMAT = 2
"""Whose parents' snapshots may be removed before it."""

DEEPEST = 8
"""Most parents that a copy has, one behind the other: reads go through all of them, and the kernel's client follows 16.
Also the hard limit of Ceph's CSI driver.
"""

MOST_SNAPSHOTS = 450
"""Most snapshots of an image, also such that are in the trash: the kernel's client maps no image with more than 510.
Ceph's CSI driver has the same limit.
"""


@dataclass(frozen=True, slots=True)
class Origin:
    """What is copied.

    Attributes:
        ioctx: The I/O context of its pool and namespace.
        image: The image.
        snapshot: The snapshot of it.
        lasts: Whether the snapshot is there already, and stays; else it is made for the copy.
    """

    ioctx: Any
    image: str
    snapshot: str
    lasts: bool = False


def copy(
    origin: Origin, ioctx: Any, name: str, made: Mapping[str, Any], amend: Callable[[], None] | None = None
) -> None:
    """Makes an image a copy, unless it is one already.

    Args:
        origin: What is copied.
        ioctx: The I/O context of the copy's pool and namespace.
        name: The copy.
        made: How it is laid out: arguments of librbd's `clone`.
        amend: What else is done to the image before it is a copy; repeated if it was cut off.

    Raises:
        CephError: It cannot be copied; `errno.ENOENT`: it is not there.
    """
    rbd = images.library()
    if not _is_copy(ioctx, name):
        if not origin.lasts:
            make_snapshot(origin)
        if name not in _clones(origin):
            _forget(ioctx, name)
            rbd.RBD().clone(origin.ioctx, origin.image, origin.snapshot, ioctx, name, clone_format=CLONE_FORMAT, **made)
        if amend is not None:
            amend()
        with rbd.Image(ioctx, name) as image:
            mark(image, COPIED)
    if not origin.lasts:
        drop_snapshot(origin.ioctx, origin.image, origin.snapshot)


def depth(handle: Any, ioctx: Any, name: str) -> int:
    """How many parents an image has, one behind the other."""
    rbd = images.library()
    with rbd.Image(ioctx, name, read_only=True) as image:
        parent = _parent(image)
    found = 0
    while parent is not None:
        found += 1
        pool, namespace, image_id = parent
        with handle.open_ioctx(pool) as other:
            other.set_namespace(namespace)
            with rbd.Image(other, image_id=image_id, read_only=True) as image:
                parent = _parent(image)
    return found


def flatten(handle: Any, ioctx: Any, name: str) -> None:
    """Gives an image what it shares with its parent; one that was cut off goes on where it was.

    Parents that are in the trash, and have no other clone, go.
    """
    rbd = images.library()
    with rbd.Image(ioctx, name) as image:
        parent = _parent(image)
        if parent is None:
            return
        image.flatten()
    pool, namespace, _ = parent
    sweep(handle, ioctx, (pool, namespace))


def settle(ioctx: Any, name: str) -> tuple[int, int]:
    """Makes the snapshot of a snapshot's image by which it is complete, unless there is one.

    Returns:
        Its bytes that a pod can have, and when it was made, in nanoseconds since 1970.

    Raises:
        CephError: `errno.ENOENT`: there is no such image.
    """
    rbd = images.library()
    if not is_complete(ioctx, name):
        try:
            with rbd.Image(ioctx, name) as image:
                image.create_snap(name)
        except rbd.ImageExists:
            pass
        except rbd.ImageNotFound as error:
            raise CephError(errno.ENOENT, "it does not exist") from error
    return measured(ioctx, name)


def measured(ioctx: Any, name: str) -> tuple[int, int]:
    """What `settle` returns, of a snapshot's image that is complete."""
    with images.library().Image(ioctx, name, snapshot=name, read_only=True) as image:
        return encryption.usable(image), int(image.create_timestamp().replace(tzinfo=UTC).timestamp()) * 10**9


def destroy(handle: Any, ioctx: Any, name: str) -> None:
    """Removes a snapshot's image, if it is there; what was made of it stays.

    Raises:
        CephError: A client has it open, or it has snapshots that are not its own.
    """
    found = ties(ioctx, name)
    own = [snapshot for snapshot in (found.snapshots if found else ()) if snapshot == name]
    discard(handle, ioctx, name, found, dropping=own)


def is_complete(ioctx: Any, name: str) -> bool:
    """Whether there is the image of a snapshot, with the snapshot that volumes are made of."""
    found = ties(ioctx, name)
    return found is not None and name in found.snapshots


def _forget(ioctx: Any, name: str) -> None:
    """Removes a copy whose making was cut off, if there is one."""
    rbd = images.library()
    with suppress(rbd.ImageNotFound):
        rbd.RBD().remove(ioctx, name)


def make_snapshot(origin: Origin) -> None:
    """Makes the snapshot by which an image is copied, unless it is there.

    Raises:
        CephError: There can be none; `errno.ENOENT`: there is no such image.
    """
    rbd = images.library()
    try:
        with rbd.Image(origin.ioctx, origin.image) as image:
            if not image.features() & FEATURES["layering"]:
                raise CephError(errno.EOPNOTSUPP, f"{origin.image} lacks the feature layering, by which it is copied")
            if (count := len(list(image.list_snaps()))) >= MOST_SNAPSHOTS:
                more = f"{origin.image} has {count} snapshots, those in the trash that have clones included"
                raise CephError(errno.EMLINK, f"{more}: expected less than {MOST_SNAPSHOTS}")
            with suppress(rbd.ImageExists):
                image.create_snap(origin.snapshot)
    except rbd.ImageNotFound as error:
        raise CephError(errno.ENOENT, f"{origin.image} does not exist") from error


def _clones(origin: Origin) -> list[str]:
    rbd = images.library()
    try:
        with rbd.Image(origin.ioctx, origin.image, snapshot=origin.snapshot, read_only=True) as image:
            return [name for _, name in image.list_children()]
    except rbd.ImageNotFound as error:
        raise CephError(errno.ENOENT, f"snapshot {origin.image}@{origin.snapshot} does not exist") from error


def _is_copy(ioctx: Any, name: str) -> bool:
    rbd = images.library()
    try:
        with rbd.Image(ioctx, name, read_only=True) as image:
            return is_marked(image, COPIED)
    except rbd.ImageNotFound:
        return False


def _parent(image: Any) -> tuple[str, str, str] | None:
    """Pool, namespace and id of an image's parent, which may be in the trash; None: it has none."""
    try:
        spec = image.get_parent_image_spec()
        return spec["pool_name"], spec["pool_namespace"], image.parent_id()
    except images.library().ImageNotFound:
        return None
