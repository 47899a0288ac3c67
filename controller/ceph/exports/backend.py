"""NFS volumes of Ceph as a `VolumeBackend`: a subvolume of CephFS, and an export of it by the mgr module `nfs`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from controller.apis.ceph import CEPH_CLUSTER, CEPH_FILESYSTEM, CEPH_NFS, CephCluster, CephFilesystem, CephNFS
from controller.ceph.access.rados import CephError
from controller.ceph.cephfs.backend import CephfsBackend
from controller.ceph.cephfs.calls import Calls, told
from controller.ceph.cephfs.rooms import CephfsRooms
from controller.ceph.csi.drivers import Drivers, claims_of, served
from controller.ceph.exports.volumes import SUFFIX, check, describe, listed, share_of
from controller.ceph.pods import CLUSTER_LABEL
from controller.framework.changes import changed
from controller.framework.status import READY
from controller.runtime.kube import CONFIG_MAP, SERVICE, ConfigMap, Service, resource_of
from controller.volumes.backend import BackendError, Created
from controller.volumes.capabilities import FILESYSTEM, MANY, ONCE, ONCE_POD, READERS, Capabilities

if TYPE_CHECKING:
    from collections.abc import Mapping

    from controller.ceph.access.rados import Cluster, Connections
    from controller.framework.settings import Served, Settings
    from controller.runtime import Manager
    from controller.runtime.kube import StorageClass
    from controller.volumes.backend import Description, Holder, NewVolume, Volume
    from controller.volumes.system import VolumeControllers
    from informers import Informer

CAPABILITIES = Capabilities(
    access_modes={FILESYSTEM: (ONCE, ONCE_POD, READERS, MANY)},
    nodes_expand=False,
    sources=("PersistentVolumeClaim", "VolumeSnapshot"),
    shared=True,
    knows_room=True,
)
"""What exported subvolumes can be: directories that any number of nodes may write to."""


class ExportsBackend:
    """Serves exported subvolumes. Implements `controller.volumes.backend.VolumeBackend`.

    Args:
        directories: Serves the subvolumes themselves, by drivers of this kind.
        drivers: Which drivers and clusters are served.
        calls: Finds clusters.
        servers: The CephNFSs.
        services: The Services of their servers.

    Attributes:
        snapshots: Snapshots of its volumes.
        rooms: How much fits.
    """

    name = "nfs"
    capabilities = CAPABILITIES

    def __init__(
        self,
        directories: CephfsBackend,
        drivers: Drivers,
        calls: Calls,
        servers: Informer[CephNFS],
        services: Informer[Service],
    ) -> None:
        self._directories = directories
        self._drivers = drivers
        self._calls = calls
        self._servers = servers
        self._services = services
        self.snapshots = directories.snapshots
        self.rooms = CephfsRooms(calls, lambda found: self.describe(found, "", filesystem=True))

    def knows(self, driver: str) -> bool:
        """As its subvolumes' backend does."""
        return self._directories.knows(driver)

    def serves(self, driver: str) -> bool:
        """As its subvolumes' backend does."""
        return self._directories.serves(driver)

    def driver_of(self, storage_class: StorageClass) -> str:
        """The provisioner itself."""
        return self._directories.driver_of(storage_class)

    def not_served(self, storage_class: StorageClass) -> str:
        """For a class of a cluster here, with a driver that nobody here is."""
        return self._directories.not_served(storage_class)

    def describe(self, storage_class: StorageClass, claim_uid: str, *, filesystem: bool) -> Description:
        """The subvolume that a claim gets, and how it is exported."""
        return describe(storage_class, claim_uid, self._drivers.has)

    def identity(self, volume: Volume) -> str:
        """The subvolume: one that is exported, too, is the same for both."""
        return self._directories.identity(volume)

    def is_made_for(self, volume: Volume, claim_uid: str) -> bool:
        """By the end of the subvolume's name."""
        return self._directories.is_made_for(volume, claim_uid)

    async def create(self, wanted: NewVolume) -> Created:
        """Makes the subvolume, empty or as a copy, and then the export."""
        check(wanted.volume)
        namespace, name = wanted.volume.attributes["clusterID"], wanted.volume.attributes["nfsCluster"]
        servers = self._servers.get(namespace, name)
        if servers is None:
            raise BackendError(f"CephNFS {namespace}/{name} (nfsCluster) does not exist")
        if servers.metadata.deletion_timestamp is not None:
            raise BackendError(f"CephNFS {namespace}/{name} is being deleted")
        made = await self._directories.create(replace(wanted, read_only=False))
        share = f"/{made.handle}"
        cluster = self._calls.cluster(namespace, f"volume {made.handle}")
        path = made.attributes["subvolumePath"]
        with told(f"export {share} of NFS cluster {name}"):
            await _export(cluster, wanted, share, path)
        return replace(made, attributes={**made.attributes, "share": share})

    async def delete(self, volume: Volume) -> None:
        """Removes the export, and then the subvolume: what is exported always exists."""
        if not volume.is_static:
            check(volume)
            cluster = self._calls.cluster(volume.attributes.get("clusterID", ""), f"volume {volume.handle}")
            name, share = volume.attributes["nfsCluster"], share_of(volume)
            with told(f"export {share} of NFS cluster {name}"):
                await _withdraw(cluster, name, share)
        await self._directories.delete(volume)

    async def expand(self, volume: Volume, size: int) -> int:
        """Raises the quota."""
        return await self._directories.expand(volume, size)

    async def holders(self, volume: Volume) -> tuple[Holder, ...]:
        """Nobody that is known: the servers have it open, and who asks them for it they do not tell."""
        return ()

    async def absent(self, volume: Volume) -> tuple[Holder, ...]:
        """Nobody that is known."""
        return ()

    async def fence(self, volume: Volume, holder: Holder) -> None:
        """Clients of NFS servers cannot be told apart by Ceph."""
        raise BackendError(f"client {holder.client} of volume {volume.handle} uses it by NFS, and cannot be fenced")

    async def attachment(self, volume: Volume, told: Mapping[str, str], node: Mapping[str, str]) -> Mapping[str, str]:
        """Where the server is: nodes do not know the names of Services."""
        namespace, server = volume.attributes.get("clusterID", ""), volume.attributes.get("server", "")
        return {"clusterID": namespace, "server": self._address(namespace, server)}

    def _address(self, namespace: str, server: str) -> str:
        """The address of a server that is the Service of a CephNFS; else what it is called."""
        name, _, rest = server.partition(".")
        if rest and rest.split(".")[0] != namespace:
            return server
        found = self._services.get(namespace, name)
        address = found.spec.cluster_ip if found is not None else ""
        return address if address not in ("", "None") else server


