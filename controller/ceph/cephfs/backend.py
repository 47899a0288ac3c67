"""File system volumes of Ceph: subvolumes of CephFS as a `VolumeBackend`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio

from controller.apis.ceph import CEPH_CLUSTER, CEPH_FILESYSTEM, CephCluster, CephFilesystem
from controller.ceph.cephfs import removal, sessions, subvolumes
from controller.ceph.cephfs.calls import Calls, FilesystemMissingError, told
from controller.ceph.cephfs.rooms import CephfsRooms
from controller.ceph.cephfs.snapshots import CephfsSnapshots
from controller.ceph.cephfs.volumes import SUFFIX, IncompleteError, check, describe, named, place_of, subvolume_of
from controller.ceph.csi.drivers import Drivers, claims_of, fence, served
from controller.ceph.csi.volumes import handle
from controller.ceph.csi.ways import Ways
from controller.framework.changes import changed
from controller.framework.status import READY
from controller.runtime.kube import CONFIG_MAP, ConfigMap, resource_of
from controller.volumes.backend import BackendError, Created, Description, GoneError, Holder, NewVolume, Volume
from controller.volumes.capabilities import FILESYSTEM, MANY, ONCE, ONCE_POD, READERS, Capabilities

if TYPE_CHECKING:
    from collections.abc import Mapping

    from controller.ceph.access.filesystems import FilesystemState
    from controller.ceph.access.rados import Connections, RadosCluster
    from controller.ceph.cephfs.sessions import Session
    from controller.framework.settings import Served, Settings
    from controller.runtime import Manager
    from controller.runtime.kube import StorageClass
    from controller.volumes.system import VolumeControllers
    from informers import Informer

CAPABILITIES = Capabilities(
    access_modes={FILESYSTEM: (ONCE, ONCE_POD, READERS, MANY)},
    nodes_expand=False,
    sources=("PersistentVolumeClaim", "VolumeSnapshot"),
    shows_snapshots=True,
    shared=True,
    knows_room=True,
)
"""What subvolumes can be: directories that any number of nodes may write to."""

_EVICTION_WAITS = (0.0, 0.5, 0.5, 1.0, 2.0, 4.0)
"""Seconds before each look whether a client that is on the blocklist has a session still."""

_DIRECTORY = ("staticVolume", "rootPath", "subvolumeGroup", "subvolumeName", "subvolumePath")
"""Attributes that say which directory a volume is: a node's attachment outlives the PersistentVolume."""


