"""The end of RBD images, by librbd: removed at once, or by way of the pool's trash while clones of them live.

An image of which there are clones (of format 2) cannot be removed: its data is theirs, too. It is moved to the trash,
and removed from there after its last clone. What others have moved to the trash is left alone. As in `images`, these
functions block.
"""

from __future__ import annotations

import errno
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from controller.ceph.access.rados import CephError
from controller.ceph.rbd import images
from controller.ceph.rbd.volumes import image_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from controller.ceph.rbd.images import Changes
    from controller.volumes.backend import Volume

COPY = "rook-copy-"
"""What the name of a snapshot begins with that is there while an image is copied; the copy's name follows."""

DELETED = "rook.io/deleted"
"""The metadata of an image that is to be removed as soon as it has no clones."""

IN_TRASH = 2
"""The namespace of snapshots that were removed while they had clones (`rbd_snap_namespace_type_t`)."""

_HELD = (errno.ENOTEMPTY, errno.ECHILD, errno.EBUSY, errno.ENOENT)
"""Why an image in the trash is not removed now: it has clones, somebody has it open, or it is gone."""


@dataclass(frozen=True, slots=True)
class Ties:
    """What an image is tied to.

    Attributes:
        snapshots: The names of its snapshots, without those in the trash.
        parent: Pool and namespace of the image that it is a clone of; None: it is no clone.
        group: The group of images that it is in; empty: in none.
    """

    snapshots: tuple[str, ...] = ()
    parent: tuple[str, str] | None = None
    group: str = ""


def mark(image: Any, key: str) -> None:
    """Notes something in an open image's metadata: for this image only, though its clones get all its metadata."""
    image.metadata_set(key, image.id())


def is_marked(image: Any, key: str) -> bool:
    """Whether that was noted in an open image's metadata, for this image."""
    return bool(dict(image.metadata_list()).get(key) == image.id())


def ties(ioctx: Any, name: str) -> Ties | None:
    """What an image is tied to; None: there is no such image."""
    rbd = images.library()
    try:
        with rbd.Image(ioctx, name, read_only=True) as image:
            names = sorted(found["name"] for found in image.list_snaps() if found["namespace"] != IN_TRASH)
            return Ties(tuple(names), _parents_place(image), group_of(image))
    except rbd.ImageNotFound:
        return None


def remove(handle: Any, ioctx: Any, volume: Volume, changes: Changes) -> None:
    """Removes a volume's image, if it is there.

    Raises:
        CephError: A client has it open, it is being copied, it has snapshots, or it is in a group.
    """
    name = image_name(volume)
    found = ties(ioctx, name)
    copies = [snapshot for snapshot in (found.snapshots if found else ()) if snapshot.startswith(COPY)]
    for copy in copies:  # one that nobody is making any more is what an operator left over that died
        if changes.concern(volume.attributes["clusterID"], copy.removeprefix(COPY)):
            raise CephError(errno.EBUSY, f"it is being copied to {copy.removeprefix(COPY)}")
    discard(handle, ioctx, name, found, dropping=copies)


def discard(handle: Any, ioctx: Any, name: str, found: Ties | None, *, dropping: Sequence[str] = ()) -> None:
    """Removes an image, if it is there, by way of the trash if it has clones; and parents of it that are in the trash.

    Args:
        handle: The connection.
        ioctx: The I/O context of the image's pool and namespace.
        name: The image.
        found: What it is tied to.
        dropping: Snapshots of it that go with it.

    Raises:
        CephError: A client has it open, or it has other snapshots, or is in a group.
    """
    rbd = images.library()
    if found is not None and found.group:  # a group snapshot that is being taken needs the image's other ones, too
        raise CephError(errno.EMLINK, f"it is in the group {found.group}")
    for snapshot in dropping:
        drop_snapshot(ioctx, name, snapshot)
    try:
        rbd.RBD().remove(ioctx, name)
    except rbd.ImageNotFound:
        pass
    except Exception as error:
        number = abs(getattr(error, "errno", None) or 0)
        if number == errno.EBUSY:
            raise CephError(errno.EBUSY, "a client has it open") from error
        if number not in (errno.ENOTEMPTY, errno.ECHILD):
            raise
        left = ties(ioctx, name)
        if left is not None and left.snapshots:
            raise CephError(errno.ENOTEMPTY, f"it has snapshots: {', '.join(left.snapshots)}") from error
        with rbd.Image(ioctx, name) as image:
            mark(image, DELETED)
        rbd.RBD().trash_move(ioctx, name, 0)
    if found is None or found.parent is not None:  # not there: a removal was cut off, perhaps before its parents went
        sweep(handle, ioctx, found.parent if found is not None else None)


def drop_snapshot(ioctx: Any, name: str, snapshot: str) -> None:
    """Removes a snapshot of an image, if both are there; while it has clones, it stays for them, in the trash."""
    rbd = images.library()
    try:
        with rbd.Image(ioctx, name) as image:
            image.remove_snap(snapshot)
    except rbd.ImageNotFound:
        pass


def sweep(handle: Any, ioctx: Any, parent: tuple[str, str] | None) -> None:
    """Removes what this operator has put in the trash of a pool, and no clone needs any more.

    And so on where the parents of what was removed are: they may be in the trash of another pool.

    Args:
        handle: The connection.
        ioctx: The I/O context of the pool and namespace.
        parent: Pool and namespace of the parent of an image that was removed just now.
    """
    places = [*_sweep(ioctx), *([parent] if parent is not None else [])]
    while places:
        pool, namespace = places.pop()
        with handle.open_ioctx(pool) as other:
            other.set_namespace(namespace)
            places += _sweep(other)


def _sweep(ioctx: Any) -> list[tuple[str, str]]:
    """Removes from one trash; returns where the parents of what was removed are."""
    rbd = images.library()
    parents = []
    for image_id in _in_trash(ioctx):
        try:
            with rbd.Image(ioctx, image_id=image_id, read_only=True) as image:
                ours, parent = is_marked(image, DELETED), _parents_place(image)
            if ours:
                rbd.RBD().trash_remove(ioctx, image_id)
                parents += [parent] if parent is not None else []
        except Exception as error:
            if abs(getattr(error, "errno", None) or 0) not in _HELD:
                raise
    return parents


def _parents_place(image: Any) -> tuple[str, str] | None:
    try:
        parent = image.get_parent_image_spec()
    except images.library().ImageNotFound:
        return None
    return parent["pool_name"], parent["pool_namespace"]


def group_of(image: Any) -> str:
    """The group of images that an open image is in; empty: in none that there is."""
    with suppress(images.library().ImageNotFound):
        name: str = image.group()["name"]
        return name
    return ""


def _in_trash(ioctx: Any) -> list[str]:
    """The ids of the images in a pool's trash."""
    found = []
    # librbd's Python module has no words for an image whose removal is under way: those after it come another time.
    with suppress(IndexError):
        for entry in images.library().RBD().trash_list(ioctx):
            found.append(entry["id"])  # noqa: PERF401  what came before the error counts
    return found
