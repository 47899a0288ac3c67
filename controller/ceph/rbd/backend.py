"""Block volumes of Ceph: RBD images as a `VolumeBackend`. Which drivers are served, in which cluster an image is, and
how nodes reach that.
"""

from __future__ import annotations

import itertools
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import anyio
from anyio import current_time

from controller.apis.ceph import CEPH_CLUSTER, CephCluster
from controller.ceph.access.mons import ENDPOINTS
from controller.ceph.access.rados import CephError
from controller.ceph.access.rados_namespaces import cluster_id
from controller.ceph.access.threads import Lane
from controller.ceph.rbd import images as rbd_image
from controller.ceph.rbd import removal
from controller.ceph.rbd.calls import Calls
from controller.ceph.rbd.images import PoolMissingError
from controller.ceph.rbd.places import Places
from controller.ceph.rbd.snapshots import RbdSnapshots
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
from controller.ceph.rbd.ways import mon_addresses, ms_mode
from controller.framework.changes import changed
from controller.framework.quantities import MIB
from controller.framework.status import READY
from controller.runtime.kube import (
    CONFIG_MAP,
    ConfigMap,
    resource_of,
)
from controller.runtime.reconciler import Request
from controller.volumes.backend import BackendError, Created, Description, Holder, NewVolume, Volume
from controller.volumes.capabilities import BLOCK, FILESYSTEM, MANY, ONCE, ONCE_POD, READERS, Capabilities

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from controller.apis.ceph import CephBlockPoolRadosNamespace
    from controller.ceph.access.rados import Connections, RadosCluster
    from controller.ceph.access.rados_namespaces import RadosNamespaces
    from controller.framework.settings import Settings
    from controller.runtime import Manager
    from controller.runtime.kube import StorageClass
    from controller.volumes.system import VolumeControllers
    from informers import Delta, Informer


BY_CLUSTER = "cluster"
"""The index of VolumeAttachments by the namespace of the cluster that the node was told of."""

_FENCE_SECONDS = 5 * 365 * 24 * 3600
"""How long a client stays fenced; as long as by Ceph's CSI driver. A node that was cut off, not down, still has data to
write when it is back. It can never be fenced for longer than it should: a new client has another nonce.
"""

_WAY_SECONDS = 5.0
"""How long what a cluster says of the way to it holds, and how long it is not asked again after it did not answer."""


@dataclass(frozen=True, slots=True)
class Way:
    """How nodes reach a cluster.

    Attributes:
        fsid: Which cluster it is.
        monitors: The mons' "address:port", with commas between them.
        mode: The kernel client's `ms_mode`; empty for its default, the first version of the protocol.
    """

    fsid: str
    monitors: str
    mode: str


@dataclass(frozen=True, slots=True)
class _Asked:
    """What a cluster said of the way to it, or why it did not, to whom that was said, and until when it holds."""

    cluster: RadosCluster
    endpoints: str
    until: float
    answer: Way | CephError


CAPABILITIES = Capabilities(
    access_modes={FILESYSTEM: (ONCE, ONCE_POD, READERS), BLOCK: (ONCE, ONCE_POD, READERS, MANY)},
    file_systems=("ext4", "xfs"),
    least_bytes={"xfs": 300 * MIB},  # mkfs.xfs refuses less (xfsprogs 5.19)
    sources=("PersistentVolumeClaim", "VolumeSnapshot"),
)
"""What RBD images can be: block devices, with a file system for one node at a time or for readers."""


