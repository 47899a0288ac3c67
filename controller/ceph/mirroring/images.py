"""Mirroring of a pool or RADOS namespace, by librbd (https://docs.ceph.com/en/latest/rbd/rbd-mirroring/).

These functions block: they run in a worker thread, with a connection.
"""

from __future__ import annotations

import errno
import struct
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from controller.ceph.access.rados import CephError
from controller.ceph.mirroring.place import ImageState, Mode
from controller.ceph.mirroring.tokens import digest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import ModuleType

    from controller.ceph.mirroring.place import Place
    from controller.ceph.mirroring.tokens import Token

PEER_SECONDS = "5"
"""Seconds for the mons of another cluster to answer."""
ENABLED = 1
"""The state of an image that is mirrored."""
DIRECTIONS: Mapping[int, str] = {0: "rx-only", 1: "tx-only", 2: "rx-tx"}
"""In which direction a peer is mirrored with, by librbd's numbers."""
_OBJECT = "rbd_mirroring"
"""The object of a pool or RADOS namespace that has how it is mirrored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """Another cluster that a pool is mirrored with.

    Attributes:
        uuid: Which peer it is.
        site_name: What that cluster is called; its fsid, if nobody named it.
        client_name: The user there.
        direction: One of `DIRECTIONS`.
        mirror_uuid: The pool there; empty until its daemon has been seen.
        key_digest: A digest of the user's key.
    """

    uuid: str
    site_name: str
    client_name: str = ""
    direction: str = ""
    mirror_uuid: str = ""
    key_digest: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MirrorState:
    """How a pool or RADOS namespace is mirrored.

    Attributes:
        mode: What is mirrored.
        pool_mode: What is mirrored of the pool; the same, unless the place is a RADOS namespace.
        site_name: What this cluster is called.
        remote_namespace: The RADOS namespace of the other cluster; None: of the same name, or not known.
        peers: The other clusters.
        counts: Mirrored images by how their copying goes.
        images: The names of those that are mirrored; asked only where mirroring is to end.
    """

    mode: Mode = Mode.DISABLED
    pool_mode: Mode = Mode.DISABLED
    site_name: str = ""
    remote_namespace: str | None = None
    peers: tuple[Peer, ...] = ()
    counts: Mapping[ImageState, int] = field(default_factory=dict)
    images: tuple[str, ...] = ()


def observe(handle: Any, place: Place, *, with_images: bool) -> MirrorState:
    """How a place is mirrored; `with_images`: the names of its images are wanted, too."""
    library = _rbd()
    rbd = library.RBD()
    with _opened(handle, place) as ioctx:
        mode = _mode(library, ioctx)
        remote = _remote_namespace(ioctx) if place.namespace else None
        if mode is Mode.DISABLED:
            counts: dict[ImageState, int] = {}
        else:
            counts = {ImageState(state): count for state, count in rbd.mirror_image_status_summary(ioctx)}
        images = _mirrored(rbd, ioctx) if with_images else ()
        ioctx.set_namespace("")
        return MirrorState(
            mode=mode,
            pool_mode=_mode(library, ioctx),
            site_name=rbd.mirror_site_name_get(handle),
            remote_namespace=remote,
            peers=tuple(_peers(library, rbd, ioctx)),
            counts=counts,
            images=images,
        )


def set_mode(handle: Any, place: Place, mode: Mode) -> None:
    """Changes what is mirrored of a place.

    Raises:
        CephError: It is to end, and there are images that are mirrored, or peers.
    """
    library = _rbd()
    with _opened(handle, place) as ioctx:
        try:
            if mode is not Mode.INIT_ONLY:
                library.RBD().mirror_mode_set(ioctx, mode.value)
                return
            # librbd before Ceph 20 does not know it; the OSDs do.
            if _mirrored(library.RBD(), ioctx):
                raise CephError(errno.EBUSY, f"{place.name} has images that are mirrored")
            library.RBD().mirror_mode_set(ioctx, Mode.IMAGE.value)
            ioctx.execute(_OBJECT, "rbd", "mirror_mode_set", struct.pack("<I", mode.value))
        except library.InvalidArgument as error:
            raise CephError(errno.EINVAL, f"{place.name} has images that are mirrored by now") from error
        except library.ImageBusy as error:
            raise CephError(errno.EBUSY, f"{place.name} has peers by now, or images that others depend on") from error


def set_remote_namespace(handle: Any, place: Place, name: str) -> None:
    """Says which RADOS namespace of the other cluster a place is mirrored with, as OSDs of Ceph 20 know it."""
    encoded = name.encode()
    with _opened(handle, place) as ioctx:
        ioctx.execute(_OBJECT, "rbd", "mirror_remote_namespace_set", struct.pack("<I", len(encoded)) + encoded)


def import_peer(handle: Any, place: Place, token: Token) -> None:
    """Has a pool mirrored with the cluster of a token. A second time, what has changed of the token is taken over.

    Raises:
        CephError: That cluster does not answer, is this one, or does not mirror a pool of this name.
    """
    _check(handle, place, token)
    library = _rbd()
    direction = 0 if token.direction == DIRECTIONS[0] else 2
    with _opened(handle, place) as ioctx:
        try:
            library.RBD().mirror_peer_bootstrap_import(ioctx, direction, token.text)
        except library.InvalidArgument as error:
            message = f"pool {place.pool} is mirrored with another cluster: Ceph mirrors it with one"
            raise CephError(errno.EINVAL, message) from error


def remove_peer(handle: Any, place: Place, uuid: str) -> None:
    """Ends the mirroring of a pool with a peer; one that is not there is no error."""
    library = _rbd()
    with _opened(handle, place) as ioctx:
        library.RBD().mirror_peer_remove(ioctx, uuid)


def _check(handle: Any, place: Place, token: Token) -> None:
    """Makes sure of the other cluster: librbd itself waits for five minutes for one that does not answer."""
    if token.fsid == handle.get_fsid():
        raise CephError(errno.EINVAL, "the token is of this cluster itself: expected that of the other one")
    library = _rados()
    conf = {"mon_host": token.mon_host, "key": token.key, "log_file": "", "log_to_stderr": "false", "admin_socket": ""}
    limits = {"client_mount_timeout": PEER_SECONDS, "rados_mon_op_timeout": PEER_SECONDS}
    remote = library.Rados(name=token.user, conf={**conf, **limits, "rados_osd_op_timeout": PEER_SECONDS})
    try:
        try:
            remote.connect()
        except library.Error as error:
            number = abs(getattr(error, "errno", None) or errno.EIO)
            message = f"cluster {token.fsid} at {token.mon_host} does not let {token.user} in, or does not answer"
            raise CephError(number, message) from error
        found = remote.get_fsid()
        if found != token.fsid:
            message = f"cluster {found} answers at {token.mon_host}, and the token is of {token.fsid}"
            raise CephError(errno.EINVAL, message)
        try:
            with remote.open_ioctx(place.pool) as ioctx:
                if _mode(_rbd(), ioctx) is Mode.DISABLED:
                    raise CephError(errno.ENOSYS, f"cluster {token.fsid} does not mirror its pool {place.pool}")
        except library.ObjectNotFound as error:
            raise CephError(errno.ENOENT, f"cluster {token.fsid} has no pool {place.pool}") from error
    finally:
        remote.shutdown()


def _mode(library: ModuleType, ioctx: Any) -> Mode:
    try:
        return Mode(library.RBD().mirror_mode_get(ioctx))
    except library.InvalidArgument:  # librbd before Ceph 20 has no number for it
        return Mode.INIT_ONLY


def _remote_namespace(ioctx: Any) -> str | None:
    try:
        _, output = ioctx.execute(_OBJECT, "rbd", "mirror_remote_namespace_get", b"")
    except Exception as error:
        # None was set; or OSDs before Ceph 20 do not know it.
        if getattr(error, "errno", None) in (errno.ENOENT, errno.EOPNOTSUPP):
            return None
        raise
    (length,) = struct.unpack_from("<I", output)
    return bytes(output[4 : 4 + length]).decode()


def _mirrored(rbd: Any, ioctx: Any) -> tuple[str, ...]:
    found = (status for status in rbd.mirror_image_status_list(ioctx) if status["info"]["state"] == ENABLED)
    return tuple(sorted(status["name"] for status in found))


def _peers(library: ModuleType, rbd: Any, ioctx: Any) -> Iterator[Peer]:
    for found in rbd.mirror_peer_list(ioctx):
        try:
            key = rbd.mirror_peer_get_attributes(ioctx, found["uuid"]).get("key", "")
        except library.ImageNotFound:  # a peer that is reached by a file of its own
            key = ""
        yield Peer(
            uuid=found["uuid"],
            site_name=found["site_name"],
            client_name=found["client_name"],
            direction=DIRECTIONS.get(found["direction"], ""),
            mirror_uuid=found["mirror_uuid"],
            key_digest=digest(key) if key else "",
        )


@contextmanager
def _opened(handle: Any, place: Place) -> Iterator[Any]:
    with handle.open_ioctx(place.pool) as ioctx:
        ioctx.set_namespace(place.namespace)
        yield ioctx


def _rbd() -> ModuleType:
    import rbd  # system libraries of the operator's image, absent where only plans are computed

    module: ModuleType = rbd
    return module


def _rados() -> ModuleType:
    import rados

    module: ModuleType = rados
    return module
