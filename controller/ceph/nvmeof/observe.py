"""What there is of gateways: what the mons know of them, what they show, their pool and objects."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import structlog

from controller.ceph.access import nvmeof
from controller.ceph.access.nvmeof import POOL, Group
from controller.ceph.access.rados import CephError
from controller.ceph.access.reach import reach
from controller.ceph.instances import standing
from controller.ceph.nvmeof.configuration import parse
from controller.ceph.nvmeof.objects import GATEWAYS, context
from controller.ceph.nvmeof.spec import CONFIG_KEY
from controller.framework.children import snapshot

if TYPE_CHECKING:
    from collections.abc import Mapping

    from controller.apis.ceph import CephBlockPool, CephCluster, CephNVMeOFGateway
    from controller.ceph.access.nvmeof import Asked
    from controller.ceph.access.rados import Connections
    from controller.ceph.instances import Caches
    from controller.ceph.nvmeof.configuration import Settings
    from controller.ceph.pods import Context
    from controller.framework.children import Live
    from controller.runtime.apply import Applier
    from controller.runtime.kube import Deployment, Pod
    from informers import Informer

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class PoolState:
    """The pool of gateways: whether it is erasure-coded, and what it is for."""

    erasure: bool = False
    applications: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayObservation:
    """What `analyze` decides by.

    Attributes:
        waits_for: What has to happen before the cluster can be asked; nothing else is known then.
        cluster_gone: Whether there is no CephCluster in the namespace.
        hold_upgrade: What has to happen before a gateway gets another release of Ceph beside it.
        context: What gateways are given of their cluster; None while it is not known.
        pool: The pool; None: there is none.
        pool_of: The CephBlockPool that describes the pool; empty: none does.
        image: What gateways run; empty: nobody says.
        group_name: The group that the gateways are of: that of those that there are, and else the spec's.
        group: The gateways of the group, and what they show.
        base: The settings of the file that the spec names; None: it names none, or that cannot be had.
        config_missing: Why that file cannot be had, as the end of "waits for"; empty: it can, or none is named.
        deployments: The gateways' Deployments by letter.
        pods: The gateways' pods by letter.
        live: The objects of the namespace.
    """

    waits_for: str = ""
    cluster_gone: bool = False
    hold_upgrade: str = ""
    context: Context | None = None
    pool: PoolState | None = None
    pool_of: str = ""
    image: str = ""
    group_name: str = ""
    group: Group = field(default_factory=Group)
    base: Settings | None = None
    config_missing: str = ""
    deployments: Mapping[str, Deployment] = field(default_factory=dict)
    pods: Mapping[str, tuple[Pod, ...]] = field(default_factory=dict)
    live: Live = field(default_factory=dict, repr=False)


class Observer:
    """Observes gateways.

    Args:
        caches: What the API server has.
        clusters: The cache of CephClusters.
        pools: The cache of CephBlockPools.
        connections: Ways to the clusters.
        applier: Applies what is wanted of the gateways' objects.
    """

    def __init__(
        self,
        caches: Caches,
        clusters: Informer[CephCluster],
        pools: Informer[CephBlockPool],
        connections: Connections,
        applier: Applier,
    ) -> None:
        self._caches = caches
        self._clusters = clusters
        self._pools = pools
        self._connections = connections
        self._applier = applier

    async def observe(self, gateway: CephNVMeOFGateway, _now: float) -> GatewayObservation:
        """What there is of the gateways, and of their objects."""
        namespace = gateway.metadata.namespace
        way = reach(self._clusters, self._connections, namespace)
        cluster = way.cluster
        if cluster is None:
            return GatewayObservation(waits_for=way.waits_for, cluster_gone=True)
        status = cluster.status
        if way.ceph is None or not status.ceph.fsid or not status.version.version:
            return GatewayObservation(waits_for=way.waits_for or f"CephCluster {cluster.metadata.name} to answer")
        try:
            seen = await ask(way.ceph, self._group(gateway), gateway.spec.image)
        except CephError as error:
            log.info("Cluster does not answer", gateway=gateway.metadata.name, namespace=namespace, error=str(error))
            return GatewayObservation(waits_for=f"CephCluster {cluster.metadata.name} to answer: {error.message}")
        everything = self._caches.deployments.list(namespace)
        stands = standing(cluster, everything)
        described = (pool.metadata.name for pool in self._pools.list(namespace) if pool.spec.name == POOL)
        base, missing = self._file(gateway)
        return replace(
            seen,
            hold_upgrade=stands.hold_upgrade,
            context=context(gateway, cluster, stands.release),
            pool_of=next(described, ""),
            base=base,
            config_missing=missing,
            deployments=GATEWAYS.deployments(everything, gateway.metadata.name),
            pods=GATEWAYS.pods(self._caches.pods.list(namespace), gateway.metadata.name),
            live=await snapshot(self._caches.children, namespace, self._applier),
        )

    def _group(self, gateway: CephNVMeOFGateway) -> str:
        """The group of the gateways that there are, by their configuration; the spec's while there are none."""
        name, namespace = gateway.metadata.name, gateway.metadata.namespace
        for found in self._caches.config_maps.list(namespace):
            if found.metadata.labels.get(GATEWAYS.label) == name:
                with suppress(ValueError, KeyError):
                    return parse(found.data[CONFIG_KEY])["gateway"]["group"]
        return gateway.spec.group

    def _file(self, gateway: CephNVMeOFGateway) -> tuple[Settings | None, str]:
        """The settings of the file that the spec names, and why they cannot be had."""
        name = gateway.spec.config_map_ref
        if not name:
            return None, ""
        found = self._caches.config_maps.get(gateway.metadata.namespace, name)
        if found is None or CONFIG_KEY not in found.data:
            return None, f"ConfigMap {name}, which spec.configMapRef names, with a key {CONFIG_KEY}"
        try:
            return parse(found.data[CONFIG_KEY]), ""
        except ValueError as error:
            return None, f"ConfigMap {name} to have sections and settings of nvmeof.conf in {CONFIG_KEY}: {error}"


async def ask(ceph: Asked, group: str, image: str) -> GatewayObservation:
    """What the cluster says of the pool, of a group, and, where none is given, of the image.

    Raises:
        CephError: It does not answer.
    """
    details = await ceph.mon("osd pool ls", detail="detail")
    detail = next((d for d in details if d["pool_name"] == POOL), None)
    pool = None
    if detail is not None:
        pool = PoolState(bool(detail["erasure_code_profile"]), frozenset(detail["application_metadata"]))
    found = await nvmeof.read(ceph, group, pool=pool is not None and not pool.erasure)
    return GatewayObservation(pool=pool, group_name=group, group=found, image=image or await nvmeof.image(ceph))
