"""Where a cluster is and who connects to it: from its identity Secret and its mons' endpoints, without asking anybody.

So pools and volumes reach a cluster by themselves, whatever its CephCluster's own reconcile is at.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from controller.ceph.access.identity import IDENTITY, Identity, parse_identity
from controller.ceph.access.librados import Access
from controller.ceph.access.mons import ENDPOINTS, Endpoints, hosts, parse_endpoints

if TYPE_CHECKING:
    from controller.apis.ceph import CephCluster
    from controller.runtime.kube import ConfigMap, Secret
    from informers import Informer


def access_of(cluster: CephCluster, identity: Identity, endpoints: Endpoints) -> Access:
    """What it takes to connect as administrator. Pure."""
    return Access(hosts(cluster.spec.network, endpoints), identity.fsid, identity.admin_user, identity.admin_key)


class Locator:
    """Finds the access to the cluster of a namespace, from the caches.

    Args:
        clusters: The cache of CephClusters.
        secrets: The cache of Secrets.
        config_maps: The cache of ConfigMaps.
    """

    def __init__(
        self, clusters: Informer[CephCluster], secrets: Informer[Secret], config_maps: Informer[ConfigMap]
    ) -> None:
        self._clusters, self._secrets, self._config_maps = clusters, secrets, config_maps
        self._found: dict[str, tuple[tuple[object, ...], Access | None]] = {}

    def __call__(self, namespace: str) -> Access | None:
        """The access; None where there is no cluster, no mon yet, or no identity that can be read."""
        keys = self._clusters.keys(namespace)
        if not keys:
            self._found.pop(namespace, None)
            return None
        # Caches replace what they hold and never change it, so the same entries mean the same answer: volumes ask
        # for it often, and a CephCluster's status is long.
        entries = (
            self._secrets.cache.entry(namespace, IDENTITY),
            self._config_maps.cache.entry(namespace, ENDPOINTS),
            *(self._clusters.cache.entry(*key) for key in keys),
        )
        known = self._found.get(namespace)
        if known is not None and len(known[0]) == len(entries) and all(map(_same, known[0], entries)):
            return known[1]
        found = self._find(namespace)
        self._found[namespace] = entries, found
        return found

    def _find(self, namespace: str) -> Access | None:
        secret = self._secrets.get(namespace, IDENTITY)
        config_map = self._config_maps.get(namespace, ENDPOINTS)
        clusters = self._clusters.list(namespace)
        if secret is None or config_map is None or not clusters:
            return None
        try:
            identity, endpoints = parse_identity(secret.data), parse_endpoints(config_map.data)
        except ValueError:
            return None  # the status of the CephCluster says so
        if not endpoints.mons:
            return None
        first = min(clusters, key=lambda c: (c.metadata.creation_timestamp or "", c.metadata.uid))
        return access_of(first, identity, endpoints)


def _same(one: object, other: object) -> bool:
    return one is other
