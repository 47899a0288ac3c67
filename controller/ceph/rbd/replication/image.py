"""The mirroring of one image, by librbd (https://docs.ceph.com/en/latest/rbd/rbd-mirroring/).

These functions block: they run in a worker thread, with an I/O context of the image's pool and namespace.
"""

from __future__ import annotations

import errno
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from controller.ceph.access.rados import CephError
from controller.ceph.mirroring.place import ImageState, Mode
from controller.ceph.rbd.images import library
from controller.ceph.rbd.peers import MIRRORED, is_mirrored

if TYPE_CHECKING:
    from collections.abc import Mapping

_SNAPSHOT = 1
"""The way of mirroring by snapshots, by librbd's number."""
_COPY_DEMOTED = 3
"""What a snapshot of the mirroring is that copies the last one of a primary, by librbd's numbers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteState:
    """What the daemon of a cluster says of an image; `up`: whether it is there."""

    state: ImageState = ImageState.UNKNOWN
    up: bool = False
    description: str = ""

    @property
    def is_primary(self) -> bool:
        """Whether the image may be written to in that cluster, by a daemon that is there."""
        return self.up and self.state is ImageState.STOPPED and "primary" in self.description

    @property
    def is_demoted(self) -> bool:
        """Whether nobody may write to the image any more, by a daemon that is there."""
        return self.up and self.state is ImageState.UNKNOWN and "not primary" in self.description

    @property
    def follows(self) -> bool:
        """Whether the image is a copy that changes as the other one does, by a daemon that is there."""
        return self.up and self.state is ImageState.REPLAYING

    @property
    def facts(self) -> Mapping[str, Any]:
        """The numbers of a copy, which stand after the words of the description."""
        _, brace, rest = self.description.partition("{")
        try:
            found = json.loads(brace + rest) if brace else {}
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageMirror:
    """How an image is mirrored.

    Attributes:
        image_id: Which image it is; a copy that is made anew has another.
        pool_mode: What is mirrored of its pool or RADOS namespace.
        enabled: Whether it is mirrored.
        primary: Whether it may be written to here.
        settled: Whether the newest that is here of it is a copy of the other cluster's last word. What the daemons say
            is not enough: one that never saw the other cluster write finds that it does not, too, and what the other
            one says is some seconds old.
        parent: The image that it is a clone of; empty: of none.
        local: What this cluster's daemon says of it.
        remote: What the other one's says.
    """

    image_id: str
    pool_mode: Mode = Mode.DISABLED
    enabled: bool = False
    primary: bool = False
    settled: bool = False
    parent: str = ""
    local: SiteState = SiteState()
    remote: SiteState = SiteState()


def look(ioctx: Any, name: str) -> ImageMirror | None:
    """How an image is mirrored; None: there is none of that name."""
    rbd = library()
    try:
        with rbd.Image(ioctx, name, read_only=True) as image:
            info = image.mirror_image_get_info()
            enabled = info["state"] == MIRRORED
            status = image.mirror_image_get_status() if enabled else {}
            remotes = status.get("remote_statuses", ())
            return ImageMirror(
                image_id=image.id(),
                pool_mode=_mode(rbd, ioctx),
                enabled=enabled,
                primary=enabled and bool(info["primary"]),
                settled=enabled and _is_settled(image),
                parent=_parent(rbd, image),
                local=_site(status),
                remote=_site(remotes[0]) if remotes else SiteState(),
            )
    except rbd.ImageNotFound:
        return None


def enable(ioctx: Any, name: str) -> None:
    """Has an image mirrored by snapshots, and makes the first of these."""
    with library().Image(ioctx, name) as image:
        if not is_mirrored(image):
            image.mirror_image_enable(_SNAPSHOT)


def promote(ioctx: Any, name: str, *, force: bool) -> None:
    """Lets an image be written to here.

    Raises:
        CephError: The other cluster may still write to it, or its last words have not come yet.
    """
    rbd = library()
    with rbd.Image(ioctx, name) as image:
        if image.mirror_image_get_info()["primary"]:
            return
        message = (
            f"image {name} is still primary in the other cluster, or its last words have not come, by what is here of "
            "it: demote it there first"
        )
        if not force and not _is_settled(image):
            raise CephError(errno.EBUSY, message)
        try:
            image.mirror_image_promote(force)
        except (rbd.ImageBusy, rbd.ReadOnlyImage) as error:
            raise CephError(errno.EBUSY, message) from error


def demote(ioctx: Any, name: str) -> None:
    """Lets an image not be written to here any more."""
    with library().Image(ioctx, name) as image:
        if image.mirror_image_get_info()["primary"]:
            image.mirror_image_demote()


def resync(ioctx: Any, name: str, image_id: str) -> None:
    """Discards the copy of an image that is here, which is made anew of the other cluster's.

    Raises:
        CephError: It is another by now, or may be written to.
    """
    with library().Image(ioctx, name) as image:
        if image.id() != image_id:
            raise CephError(errno.ESTALE, f"image {name} has id {image.id()}, not {image_id}: nothing is discarded")
        if image.mirror_image_get_info()["primary"]:
            raise CephError(errno.EBUSY, f"image {name} is primary here by now: nothing is discarded")
        image.mirror_image_resync()


def disable(ioctx: Any, name: str) -> None:
    """Has an image not mirrored any more, where it may be written to here; the other cluster deletes its copy."""
    rbd = library()
    try:
        with rbd.Image(ioctx, name) as image:
            info = image.mirror_image_get_info()
            if info["state"] == MIRRORED and info["primary"]:
                image.mirror_image_disable(False)
    except rbd.ImageNotFound:
        pass


def _site(status: Mapping[str, Any]) -> SiteState:
    if "state" not in status:
        return SiteState()
    return SiteState(state=ImageState(status["state"]), up=bool(status["up"]), description=str(status["description"]))


def _is_settled(image: Any) -> bool:
    """See `ImageMirror.settled`. Of one that is mirrored by its journal, librbd looks itself when it is promoted."""
    if image.mirror_image_get_mode() != _SNAPSHOT:
        return True
    snapshots = [snapshot for snapshot in image.list_snaps() if "mirror" in snapshot]
    if not snapshots:
        return False
    newest = max(snapshots, key=lambda snapshot: int(snapshot["id"]))["mirror"]
    return bool(newest["state"] == _COPY_DEMOTED and newest["complete"])


def _mode(rbd: Any, ioctx: Any) -> Mode:
    try:
        return Mode(rbd.RBD().mirror_mode_get(ioctx))
    except rbd.InvalidArgument:  # librbd before Ceph 20 has no number for it
        return Mode.INIT_ONLY


def _parent(rbd: Any, image: Any) -> str:
    try:
        found = image.parent_info()
    except rbd.ImageNotFound:
        return ""
    return f"{found[0]}/{found[1]}"
