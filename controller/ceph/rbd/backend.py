"""Block volumes of Ceph: RBD images as a `VolumeBackend`. Which drivers are served, in which cluster an image is, and
how nodes reach that.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from controller.apis.ceph import CEPH_CLUSTER, CephCluster
from controller.apis.rook.encryption import KMS_TYPE, MONITORS
from controller.ceph.access.rados_namespaces import cluster_id
from controller.ceph.access.threads import Lane
from controller.ceph.csi.drivers import Drivers, claims_of, fence, served
from controller.ceph.csi.ways import Ways
from controller.ceph.rbd import encryption, removal
from controller.ceph.rbd import images as rbd_image
from controller.ceph.rbd.calls import Calls
from controller.ceph.rbd.groups import RbdGroups
from controller.ceph.rbd.images import PoolMissingError
from controller.ceph.rbd.places import Places
from controller.ceph.rbd.qos import Qos, follow_size
from controller.ceph.rbd.replication import groups as replication_groups
from controller.ceph.rbd.replication import kind as replication
from controller.ceph.rbd.rooms import RbdRooms
from controller.ceph.rbd.snapshots import RbdSnapshots
from controller.ceph.rbd.space import RbdSpace
from controller.ceph.rbd.volumes import (
    LEGACY_PROVISIONER,
    SUFFIX,
    IncompleteError,
    check,
    describe,
    image_name,
    legacy_namespace,
    named,
    volume_handle,
)
from controller.framework.changes import changed
from controller.framework.quantities import MIB
from controller.framework.status import READY
from controller.runtime.kube import (
    CONFIG_MAP,
    ConfigMap,
    resource_of,
)
from controller.runtime.reconciler import Request
from controller.volumes.backend import Created, Description, Holder, NewVolume, Volume
from controller.volumes.capabilities import BLOCK, FILESYSTEM, MANY, ONCE, ONCE_POD, READERS, Capabilities

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from controller.apis.ceph import CephBlockPoolRadosNamespace
    from controller.ceph.access.rados import Connections
    from controller.ceph.access.rados_namespaces import RadosNamespaces
    from controller.framework.settings import Served, Settings
    from controller.runtime import Manager
    from controller.runtime.kube import StorageClass
    from controller.volumes.system import VolumeControllers
    from informers import Informer


CAPABILITIES = Capabilities(
    access_modes={FILESYSTEM: (ONCE, ONCE_POD, READERS), BLOCK: (ONCE, ONCE_POD, READERS, MANY)},
    file_systems=("ext4", "ext3", "xfs"),
    least_bytes={"xfs": 300 * MIB},  # mkfs.xfs refuses less (xfsprogs 5.19)
    sources=("PersistentVolumeClaim", "VolumeSnapshot"),
    selinux_mount=True,
    knows_room=True,
)
"""What RBD images can be: block devices, with a file system for one node at a time or for readers."""


class RbdBackend:
    """Serves RBD images as volumes. Implements `controller.volumes.backend.VolumeBackend`.

    Args:
        connections: Ways to the clusters, by namespace.
        clusters: The CephClusters that are served.
        config_maps: The ConfigMaps of their namespaces.
        namespaces: The namespaces that are served.
        home: The operator's own namespace. Upstream names the driver after it, whatever namespaces the clusters are in.
        rados: The RADOS namespaces that volumes may be in.

    Attributes:
        snapshots: Snapshots of its volumes.
        groups: Snapshots of several of them at one moment.
        attributes: Limits of what is done with its volumes.
        space: Space that its volumes take and do not need.
        rooms: How much fits.
        calls: Makes calls about its images.
    """

    name = "rbd"
    capabilities = CAPABILITIES

    def __init__(
        self,
        connections: Connections,
        clusters: Informer[CephCluster],
        config_maps: Informer[ConfigMap],
        namespaces: Served,
        home: str,
        rados: RadosNamespaces,
    ) -> None:
        self._drivers = Drivers(SUFFIX, clusters, namespaces, home)
        self._places = Places(clusters, rados)
        self.calls = Calls(connections, self._drivers, self._places)
        self._ways = Ways(clusters, config_maps)
        self._kms = encryption.KeyServices(config_maps, home)
        self.snapshots = RbdSnapshots(self.calls)
        self.groups = RbdGroups(self.calls, self.snapshots)
        self.attributes = Qos(self.calls)
        self.space = RbdSpace(self.calls)
        self.rooms = RbdRooms(self.calls, lambda found: self.describe(found, "", filesystem=True))
        self._clusters = clusters

    def knows(self, driver: str) -> bool:
        """By the end of its name."""
        return self._drivers.knows(driver)

    def serves(self, driver: str) -> bool:
        """Drivers are named after the operator's namespace, or after a cluster's that is served."""
        return self._drivers.serves(driver)

    def driver_of(self, storage_class: StorageClass) -> str:
        """The provisioner itself; a legacy class names the namespace in its parameters."""
        if storage_class.provisioner == LEGACY_PROVISIONER:
            return self._drivers.driver_for(legacy_namespace(storage_class.parameters))
        return storage_class.provisioner if self.serves(storage_class.provisioner) else ""

    def not_served(self, storage_class: StorageClass) -> str:
        """For a class of a cluster here, with a driver that nobody here is."""
        cluster = self._places.namespace_of(storage_class.parameters.get("clusterID", ""))
        return self._drivers.not_served(storage_class, cluster)

    def describe(self, storage_class: StorageClass, claim_uid: str, *, filesystem: bool) -> Description:
        """The image that a claim gets: its name comes from the claim's uid."""
        return describe(storage_class, claim_uid, self._drivers.has, self._places.find)

    def identity(self, volume: Volume) -> str:
        """The image, where the attributes tell: several drivers, and handles of several forms, may be of one image."""
        attributes = volume.attributes
        if volume.driver.endswith(SUFFIX) and attributes.get("clusterID") and attributes.get("pool"):
            image = self._places.resolve(volume)
            return f"{image.attributes['clusterID']}/{named(image)}"
        return f"{volume.driver} {volume.handle}"

    def is_made_for(self, volume: Volume, claim_uid: str) -> bool:
        """By the end of the image's name."""
        return image_name(volume).endswith(claim_uid)

    async def create(self, wanted: NewVolume) -> Created:
        """Creates the image, or makes it a clone of its source's."""
        volume, size, options, source = wanted.volume, wanted.size, wanted.options, wanted.source
        self._places.check_new(volume)
        kms, changes = self._kms_of(volume), self.calls.changes
        if source is not None:
            await self.snapshots.make(volume, source, options, kms)

        def make(handle: Any, ioctx: Any) -> tuple[int, int]:
            found, pool_id = rbd_image.create(handle, ioctx, volume, size, options, changes)
            return encryption.prepare(ioctx, volume, size, changes) if kms else found, pool_id

        found, pool_id = await self.calls.on_pool(volume, make)
        return Created(handle=volume_handle(volume, pool_id), size=found)

    async def delete(self, volume: Volume) -> None:
        """Removes the image, object by object; a removal that was cut off is continued by the next.

        Not by the mgr's task queue, as Ceph's CSI driver does it: there, a task that crashes the mgr is tried for ever.
        """

        def remove(handle: Any, ioctx: Any) -> None:
            with self.calls.changes.alone(volume, "removed"):
                removal.remove(handle, ioctx, volume, self.calls.changes)

        with suppress(PoolMissingError):
            await self.calls.on_pool(volume, remove, lane=Lane.LONG)

    async def expand(self, volume: Volume, size: int) -> int:
        """Grows the image; the client that holds its lock does it for us."""
        changes = self.calls.changes
        enlarge = encryption.grow if encryption.is_encrypted(volume) else rbd_image.grow

        def grow(_: Any, ioctx: Any) -> int:
            grown = enlarge(ioctx, volume, size, changes)
            follow_size(ioctx, volume, changes)
            return grown

        return await self.calls.on_pool(volume, grow)

    async def holders(self, volume: Volume) -> tuple[Holder, ...]:
        """The image's watchers: each client that has it open for writing is one, and for 30 s after its death.

        This operator's own client is none: it has images open for moments, to grow them.
        """
        return await self._clients(volume, rbd_image.watchers)

    async def absent(self, volume: Volume) -> tuple[Holder, ...]:
        """The owner of the image's exclusive lock, if it is no watcher: the lock outlives the watch."""
        return await self._clients(volume, rbd_image.absent)

    async def fence(self, volume: Volume, holder: Holder) -> None:
        """Puts the client on the OSDs' blocklist."""
        await fence(self.calls.cluster(volume), holder, f"image {named(volume)}")

    async def attachment(self, volume: Volume, told: Mapping[str, str], node: Mapping[str, str]) -> Mapping[str, str]:
        """Which cluster it is, where its mons are, the image's features, by which a node chooses how to map it, and the
        type of its KMS.
        """
        volume = self._places.resolve(volume)
        check(volume)
        cluster, namespace = self.calls.cluster(volume), volume.attributes["clusterID"]
        way = await self._ways.to(cluster, namespace, f"image {named(volume)}")
        features = told.get("imageFeatures")
        if not features:
            features = str(await self.calls.on_pool(volume, lambda _, ioctx: rbd_image.features(ioctx, volume)))
        attributes = volume.attributes
        metadata = {
            "clusterID": attributes["clusterID"],
            **way.told(node),
            "pool": attributes["pool"],
            "imageName": image_name(volume),
            "imageFeatures": features,
        }
        if attributes.get("radosNamespace"):
            metadata["radosNamespace"] = attributes["radosNamespace"]
        if kms := told.get(KMS_TYPE) or self._kms_of(volume):
            metadata |= {KMS_TYPE: kms, MONITORS: metadata.pop("monitors")}
        return metadata

    def _kms_of(self, volume: Volume) -> str:
        return self._kms.type_of(volume, self._places.namespace_of(volume.attributes.get("clusterID", "")))

    async def _clients(
        self, volume: Volume, look: Callable[[Any, Any, Volume], tuple[Holder, ...]]
    ) -> tuple[Holder, ...]:
        if not self._clusters.keys(self._places.namespace_of(volume.attributes.get("clusterID", ""))):
            return ()  # with the cluster, nothing is left that could be written to twice
        try:
            return await self.calls.on_pool(volume, lambda handle, ioctx: look(handle, ioctx, volume))
        except (PoolMissingError, IncompleteError):
            return ()