async def _export(ceph: Cluster, wanted: NewVolume, share: str, path: str) -> None:
    """Exports a directory; an export that is there has to be of it.

    Raises:
        BackendError: Something else is exported there.
        CephError: The mgr does not answer, or refuses it.
    """
    attributes, options = wanted.volume.attributes, wanted.options
    name, filesystem = attributes["nfsCluster"], attributes["fsName"]
    more = {"sectype": listed(options.get("secTypes", "")), "client_addr": listed(options.get("clients", ""))}
    await ceph.mgr(
        "nfs export create cephfs",
        cluster_id=name,
        pseudo_path=share,
        fsname=filesystem,
        path=path,
        **{key: list(values) for key, values in more.items() if values},
    )
    # Ceph reports no error where there is an export of that name, whatever it is of.
    found = await ceph.mgr("nfs export info", cluster_id=name, pseudo_path=share) or {}
    present = (found.get("fsal", {}).get("fs_name"), found.get("path"))
    if present != (filesystem, path):
        raise BackendError(
            f"export {share} of NFS cluster {name} is of {present[1]} in file system {present[0]}: "
            f"expected {path} in {filesystem}"
        )


async def _withdraw(ceph: Cluster, name: str, share: str) -> None:
    """Removes an export; one that is not there is no error."""
    try:
        await ceph.mgr("nfs export rm", cluster_id=name, pseudo_path=share)
    except CephError as error:
        if not error.is_not_found:
            raise


def register(manager: Manager, settings: Settings, connections: Connections, volumes: VolumeControllers) -> None:
    """Has the controllers of volumes serve those that NFS servers export."""
    informers = manager.informers
    clusters = informers.informer(resource_of(CEPH_CLUSTER), CephCluster)
    filesystems = informers.informer(resource_of(CEPH_FILESYSTEM), CephFilesystem)
    servers = informers.informer(resource_of(CEPH_NFS), CephNFS)
    config_maps = informers.informer(CONFIG_MAP, ConfigMap)
    services = informers.informer(SERVICE, Service, label_selector=CLUSTER_LABEL)
    home, namespaces = settings.operator_namespace, served(clusters, settings)
    backend = exports_backend(connections, clusters, filesystems, config_maps, servers, services, namespaces, home)
    volumes.drivers.add(backend, backend.snapshots, rooms=backend.rooms)
    volumes.claims.watch(servers, lambda found: claims_of(volumes, found.metadata.namespace), changed(_is_ready))


def exports_backend(
    connections: Connections,
    clusters: Informer[CephCluster],
    filesystems: Informer[CephFilesystem],
    config_maps: Informer[ConfigMap],
    servers: Informer[CephNFS],
    services: Informer[Service],
    namespaces: Served,
    home: str,
) -> ExportsBackend:
    """The backend on these caches; see `CephfsBackend` for `namespaces` and `home`."""
    directories = CephfsBackend(connections, clusters, filesystems, config_maps, namespaces, home, suffix=SUFFIX)
    drivers = Drivers(SUFFIX, clusters, namespaces, home)
    return ExportsBackend(directories, drivers, Calls(connections, drivers), servers, services)


def _is_ready(servers: CephNFS) -> bool:
    return servers.status.phase == READY
