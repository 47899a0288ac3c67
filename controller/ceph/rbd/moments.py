"""One moment of several RBD images, by librbd: what each of them had then becomes a copy of its own.

librbd takes a snapshot of all images of a group (https://docs.ceph.com/en/latest/rbd/rbd-snapshot/) while it holds the
exclusive lock of each: no client writes to any of them meanwhile. Such snapshots are in a namespace of their own, and
of these librbd makes no clones before Ceph 19.2. So each image gets a snapshot as other copies do, a little before the
group's; the copy is a clone of that one, and then gets what was written between the two.

In order, each step as often as needed: the images' own snapshots, the group, its snapshot (from here on the moment is
kept), the copies; and once all of them are complete, the group goes. As in `images`, these functions block.
"""

from __future__ import annotations

import errno
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from controller.ceph.access.rados import CephError
from controller.ceph.rbd import copies, images
from controller.ceph.rbd.removal import COPY, drop_snapshot, group_of, ties
from controller.ceph.rbd.volumes import FEATURES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

IN_GROUP = 1
"""The namespace of snapshots of groups (`rbd_snap_namespace_type_t`)."""

COMPLETE = 1
"""The state of a group's snapshot that all images have (`rbd_group_snap_state_t`)."""

CHUNK = 4 << 20
"""Most bytes that are held in memory at once."""


@dataclass(frozen=True, slots=True)
class Part:
    """An image of a group.

    Attributes:
        image: The image.
        copy: The image that has what it had.
    """

    image: str
    copy: str

    @property
    def before(self) -> str:
        """The image's own snapshot, of a little before the moment."""
        return f"{COPY}{self.copy}"


def keep(ioctx: Any, group: str, parts: Sequence[Part]) -> None:
    """Keeps this moment of all images, unless one is kept for the group, or all copies are there.

    Args:
        ioctx: The I/O context of the images' pool and namespace.
        group: The group, which has the name of its snapshot, too.
        parts: The images, all of one pool.

    Raises:
        CephError: It cannot be kept; `errno.EEXIST`: an image is in another group.
    """
    if _is_kept(ioctx, group):
        return
    made = [part.copy for part in parts if ties(ioctx, part.copy) is not None]
    if made:
        if all(copies.is_complete(ioctx, part.copy) for part in parts):
            return
        raise CephError(
            errno.ESTALE,
            f"the moment of {', '.join(made)} is not kept any more, so the others of that moment cannot be made: make "
            "another group snapshot",
        )
    rbd = images.library()
    for part in parts:
        _check_lock(ioctx, part.image)
        copies.make_snapshot(copies.Origin(ioctx, part.image, part.before))
    with suppress(rbd.ObjectExists):
        rbd.RBD().group_create(ioctx, group)
    opened = rbd.Group(ioctx, group)
    for part in parts:
        try:
            opened.add_image(ioctx, part.image)
        except rbd.ObjectExists as error:
            other = _group(ioctx, part.image) or "another one"
            raise CephError(errno.EEXIST, f"{part.image} is in the group {other}: expected it in none") from error
    for found in list(opened.list_snaps()):  # one that was cut off is not the same moment for all
        opened.remove_snap(found["name"])
    opened.create_snap(group)


def copy(ioctx: Any, group: str, part: Part, made: Mapping[str, Any]) -> None:
    """Makes a copy of what an image had at the group's moment, unless there is one.

    Args:
        ioctx: The I/O context of the group's pool and namespace.
        group: The group, whose moment is kept.
        part: The image, and the copy.
        made: How the copy is laid out: arguments of librbd's `clone`.

    Raises:
        CephError: It cannot be copied.
    """
    origin = copies.Origin(ioctx, part.image, part.before, lasts=True)
    copies.copy(origin, ioctx, part.copy, made, lambda: _catch_up(ioctx, group, part))
    drop_snapshot(ioctx, part.image, part.before)


def forget(ioctx: Any, group: str) -> None:
    """Takes the group apart, with its snapshot; its images stay."""
    rbd = images.library()
    with suppress(rbd.ObjectNotFound):
        rbd.RBD().group_remove(ioctx, group)


def _catch_up(ioctx: Any, group: str, part: Part) -> None:
    """Gives a copy of a little before the moment what was written until then."""
    rbd, changed = images.library(), list[tuple[int, int, bool]]()
    with rbd.Image(ioctx, part.image, read_only=True) as then, rbd.Image(ioctx, part.copy) as late:
        then.set_snap_by_id(_moment(then, group))
        size = then.size()
        if late.size() < size:
            late.resize(size, allow_shrink=False)
        then.diff_iterate(
            0, size, part.before, lambda *extent: changed.append(extent), include_parent=False, whole_object=True
        )
        for offset, length, has_data in changed:
            if not has_data:
                late.write_zeroes(offset, length)
                continue
            for start in range(offset, offset + length, CHUNK):
                late.write(then.read(start, min(CHUNK, offset + length - start)), start)
        late.flush()


def _moment(image: Any, group: str) -> int:
    """The id of the image's snapshot of the moment."""
    of_group = [found for found in image.list_snaps() if found["namespace"] == IN_GROUP]
    found = [snapshot["id"] for snapshot in of_group if (snapshot["group"] or {}).get("name") == group]
    if len(found) != 1:  # several: another operator was still taking one
        raise CephError(errno.ESTALE, f"{image.get_name()} has {len(found)} snapshots of the group {group}: expected 1")
    number: int = found[0]
    return number


def _is_kept(ioctx: Any, group: str) -> bool:
    rbd = images.library()
    try:
        return any(found["state"] == COMPLETE for found in rbd.Group(ioctx, group).list_snaps())
    except rbd.ObjectNotFound:
        return False


def _check_lock(ioctx: Any, image: str) -> None:
    rbd = images.library()
    try:
        with rbd.Image(ioctx, image, read_only=True) as opened:
            if not opened.features() & FEATURES["exclusive-lock"]:
                why = "by which its clients are held for the moment of a group snapshot"
                raise CephError(errno.EOPNOTSUPP, f"{image} lacks the feature exclusive-lock, {why}")
    except rbd.ImageNotFound as error:
        raise CephError(errno.ENOENT, f"{image} does not exist") from error


def _group(ioctx: Any, image: str) -> str:
    with images.library().Image(ioctx, image, read_only=True) as opened:
        return group_of(opened)