class RbdBackend:
    """Serves RBD images as volumes. Implements `controller.volumes.backend.VolumeBackend`.

    Args:
        connections: Ways to the clusters, by namespace.
        clusters: The CephClusters that are served.
        config_maps: The ConfigMaps of their namespaces.
        namespaces: The namespaces that are served; None: all.
        home: The operator's own namespace. Upstream names the driver after it, whatever namespaces the clusters are in.
        rados: The RADOS namespaces that volumes may be in.

    Attributes:
        snapshots: Snapshots of its volumes.
    """

    name = "rbd"
    capabilities = CAPABILITIES

    def __init__(
        self,
        connections: Connections,
        clusters: Informer[CephCluster],
        config_maps: Informer[ConfigMap],
        namespaces: Collection[str] | None,
        home: str,
        rados: RadosNamespaces,
    ) -> None:
        self._places = Places(clusters, rados)
        self._calls = Calls(connections, clusters, namespaces, self._places)
        self.snapshots = RbdSnapshots(self._calls)
        self._clusters = clusters
        self._config_maps = config_maps
        self._namespaces = namespaces
        self._home = home
        self._asking: dict[str, anyio.Lock] = {}
        self._asked: dict[str, _Asked] = {}

    def knows(self, driver: str) -> bool:
        """By the end of its name."""
        return driver.endswith(SUFFIX)

    def serves(self, driver: str) -> bool:
        """Drivers are named after the operator's namespace, or after a cluster's that is served.

        Where all namespaces are served, others' drivers are told apart by their having no CephCluster here.
        """
        namespace = driver.removesuffix(SUFFIX)
        return driver.endswith(SUFFIX) and (namespace == self._home or self._has_driver(namespace))

    def driver_of(self, storage_class: StorageClass) -> str:
        """The provisioner itself; a legacy class names the namespace in its parameters."""
        if storage_class.provisioner == LEGACY_PROVISIONER:
            namespace = legacy_namespace(storage_class.parameters)
            return f"{namespace}{SUFFIX}" if self._has_driver(namespace) else ""
        return storage_class.provisioner if self.serves(storage_class.provisioner) else ""

    def not_served(self, storage_class: StorageClass) -> str:
        """For a class of a cluster here, with a driver that nobody here is."""
        cluster = self._places.namespace_of(storage_class.parameters.get("clusterID", ""))
        if not storage_class.provisioner.endswith(SUFFIX) or self.serves(storage_class.provisioner):
            return ""
        if not self._calls.has(cluster) or not self._clusters.keys(cluster):
            return ""
        namespaces = self._namespaces
        if namespaces is None:
            namespaces = [namespace for namespace, _ in self._clusters.keys(None)]
        served = " or ".join(f"{namespace}{SUFFIX}" for namespace in sorted({self._home, *namespaces}))
        return (
            f"StorageClass {storage_class.metadata.name}: provisioner is {storage_class.provisioner!r}, which this "
            f"operator does not serve, though it serves the cluster in namespace {cluster}: expected {served}"
        )

    def describe(self, storage_class: StorageClass, claim_uid: str, *, filesystem: bool) -> Description:
        """The image that a claim gets: its name comes from the claim's uid."""
        return describe(storage_class, claim_uid, self._calls.has, self._places.find)

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
        if source is not None:
            await self.snapshots.make(volume, source, options)
        found, pool_id = await self._calls.on_pool(
            volume, lambda handle, ioctx: rbd_image.create(handle, ioctx, volume, size, options, self._calls.changes)
        )
        return Created(handle=volume_handle(volume, pool_id), size=found)

    async def delete(self, volume: Volume) -> None:
        """Removes the image, object by object; a removal that was cut off is continued by the next.

        Not by the mgr's task queue, as Ceph's CSI driver does it: there, a task that crashes the mgr is tried for ever.
        """

        def remove(handle: Any, ioctx: Any) -> None:
            with self._calls.changes.alone(volume, "removed"):
                removal.remove(handle, ioctx, volume, self._calls.changes)

        with suppress(PoolMissingError):
            await self._calls.on_pool(volume, remove, lane=Lane.LONG)

    async def expand(self, volume: Volume, size: int) -> int:
        """Grows the image; the client that holds its lock does it for us."""
        changes = self._calls.changes
        return await self._calls.on_pool(volume, lambda _, ioctx: rbd_image.grow(ioctx, volume, size, changes))

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
        try:
            await self._calls.cluster(volume).mon(
                "osd blocklist", blocklistop="add", addr=holder.client, expire=float(_FENCE_SECONDS)
            )
        except CephError as error:
            raise BackendError(f"client {holder.client} of image {named(volume)} was not fenced: {error}") from error

    async def attachment(self, volume: Volume, told: Mapping[str, str]) -> Mapping[str, str]:
        """Which cluster it is, where its mons are, and the image's features, by which a node chooses how to map it."""
        volume = self._places.resolve(volume)
        way = await self._way(volume)
        features = told.get("imageFeatures")
        if not features:
            features = str(await self._calls.on_pool(volume, lambda _, ioctx: rbd_image.features(ioctx, volume)))
        attributes = volume.attributes
        metadata = {
            "clusterID": attributes["clusterID"],
            "fsid": way.fsid,
            "monitors": way.monitors,
            "pool": attributes["pool"],
            "imageName": image_name(volume),
            "imageFeatures": features,
        }
        if attributes.get("radosNamespace"):
            metadata["radosNamespace"] = attributes["radosNamespace"]
        if way.mode:
            metadata["msMode"] = way.mode
        return metadata

    def _has_driver(self, namespace: str) -> bool:
        return bool(self._clusters.keys(namespace)) if self._namespaces is None else namespace in self._namespaces

    async def _clients(
        self, volume: Volume, look: Callable[[Any, Any, Volume], tuple[Holder, ...]]
    ) -> tuple[Holder, ...]:
        if not self._clusters.keys(self._places.namespace_of(volume.attributes.get("clusterID", ""))):
            return ()  # with the cluster, nothing is left that could be written to twice
        try:
            return await self._calls.on_pool(volume, lambda handle, ioctx: look(handle, ioctx, volume))
        except (PoolMissingError, IncompleteError):
            return ()

    async def _way(self, volume: Volume) -> Way:
        """How nodes reach the volume's cluster.

        Many volumes ask at once, when a leader starts or the mons have moved: one question answers them all.
        """
        check(volume)
        cluster, namespace = self._calls.cluster(volume), volume.attributes["clusterID"]
        config_map = self._config_maps.get(namespace, ENDPOINTS)
        endpoints = config_map.data.get("data", "") if config_map is not None else ""
        async with self._asking.setdefault(namespace, anyio.Lock()):
            asked = self._asked.get(namespace)
            if (
                asked is None
                or (asked.cluster, asked.endpoints) != (cluster, endpoints)
                or asked.until < current_time()
            ):
                answer = await self._ask(cluster, namespace)
                asked = _Asked(cluster, endpoints, current_time() + _WAY_SECONDS, answer)
                self._asked[namespace] = asked
        if isinstance(asked.answer, CephError):
            error = asked.answer
            raise BackendError(f"the mons of the Ceph cluster of image {named(volume)} do not answer: {error}")
        return asked.answer

    async def _ask(self, cluster: RadosCluster, namespace: str) -> Way | CephError:
        mode = next((ms_mode(found) for found in self._clusters.list(namespace)), "")
        try:
            monmap = await cluster.mon("mon dump")
        except CephError as error:
            return error
        return Way(monmap["fsid"], ",".join(mon_addresses(monmap, msgr2=bool(mode))), mode)


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
    attachments, classes = volumes.caches.attachments, volumes.caches.classes
    scopes = tuple(clusters.cache.scopes)
    served, home = (None if "" in scopes else scopes), settings.operator_namespace
    backend = RbdBackend(connections, clusters, config_maps, served, home, rados)
    volumes.drivers.add(backend, backend.snapshots)

    attachments.add_index(BY_CLUSTER, lambda found: (found.status.attachment_metadata.get("clusterID", ""),))

    def attached(config_map: ConfigMap) -> Iterable[Request]:
        """Every attachment of the cluster whose mons these are: nodes are told where the mons are."""
        return itertools.starmap(Request, attachments.keys_by_index(BY_CLUSTER, config_map.metadata.namespace))

    def claims_for(cluster: str) -> list[Request]:
        """Every claim of a class with this clusterID."""
        found = [
            c for c in classes.list() if cluster in (c.parameters.get("clusterID"), legacy_namespace(c.parameters))
        ]
        return [request for storage_class in found for request in volumes.claims_of(storage_class)]

    volumes.attachments.watch(config_maps, attached, _endpoints_changed)
    volumes.claims.watch(
        clusters, lambda cluster: claims_for(cluster.metadata.namespace), lambda delta: delta.old is None
    )
    volumes.claims.watch(rados.objects, lambda found: claims_for(cluster_id(found)), changed(_is_ready))


def _is_ready(namespace: CephBlockPoolRadosNamespace) -> bool:
    return namespace.status.phase == READY


def _endpoints_changed(delta: Delta[ConfigMap]) -> bool:
    if delta.name != ENDPOINTS:
        return False
    old, new = delta.old, delta.new
    return old is not None and new is not None and old.data.get("data") != new.data.get("data")