class CephfsBackend:
    """Serves subvolumes of CephFS as volumes. Implements `controller.volumes.backend.VolumeBackend`.

    Args:
        connections: Ways to the clusters, by namespace.
        clusters: The CephClusters that are served.
        filesystems: The CephFilesystems of their namespaces.
        config_maps: The ConfigMaps of their namespaces.
        namespaces: The namespaces that are served.
        home: The operator's own namespace.
        suffix: What the names of the drivers end in.

    Attributes:
        snapshots: Snapshots of its volumes.
        rooms: How much fits.
    """

    name = "cephfs"
    capabilities = CAPABILITIES

    def __init__(
        self,
        connections: Connections,
        clusters: Informer[CephCluster],
        filesystems: Informer[CephFilesystem],
        config_maps: Informer[ConfigMap],
        namespaces: Served,
        home: str,
        *,
        suffix: str = SUFFIX,
    ) -> None:
        self._drivers = Drivers(suffix, clusters, namespaces, home)
        self._ways = Ways(clusters, config_maps)
        self._filesystems = filesystems
        self._calls = Calls(connections, self._drivers)
        self.snapshots = CephfsSnapshots(self._calls)
        self.rooms = CephfsRooms(self._calls, lambda found: self.describe(found, "", filesystem=True))

    def knows(self, driver: str) -> bool:
        """By the end of its name."""
        return self._drivers.knows(driver)

    def serves(self, driver: str) -> bool:
        """Drivers are named after the operator's namespace, or after a cluster's that is served."""
        return self._drivers.serves(driver)

    def driver_of(self, storage_class: StorageClass) -> str:
        """The provisioner itself."""
        return storage_class.provisioner if self.serves(storage_class.provisioner) else ""

    def not_served(self, storage_class: StorageClass) -> str:
        """For a class of a cluster here, with a driver that nobody here is."""
        return self._drivers.not_served(storage_class, storage_class.parameters.get("clusterID", ""))

    def describe(self, storage_class: StorageClass, claim_uid: str, *, filesystem: bool) -> Description:
        """The subvolume that a claim gets: its name comes from the claim's uid."""
        return describe(storage_class, claim_uid, self._drivers.has)

    def identity(self, volume: Volume) -> str:
        """The subvolume, also for a volume that was made by hand of a directory within it."""
        if self.knows(volume.driver) and volume.attributes.get("clusterID") and volume.attributes.get("fsName"):
            return f"{volume.attributes['clusterID']}/{place_of(volume)}"
        return f"{volume.driver} {volume.handle}"

    def is_made_for(self, volume: Volume, claim_uid: str) -> bool:
        """By the end of the subvolume's name."""
        return not volume.is_static and subvolume_of(volume).name.endswith(claim_uid)

    async def create(self, wanted: NewVolume) -> Created:
        """Makes the subvolume, its size as quota, empty or as a copy. One that is there is kept, but never smaller.

        Volumes that nobody writes to show a snapshot as it is, unless the class says otherwise.
        """
        volume, source = wanted.volume, wanted.source
        if source is not None:
            self.snapshots.wait_for_turn(volume)
        cluster, state = await self._asked(volume)
        subvolume, namespace = subvolume_of(volume), volume.attributes["clusterID"]
        filesystem = self._filesystems.get(namespace, subvolume.filesystem)
        if filesystem is not None and filesystem.metadata.deletion_timestamp is not None:
            raise BackendError(f"CephFilesystem {namespace}/{subvolume.filesystem} is being deleted")
        name = handle(namespace, state.fscid, subvolume.name[-36:])
        if source is not None and source.is_snapshot and wanted.read_only and _may_show(wanted):
            shown = await self.snapshots.show(cluster, volume, source)
            if shown is not None:
                return Created(handle=name, size=wanted.size, attributes=shown)
        if source is not None:
            found = await self.snapshots.make(cluster, wanted, source)
        else:
            with told(named(volume)):
                found = await subvolumes.make(cluster, subvolume, wanted.size, wanted.options)
        size = wanted.size if found.quota is None else found.quota
        return Created(handle=name, size=size, attributes={"subvolumePath": found.path})

    async def delete(self, volume: Volume) -> None:
        """Removes the subvolume; nothing is left of one whose file system is gone.

        Snapshots of VolumeSnapshots stay until these go. A volume that shows a snapshot has nothing of its own.
        """
        if volume.shows:
            return
        if volume.is_static:
            raise BackendError(f"{named(volume)} was made by hand: it is never removed")
        try:
            cluster, _ = await self._asked(volume)
        except FilesystemMissingError:
            return
        with told(named(volume)):
            await removal.remove(cluster, subvolume_of(volume))
        self.snapshots.forget(volume)

    async def expand(self, volume: Volume, size: int) -> int:
        """Raises the quota. Clients that have it mounted follow by themselves."""
        if volume.is_static:
            raise BackendError(f"{named(volume)} was made by hand: its quota is not changed")
        if volume.shows:
            raise BackendError(f"volume {volume.handle} shows the snapshot {volume.shows}: it does not grow")
        cluster, _ = await self._asked(volume)
        with told(named(volume)):
            found = await subvolumes.grow(cluster, subvolume_of(volume), size)
        return size if found.quota is None else found.quota

    async def holders(self, volume: Volume) -> tuple[Holder, ...]:
        """The clients of which MDS daemons have a session that is at the volume's directory, and that they hear of."""
        return tuple(sessions.holder(found) for found in await self._sessions(volume) if not found.stale)

    async def absent(self, volume: Volume) -> tuple[Holder, ...]:
        """Clients whose session there is stale: MDS daemons keep it for 5 min, or until another asks for its locks."""
        return tuple(sessions.holder(found) for found in await self._sessions(volume) if found.stale)

    async def fence(self, volume: Volume, holder: Holder) -> None:
        """Puts the client on the OSDs' blocklist, and waits until the MDS daemons have evicted it for that.

        They are not told to evict it: their own entry in the blocklist, of an hour, would take the place of this one.
        """
        cluster = self._cluster(volume)
        await fence(cluster, holder, named(volume))
        for wait in _EVICTION_WAITS:
            await anyio.sleep(wait)
            if all(found.client != holder.client for found in await self._all_sessions(volume)):
                return
        raise BackendError(
            f"client {holder.client} of {named(volume)} is on the blocklist, but has a session at an MDS daemon still"
        )

    async def attachment(self, volume: Volume, told: Mapping[str, str], node: Mapping[str, str]) -> Mapping[str, str]:
        """Which cluster and file system it is, and where the mons are."""
        check(volume)
        namespace = volume.attributes["clusterID"]
        way = await self._ways.to(self._cluster(volume), namespace, named(volume))
        directory = {key: volume.attributes[key] for key in _DIRECTORY if key in volume.attributes}
        return {"clusterID": namespace, "fsName": volume.attributes["fsName"], **directory, **way.told(node)}

    def _cluster(self, volume: Volume) -> RadosCluster:
        return self._calls.cluster(volume.attributes.get("clusterID", ""), named(volume))

    async def _sessions(self, volume: Volume) -> tuple[Session, ...]:
        """The sessions at a volume's directory; none of one of which nothing says where it is.

        Whoever has mounted just the directory around the data, where this is not the volume's own, sees a snapshot.
        """
        place = place_of(volume).partition(":")[2]
        found = sessions.of_directory(await self._all_sessions(volume), place)
        own = "" if volume.is_static else volume.attributes.get("subvolumePath", "")
        return found if own in ("", place) else tuple(session for session in found if session.root != place)

    async def _all_sessions(self, volume: Volume) -> tuple[Session, ...]:
        """The sessions of a volume's file system.

        Raises:
            BackendError: They cannot be known now.
        """
        try:
            cluster, state = await self._asked(volume)
        except (FilesystemMissingError, IncompleteError, GoneError):
            return ()  # with the file system, nothing is left that could be written to twice
        with told(named(volume)):
            return await sessions.sessions(cluster, volume.attributes["fsName"], state)

    async def _asked(self, volume: Volume) -> tuple[RadosCluster, FilesystemState]:
        """The cluster of a volume, and the state of its file system: see `Calls.served`."""
        check(volume)
        return await self._calls.served(volume.attributes["clusterID"], volume.attributes["fsName"], named(volume))


def _may_show(wanted: NewVolume) -> bool:
    return wanted.options.get("backingSnapshot") != "false"


def register(manager: Manager, settings: Settings, connections: Connections, volumes: VolumeControllers) -> None:
    """Has the controllers of volumes serve those of file systems."""
    informers = manager.informers
    clusters = informers.informer(resource_of(CEPH_CLUSTER), CephCluster)
    filesystems = informers.informer(resource_of(CEPH_FILESYSTEM), CephFilesystem)
    config_maps = informers.informer(CONFIG_MAP, ConfigMap)
    home = settings.operator_namespace
    backend = CephfsBackend(connections, clusters, filesystems, config_maps, served(clusters, settings), home)
    volumes.drivers.add(backend, backend.snapshots, rooms=backend.rooms)
    volumes.claims.watch(filesystems, lambda found: claims_of(volumes, found.metadata.namespace), changed(_is_ready))


def _is_ready(filesystem: CephFilesystem) -> bool:
    return filesystem.status.phase == READY
