"""Which CSI drivers of Ceph's are served, and which clusters their volumes are in."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from controller.apis.ceph import CEPH_CLUSTER, CephCluster
from controller.ceph.access import blocklist
from controller.ceph.access.mons import ENDPOINTS
from controller.ceph.access.rados import CephError
from controller.ceph.csi import affinity
from controller.framework.changes import changed
from controller.framework.settings import Served
from controller.runtime import Request, resource_of
from controller.runtime.kube import CONFIG_MAP, ConfigMap
from controller.volumes.backend import BackendError, GoneError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from controller.ceph.access.rados import Cluster, Connections, RadosCluster
    from controller.framework.settings import Settings
    from controller.runtime import Manager
    from controller.runtime.kube import StorageClass
    from controller.volumes.backend import Holder
    from controller.volumes.system import VolumeControllers
    from informers import Delta, Informer

BY_CLUSTER = "cluster"
"""The index of VolumeAttachments by the namespace of the cluster that the node was told of."""


class Drivers:
    """The drivers of one kind of volumes: one for each namespace with a cluster, and one for the operator's own.

    Args:
        suffix: What their names end in.
        clusters: The CephClusters that are served.
        served: The namespaces that are served.
        home: The operator's own namespace. Upstream names the driver after it, whatever namespaces the clusters are in.
    """

    def __init__(self, suffix: str, clusters: Informer[CephCluster], served: Served, home: str) -> None:
        self._suffix = suffix
        self._clusters = clusters
        self._served = served
        self._home = home

    def knows(self, driver: str) -> bool:
        """Whether a driver is of this kind. Pure."""
        return driver.endswith(self._suffix)

    def serves(self, driver: str) -> bool:
        """Whether a driver is served: nodes have just those that the chart names."""
        namespace = driver.removesuffix(self._suffix)
        return self.knows(driver) and (namespace == self._home or self.has_driver(namespace))

    def has(self, namespace: str) -> bool:
        """Whether a namespace is served."""
        return namespace in self._served

    def has_driver(self, namespace: str) -> bool:
        """Whether a driver is named after a namespace."""
        return namespace in self._served.named

    def driver_for(self, namespace: str) -> str:
        """The driver for the cluster of a namespace: named after it, or the operator's own; empty: it is not served."""
        if self.has_driver(namespace):
            return f"{namespace}{self._suffix}"
        return f"{self._home}{self._suffix}" if self.has(namespace) and self._clusters.keys(namespace) else ""

    def not_served(self, storage_class: StorageClass, cluster: str) -> str:
        """Why a class for a cluster here is not served, with what would be right; empty: it is, or is not for one.

        Args:
            storage_class: The class.
            cluster: The namespace of the cluster that its clusterID stands for.
        """
        if not self.knows(storage_class.provisioner) or self.serves(storage_class.provisioner):
            return ""
        if not self.has(cluster) or not self._clusters.keys(cluster):
            return ""
        served = " or ".join(f"{namespace}{self._suffix}" for namespace in sorted({self._home, *self._served.named}))
        return (
            f"StorageClass {storage_class.metadata.name}: provisioner is {storage_class.provisioner!r}, which this "
            f"operator does not serve, though it serves the cluster in namespace {cluster}: expected {served}"
        )

    def cluster(self, namespace: str, volume: str, connections: Connections, *, beside: str = "") -> RadosCluster:
        """The cluster of a volume.

        Args:
            namespace: Where its CephCluster is.
            volume: The volume, in words.
            connections: Ways to the clusters.
            beside: What else its clusterID could have been of, and is not, in words.

        Raises:
            GoneError: It does not exist.
            BackendError: It has not been reached yet, or its namespace is not served: what is there is not known.
        """
        if not self.has(namespace):
            raise BackendError(
                f"namespace {namespace!r} (clusterID of {volume}) is not served by this operator{beside}"
            )
        if not self._clusters.keys(namespace):
            raise GoneError(f"there is no CephCluster in namespace {namespace!r} (clusterID of {volume}){beside}")
        cluster = connections.get(namespace)
        if cluster is None:
            raise BackendError(f"the CephCluster in namespace {namespace} has not been reached yet")
        return cluster


async def fence(cluster: Cluster, holder: Holder, volume: str) -> None:
    """Puts a client of a volume on the OSDs' blocklist; MDS daemons end its sessions by that, too.

    Raises:
        BackendError: The mons did not do it. It names the volume, as `volume` does.
    """
    try:
        await blocklist.add_client(cluster, holder.client)
    except CephError as error:
        raise BackendError(f"client {holder.client} of {volume} was not fenced: {error}") from error


def served(clusters: Informer[CephCluster], settings: Settings) -> Served:
    """The namespaces that are served, as the operator was told, or else by what CephClusters are watched."""
    if settings.served is not None:
        return settings.served
    scopes = tuple(clusters.cache.scopes)
    return Served(everywhere=True) if "" in scopes else Served(named=scopes)


def register(manager: Manager, volumes: VolumeControllers) -> None:
    """Wakes attachments when mons move, since nodes are told where they are, and claims when a cluster comes."""
    clusters = manager.informers.informer(resource_of(CEPH_CLUSTER), CephCluster)
    config_maps = manager.informers.informer(CONFIG_MAP, ConfigMap)
    attachments = volumes.caches.attachments
    attachments.add_index(BY_CLUSTER, lambda found: (found.status.attachment_metadata.get("clusterID", ""),))

    def attached(found: ConfigMap | CephCluster) -> Iterable[Request]:
        return itertools.starmap(Request, attachments.keys_by_index(BY_CLUSTER, found.metadata.namespace))

    volumes.attachments.watch(config_maps, attached, _endpoints_changed)
    volumes.attachments.watch(clusters, attached, changed(_ways))
    volumes.claims.watch(
        clusters, lambda cluster: claims_of(volumes, cluster.metadata.namespace), lambda delta: delta.old is None
    )


def claims_of(volumes: VolumeControllers, cluster: str) -> list[Request]:
    """The claims of each class with this clusterID."""
    found = [c for c in volumes.caches.classes.list() if c.parameters.get("clusterID") == cluster]
    return [request for storage_class in found for request in volumes.claims_of(storage_class)]


def _ways(cluster: CephCluster) -> tuple[object, ...]:
    """What of a cluster decides what nodes are told, beside where its mons are."""
    return affinity.crush_labels(cluster), cluster.status.version


def _endpoints_changed(delta: Delta[ConfigMap]) -> bool:
    if delta.name != ENDPOINTS:
        return False
    old, new = delta.old, delta.new
    return old is not None and new is not None and old.data.get("data") != new.data.get("data")
