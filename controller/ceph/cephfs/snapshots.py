"""Snapshots of subvolumes (`controller.volumes.features.Snapshots`), and subvolumes that begin as copies of others.

A snapshot's handle says where it is, as Ceph has no list of snapshots by their names alone:
"<clusterID>/<file system>/<group>/<subvolume>/<snapshot>". So it can be written by hand, too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from controller.ceph.cephfs import snaps, subvolumes
from controller.ceph.cephfs.calls import FilesystemMissingError, told
from controller.ceph.cephfs.clones import Clones
from controller.ceph.cephfs.volumes import NAME, Subvolume, named, subvolume_of
from controller.volumes.backend import SHOWN_SNAPSHOT, BackendError, ParameterError, UnderWayError, Volume
from controller.volumes.features import Snapshot

if TYPE_CHECKING:
    from collections.abc import Mapping

    from controller.ceph.access.rados import RadosCluster
    from controller.ceph.cephfs.calls import Calls
    from controller.ceph.cephfs.subvolumes import Found
    from controller.volumes.backend import NewVolume, Source

ROOT, NAME_SHOWN = "snapshotRoot", "snapshotName"
"""Attributes of a volume that shows a snapshot: the directory that has the snapshot, and its name, for nodes."""

_RETENTION = "snapshot-retention"
"""The feature of subvolumes whose snapshots are of the directory around the data."""

_SERVED = frozenset({"clusterID", "fsName"})


def parse(handle: str) -> tuple[str, snaps.Snapshot] | None:
    """The clusterID and the snapshot of a handle; None: it has another form. Pure."""
    parts = handle.split("/")
    if len(parts) != 5 or not all(NAME.fullmatch(part) for part in parts):
        return None
    cluster, filesystem, group, subvolume, name = parts
    return cluster, snaps.Snapshot(Subvolume(filesystem, group, subvolume), name)


class CephfsSnapshots:
    """Takes and destroys snapshots of subvolumes, and makes subvolumes that are copies.

    Args:
        calls: Finds clusters and file systems.
    """

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._clones = Clones()

    def unserved(self, parameters: Mapping[str, str]) -> tuple[str, ...]:
        """All but what says where the snapshot is, which its volume says."""
        return tuple(name for name in parameters if name not in _SERVED)

    def handle(self, volume: Volume, uid: str) -> str:
        """Where the volume's subvolume is, and the snapshot's name with the uid."""
        subvolume = subvolume_of(volume)
        found = "/".join((volume.attributes.get("clusterID", ""), *_parts(subvolume), f"{snaps.TAKEN}{uid}"))
        if volume.is_static or volume.shows or parse(found) is None:
            what = "shows a snapshot itself" if volume.shows else "was made by hand"
            raise ParameterError(
                f"volume {volume.handle} {what}: expected one that was provisioned, with a subvolume of its own"
            )
        return found

    async def take(self, volume: Volume, handle: str) -> Snapshot:
        """Takes the snapshot of that name, unless it is there."""
        _, snapshot = _parsed(handle)
        ceph = await self._served(handle)
        with told(f"snapshot {snapshot}"):
            taken = await snaps.take(ceph, snapshot)
            return await _snapshot(ceph, snapshot, taken)

    async def find(self, driver: str, handle: str) -> Snapshot | None:
        """By its name."""
        _, snapshot = _parsed(handle)
        try:
            ceph = await self._served(handle)
        except FilesystemMissingError:
            return None
        with told(f"snapshot {snapshot}"):
            taken = await snaps.find(ceph, snapshot)
            return await _snapshot(ceph, snapshot, taken) if taken is not None else None

    async def destroy(self, driver: str, handle: str, volume: Volume | None) -> None:
        """Removes it; one that is being copied is kept until that has ended."""
        _, snapshot = _parsed(handle)
        try:
            ceph = await self._served(handle)
        except FilesystemMissingError:
            return
        with told(f"snapshot {snapshot}"):
            await snaps.remove(ceph, snapshot)

    async def show(self, ceph: RadosCluster, volume: Volume, source: Source) -> Mapping[str, str] | None:
        """The attributes by which a volume shows a snapshot; None: it has to be copied, as it is of an old subvolume.

        Args:
            ceph: The volume's cluster, where its file system is served.
            volume: The volume.
            source: The snapshot.

        Raises:
            BackendError: There is no such snapshot, or it is in another file system.
        """
        snapshot = _origin(volume, source)
        with told(named(volume)):
            if await snaps.find(ceph, snapshot) is None:
                raise BackendError(f"snapshot {snapshot} does not exist")
            if _RETENTION not in await subvolumes.features(ceph, snapshot.subvolume):
                return None
        root = f"/volumes/{snapshot.subvolume.group}/{snapshot.subvolume.name}"
        return {SHOWN_SNAPSHOT: _handle_of(source), ROOT: root, NAME_SHOWN: snapshot.name}

    def wait_for_turn(self, volume: Volume) -> None:
        """Asks nobody.

        Raises:
            UnderWayError: The volume is to be a copy, and it is known that no other copy can be begun now.
        """
        self._clones.wait_for_turn(volume.attributes["clusterID"], subvolume_of(volume))

    async def make(self, ceph: RadosCluster, wanted: NewVolume, source: Source) -> Found:
        """Makes a volume's subvolume a copy of its source; one that is whole is returned.

        Args:
            ceph: The volume's cluster, where its file system is served.
            wanted: The volume.
            source: What it is to be a copy of.

        Raises:
            UnderWayError: It is being copied.
            BackendError: The source is not there, or in another file system; or the copy has failed.
        """
        volume, target = wanted.volume, subvolume_of(wanted.volume)
        cluster = volume.attributes["clusterID"]
        snapshot = _origin(volume, source)
        lasts = bool(_handle_of(source))
        with told(named(volume)):
            if not await self._clones.advance(ceph, cluster, target):
                if not lasts:
                    await snaps.take(ceph, snapshot)
                await self._clones.begin(ceph, cluster, snapshot, target, wanted.options.get("pool", ""))
            found = await subvolumes.settle(ceph, target, wanted.size)
            if not lasts:
                await _drop(ceph, snapshot)
        return found

    async def abandon(self, volume: Volume, source: Source) -> None:
        """Removes the snapshot that is there while a subvolume is copied."""
        self.forget(volume)
        if _handle_of(source):
            return
        snapshot, filesystem = _origin(volume, source), subvolume_of(volume).filesystem
        try:
            ceph, _ = await self._calls.served(volume.attributes["clusterID"], filesystem, named(volume))
        except FilesystemMissingError:
            return
        with told(named(volume)):
            await _drop(ceph, snapshot)

    def forget(self, volume: Volume) -> None:
        """A volume is not being copied any more."""
        self._clones.forget(volume.attributes.get("clusterID", ""), subvolume_of(volume))

    async def _served(self, handle: str) -> RadosCluster:
        cluster, snapshot = _parsed(handle)
        ceph, _ = await self._calls.served(cluster, snapshot.subvolume.filesystem, f"snapshot {snapshot}")
        return ceph


def _origin(volume: Volume, source: Source) -> snaps.Snapshot:
    """The snapshot that a volume is to be a copy of: one that lasts, or one for the time in which it is copied. Pure.

    Raises:
        BackendError: It is in another file system, or there is none.
    """
    handle, target, origin = _handle_of(source), subvolume_of(volume), source.volume
    if handle:
        cluster, snapshot = _parsed(handle)
    elif origin.is_static:
        raise BackendError(f"{named(origin)} was made by hand: expected a volume that was provisioned")
    else:
        cluster = origin.attributes.get("clusterID", "")
        snapshot = snaps.Snapshot(subvolume_of(origin), f"{snaps.HELPER}{target.name[-36:]}")
    here = f"{volume.attributes['clusterID']}/{target.filesystem}"
    if (there := f"{cluster}/{snapshot.subvolume.filesystem}") != here:
        raise BackendError(
            f"subvolume {snapshot.subvolume} is in the file system {there}: expected {here}, as a subvolume is a "
            "copy of one in its own file system"
        )
    return snapshot


async def _snapshot(ceph: RadosCluster, snapshot: snaps.Snapshot, taken: snaps.Taken) -> Snapshot:
    """As large as the subvolume is: Ceph does not tell how large it was, nor anything once it is removed."""
    found = await subvolumes.find(ceph, snapshot.subvolume)
    return Snapshot(size=(found.quota if found is not None else None) or 0, created=taken.created)


async def _drop(ceph: RadosCluster, helper: snaps.Snapshot) -> None:
    try:
        await snaps.remove(ceph, helper)
    except snaps.CopiedError as error:  # for a moment after the copy is whole
        raise UnderWayError(str(error)) from error


def _handle_of(source: Source) -> str:
    """The handle of the snapshot that a source is or shows; empty: it is a volume with data of its own."""
    return source.volume.handle if source.is_snapshot else source.volume.shows


def _parts(subvolume: Subvolume) -> tuple[str, str, str]:
    return subvolume.filesystem, subvolume.group, subvolume.name


def _parsed(handle: str) -> tuple[str, snaps.Snapshot]:
    found = parse(handle)
    if found is None:
        raise BackendError(
            f"snapshot handle {handle!r}: expected <clusterID>/<file system>/<group>/<subvolume>/<snapshot>"
        )
    return found
