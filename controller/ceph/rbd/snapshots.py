"""Snapshots of RBD images (`controller.volumes.features.Snapshots`), and images that begin as copies of others.

A snapshot's handle has the form of Ceph's CSI driver, as volumes' handles have: version, cluster, pool and, in place of
a volume's, the snapshot's uid. Its image is named after that uid. So what there is of a snapshot is found by its
handle, and the handle by the volume's handle and the uid.
"""

from __future__ import annotations

import errno
import re
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from controller.ceph.access.rados import CephError
from controller.ceph.access.threads import Lane
from controller.ceph.csi.volumes import HANDLE_VERSION
from controller.ceph.rbd import copies, encryption
from controller.ceph.rbd.images import PoolMissingError, layout, wait_for_owner, with_ioctx
from controller.ceph.rbd.removal import COPY, drop_snapshot
from controller.ceph.rbd.volumes import FEATURES, image_name, named
from controller.volumes.backend import BackendError, ParameterError, Volume
from controller.volumes.features import Snapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from controller.ceph.rbd.calls import Calls
    from controller.volumes.backend import Source

SNAPSHOT_PREFIX = "csi-snap-"

_HANDLE = re.compile(
    rf"{HANDLE_VERSION}-[0-9a-f]{{4}}-(?P<cluster>.+)-(?P<pool>[0-9a-f]{{16}})-(?P<uid>[0-9a-fA-F-]{{36}})"
)

_SERVED = frozenset({"clusterID", "pool"})

_FEATURES = FEATURES["layering"] | FEATURES["deep-flatten"]
"""Of a snapshot's image: with the second, its snapshot needs no parent either, once it was made whole."""


@dataclass(frozen=True, slots=True)
class Handle:
    """What the handle of a volume or snapshot says.

    Attributes:
        cluster: The clusterID.
        pool_id: The pool of the image.
        uid: What the image's name ends in.
    """

    cluster: str
    pool_id: int
    uid: str


def parse(handle: str) -> Handle | None:
    """What a handle says; None: it has another form. Pure."""
    found = _HANDLE.fullmatch(handle)
    if found is None or int(handle[5:9], 16) != len(found["cluster"]):
        return None
    return Handle(found["cluster"], int(found["pool"], 16), found["uid"])