def register(
    manager: Manager,
    settings: Settings,
    connections: Connections,
    volumes: VolumeControllers,
    rados: RadosNamespaces,
) -> None:
    """Has the controllers of volumes serve RBD's."""
    informers = manager.informers
    clusters = informers.informer(resource_of(CEPH_CLUSTER), CephCluster)
    config_maps = informers.informer(CONFIG_MAP, ConfigMap)
    home = settings.operator_namespace
    backend = RbdBackend(connections, clusters, config_maps, served(clusters, settings), home, rados)
    volumes.drivers.add(
        backend,
        backend.snapshots,
        groups=backend.groups,
        rooms=backend.rooms,
        attributes=backend.attributes,
        space=backend.space,
    )

    def legacy_claims(cluster: CephCluster) -> list[Request]:
        """The claims of classes of before CSI that are for this cluster."""
        found = [
            c
            for c in volumes.caches.classes.list()
            if c.provisioner == LEGACY_PROVISIONER and legacy_namespace(c.parameters) == cluster.metadata.namespace
        ]
        return [request for storage_class in found for request in volumes.claims_of(storage_class)]

    manager.add_runnable(lambda: replication.serve(manager, volumes.caches, backend.calls, backend.serves))
    manager.add_runnable(lambda: replication_groups.serve(manager, backend.serves))
    volumes.claims.watch(clusters, legacy_claims, lambda delta: delta.old is None)
    volumes.claims.watch(rados.objects, lambda found: claims_of(volumes, cluster_id(found)), changed(_is_ready))


def _is_ready(namespace: CephBlockPoolRadosNamespace) -> bool:
    return namespace.status.phase == READY