class RbdSnapshots:
    """Takes and destroys snapshots of images, and makes images that are copies.

    Args:
        calls: Makes the calls.
    """

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    def unserved(self, parameters: Mapping[str, str]) -> tuple[str, ...]:
        """All but what says where the snapshot is, which its volume says."""
        return tuple(name for name in parameters if name not in _SERVED)

    def handle(self, volume: Volume, uid: str) -> str:
        """The volume's handle, with the snapshot's uid."""
        found = parse(volume.handle)
        if volume.is_static or found is None:
            raise ParameterError(
                f"volume {volume.handle} was made by hand: expected one that was provisioned, whose handle says where "
                f"its snapshots are"
            )
        namespace = volume.attributes.get("radosNamespace")
        if namespace and self._calls.places.find(found.cluster) is None:
            raise ParameterError(
                f"volume {volume.handle} is in the RADOS namespace {namespace}: expected one in none, or by the "
                f"clusterID of a CephBlockPoolRadosNamespace, as a snapshot's handle names its place by that alone"
            )
        return f"{volume.handle[:-36]}{uid}"

    async def take(self, volume: Volume, handle: str) -> Snapshot:
        """Makes the snapshot's image, and at last its own snapshot, by which it is complete."""
        target = image_of(volume, handle)
        await self._copy(volume, "", target, lambda _: layout_of(volume))
        return await self.settle(target)

    async def settle(self, target: Volume) -> Snapshot:
        """Makes the snapshot of a snapshot's image by which it is complete, unless there is one."""
        pool, expected = target.attributes.get("pool"), _parsed(target.handle).pool_id

        def settle(_: Any, ioctx: Any) -> Snapshot:
            if ioctx.get_pool_id() != expected:
                raise CephError(errno.EINVAL, f"pool {pool} has id {ioctx.get_pool_id()}, not {expected}")
            size, created = copies.settle(ioctx, image_name(target))
            return Snapshot(size=size, created=created)

        return await self._calls.on_pool(target, settle)

    async def find(self, driver: str, handle: str) -> Snapshot | None:
        """By its image, if that is complete."""
        target = await self.located(driver, handle)
        if target is None:
            return None

        def look(_: Any, ioctx: Any) -> Snapshot | None:
            if not copies.is_complete(ioctx, image_name(target)):
                return None
            size, created = copies.measured(ioctx, image_name(target))
            return Snapshot(size=size, created=created)

        return await self._calls.on_pool(target, look)

    async def destroy(self, driver: str, handle: str, volume: Volume | None) -> None:
        """Removes its image, by way of the trash if volumes were made of it, and what was left of its making."""
        target = await self.located(driver, handle)
        if target is None:
            return

        def remove(connection: Any, ioctx: Any) -> None:
            with self._calls.changes.alone(target, "removed"):
                copies.destroy(connection, ioctx, image_name(target))

        with suppress(PoolMissingError):
            await self._calls.on_pool(target, remove, lane=Lane.LONG)
            if volume is not None:
                await self._drop_unfinished(target, volume)

    async def abandon(self, volume: Volume, source: Source) -> None:
        """Removes the snapshot that a volume's image has for the moments in which it is copied."""
        if not source.is_snapshot:
            with suppress(PoolMissingError):
                await self._drop_unfinished(volume, source.volume)

    async def make(self, volume: Volume, source: Source, options: Mapping[str, str], kms: str) -> None:
        """Makes a volume's image a copy of its source, unless it is one already.

        Args:
            volume: The volume.
            source: Its source.
            options: How its image is laid out.
            kms: The type of its KMS; empty: it is not encrypted.

        Raises:
            BackendError: The source is not there, in another cluster, or not encrypted as the volume is to be.
        """
        origin, snapshot = source.volume, ""
        if source.is_snapshot:
            located = await self.located(origin.driver, origin.handle)
            if located is None:
                raise BackendError(f"snapshot {origin.handle}: its pool does not exist")
            origin, snapshot = located, image_name(located)
        there, here = (self._calls.places.resolve(image) for image in (origin, volume))
        if there.attributes.get("clusterID") != here.attributes["clusterID"]:
            raise BackendError(
                f"{named(origin)} is in the cluster of namespace {there.attributes.get('clusterID')}: expected "
                f"{here.attributes['clusterID']}, as an image is a copy of one in its own cluster"
            )
        rados = [image.attributes.get("radosNamespace") or "none" for image in (there, here)]
        if rados[0] != rados[1]:
            raise BackendError(
                f"{named(origin)} is in the RADOS namespace {rados[0]}: expected {rados[1]}, as an image is a copy of "
                "one in its own RADOS namespace"
            )

        await self._calls.on_pool(origin, lambda _, ioctx: encryption.check_source(ioctx, image_name(origin), kms))

        def made(handle: Any) -> dict[str, Any]:
            arguments = {key: value for key, value in layout(handle, volume, options).items() if value}
            if "features" in arguments:
                arguments["features"] |= FEATURES["layering"]
            return arguments

        await self._copy(origin, snapshot, volume, made)

    async def _copy(self, origin: Volume, snapshot: str, target: Volume, made: Any) -> None:
        """Makes `target` a copy of `origin`, at a snapshot that it has, or as it is (empty)."""
        name, origin = image_name(target), self._calls.places.resolve(origin)

        def copy(handle: Any, ioctx: Any) -> None:
            def from_pool(_: Any, source: Any) -> None:
                if not snapshot:
                    wait_for_owner(source, origin, "it is not copied")
                of = copies.Origin(source, image_name(origin), snapshot or f"{COPY}{name}", lasts=bool(snapshot))
                copies.copy(of, ioctx, name, made(handle))
                encryption.inherit(ioctx, name, origin.handle)

            with_ioctx(handle, origin, from_pool)

        await self.make_copy(target, copy)

    async def make_copy(self, target: Volume, copy: Callable[[Any, Any], None], *, lane: Lane = Lane.IMAGES) -> None:
        """Has an image made a copy, and makes it independent of what it is a copy of, if that is one of many others.

        Args:
            target: The image.
            copy: Makes it, by the connection and the I/O context of its pool and namespace.
            lane: Which threads make it.
        """
        name, changes = image_name(target), self._calls.changes

        def make(handle: Any, ioctx: Any) -> int:
            with changes.alone(target, "copied"):
                copy(handle, ioctx)
                return copies.depth(handle, ioctx, name)

        def flatten(handle: Any, ioctx: Any) -> None:
            with changes.alone(target, "made independent of what it is a copy of"):
                copies.flatten(handle, ioctx, name)

        if await self._calls.on_pool(target, make, lane=lane) > copies.DEEPEST:
            await self._calls.on_pool(target, flatten, lane=Lane.LONG)

    async def _drop_unfinished(self, target: Volume, source: Volume) -> None:
        """Removes from the image of `source` what was left of copying it to that of `target`."""
        origin, unfinished = self._calls.places.resolve(source), f"{COPY}{image_name(target)}"

        def drop(_: Any, ioctx: Any) -> None:
            with self._calls.changes.alone(target, "removed"):
                drop_snapshot(ioctx, image_name(origin), unfinished)

        await self._calls.on_pool(origin, drop, lane=Lane.LONG)

    async def located(self, driver: str, handle: str) -> Volume | None:
        """A snapshot's image by its handle; None: its pool is gone."""
        found = _parsed(handle)
        nowhere = _image(driver, handle, {"clusterID": found.cluster})
        try:
            pool = await self._calls.cluster(nowhere).use(
                lambda connection: connection.pool_reverse_lookup(found.pool_id), lane=Lane.IMAGES, seconds=30.0
            )
        except CephError as error:
            raise BackendError(f"snapshot {handle}: {error}") from error
        return _image(driver, handle, {"clusterID": found.cluster, "pool": pool}) if pool else None


def image_of(volume: Volume, handle: str) -> Volume:
    """The image of the snapshot of that handle, of a volume. Pure."""
    attributes = {key: volume.attributes.get(key, "") for key in ("clusterID", "pool", "dataPool")}
    return _image(volume.driver, handle, attributes)


def layout_of(volume: Volume) -> dict[str, Any]:
    """How the image of a volume's snapshot is laid out: arguments of librbd's `clone`. Pure."""
    return {"features": _FEATURES, "data_pool": volume.attributes.get("dataPool") or None}


def _parsed(handle: str) -> Handle:
    found = parse(handle)
    if found is None:
        raise BackendError(
            f"snapshot handle {handle!r}: expected the form of Ceph's CSI driver, "
            f"{HANDLE_VERSION}-<length>-<clusterID>-<pool id>-<uid>"
        )
    return found


def _image(driver: str, handle: str, attributes: Mapping[str, str]) -> Volume:
    kept = {key: value for key, value in attributes.items() if value}
    return Volume(
        driver=driver, attributes={**kept, "imageName": f"{SNAPSHOT_PREFIX}{_parsed(handle).uid}"}, handle=handle
    )
