"""What there is of a store: its pools, its place in .rgw.root, its gateways, what is in it and what uses it."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import structlog

from controller.ceph.access import config
from controller.ceph.access.config import ConfigState
from controller.ceph.access.rados import CephError
from controller.ceph.access.reach import reach
from controller.ceph.instances import standing
from controller.ceph.objectstore.objects import context
from controller.ceph.objectstore.spec import S3, pools_of, removal_name, serves, setup_name
from controller.ceph.pods import CLUSTER_LABEL
from controller.ceph.pools.observe import PoolObservation
from controller.ceph.pools.observe import observe as observe_pool
from controller.ceph.rgw import budget, tool
from controller.ceph.rgw.budget import Budget
from controller.ceph.rgw.contents import contents_of, other_realms, remains
from controller.ceph.rgw.names import APP, STORE_LABEL, certificate_secret, entity_of, gateway_of, own_place
from controller.ceph.rgw.pools import ROOT_POOL, metadata_location, shared_pool_names
from controller.ceph.rgw.stores import CA_BUNDLE, CERT
from controller.framework.caches import ClusterCaches
from controller.framework.children import snapshot
from controller.framework.jobs import Run
from controller.framework.pods import warnings
from controller.framework.tls import CERTIFICATE, KEY
from controller.runtime.kube import DEPLOYMENT, JOB, Deployment, Job

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from controller.apis.ceph import CephBlockPool, CephCluster, CephObjectStore
    from controller.ceph.access.rados import Connections, RadosCluster
    from controller.ceph.objectstore.health import Checked, HealthChecks
    from controller.ceph.pods import Context
    from controller.ceph.rgw.names import Place
    from controller.ceph.rgw.zones import Zones
    from controller.framework.children import Live
    from controller.framework.deletion import Dependents
    from controller.runtime.apply import Applier
    from controller.runtime.kube import Pod, Secret
    from informers import Informer, InformerFactory

log = structlog.get_logger(__name__)

OWNED_PREFIX = "rook/rgw/"
FULL = ("OSD_FULL", "OSD_BACKFILLFULL", "POOL_FULL")
DEFAULT = "default"
"""The zone, with its pools, that radosgw-admin makes where it is not told realm, zone group and zone."""
"""Codes of a cluster's health with which a gateway that starts anew may not come up, though those that run serve."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreObservation:
    """What `analyze` decides by. It has no key.

    Attributes:
        now: Seconds since the epoch.
        waits_for: What has to happen before the cluster can be asked; nothing else is known then.
        cluster_gone: Whether there is no CephCluster in the namespace.
        hold: What has to happen before anything is made, or data is moved.
        hold_upgrade: What has to happen before a gateway gets another release.
        hold_restart: What has to happen before a gateway that serves is restarted.
        context: What gateways are given of their cluster; None while it is not known.
        image: The operator's, which has the script.
        place: What Ceph calls the store; None while a zone is waited for.
        place_waits_for: What has to happen before gateways can serve the place.
        pools: What there is of each pool of its own, by its name in Ceph.
        missing_pools: Pools that the spec names and that do not exist.
        strays: Pools of a zone `default` that nobody asked for.
        budget: What OSDs may have of placement groups; asked only where a pool is missing.
        deployments: The Deployments of the gateways, by the daemon's id.
        pods: The pods of the gateways, by the daemon's id.
        live: The objects of the namespace.
        setup: The Job that makes realm, zone group, zone and user.
        removal: The Job that removes them.
        config: The settings in the mons' database that are for its gateways.
        secret_values: What `rgwConfigFromSecret` refers to.
        missing_secrets: What the spec refers to and nobody has, in words.
        certificate: A digest of the certificate and authorities that gateways are to have; empty: none.
        separate_key: Whether the certificate's key is beside it.
        checked: Whether S3 is served; None while nobody knows.
        users: The objects that use the store, in words; asked only while it is being deleted.
        contents: What is in it, in words; asked only while it is being deleted.
        has_root: Whether there is the pool with the names of realms; asked only while it is being deleted.
        others: What else needs that pool, in words; asked only while it is being deleted.
        remains: Whether shared pools have objects of the store; asked only while it is being deleted.
    """

    now: float = 0.0
    waits_for: str = ""
    cluster_gone: bool = False
    hold: str = ""
    hold_upgrade: str = ""
    hold_restart: str = ""
    context: Context | None = None
    image: str = ""
    place: Place | None = None
    place_waits_for: str = ""
    pools: Mapping[str, PoolObservation] = field(default_factory=dict)
    missing_pools: tuple[str, ...] = ()
    strays: tuple[str, ...] = ()
    budget: Budget | None = None
    deployments: Mapping[str, Deployment] = field(default_factory=dict)
    pods: Mapping[str, tuple[Pod, ...]] = field(default_factory=dict)
    live: Live = field(default_factory=dict, repr=False)
    setup: Run = field(default_factory=Run)
    removal: Run = field(default_factory=Run)
    config: ConfigState = field(default_factory=ConfigState)
    secret_values: Mapping[str, str] = field(default_factory=dict, repr=False)
    missing_secrets: tuple[str, ...] = ()
    certificate: str = ""
    separate_key: bool = False
    checked: Checked | None = None
    users: tuple[str, ...] = ()
    contents: tuple[str, ...] = ()
    has_root: bool = False
    others: tuple[str, ...] = ()
    remains: Mapping[str, bool] = field(default_factory=dict)


class Caches(ClusterCaches):
    """The informers that stores are observed through."""

    def __init__(self, factory: InformerFactory) -> None:
        super().__init__(factory, CLUSTER_LABEL)
        self.deployments: Informer[Deployment] = self.ours(DEPLOYMENT, Deployment)
        self.jobs: Informer[Job] = self.ours(JOB, Job)

    @property
    def children(self) -> tuple[Informer[Any], ...]:
        """The caches of the kinds that a store's children are of."""
        return (self.deployments, self.services, self.budgets, self.secrets, self.jobs)


class Observer:
    """Observes stores.

    Args:
        caches: What the API server has.
        stores: The cache of CephObjectStores.
        pools: The cache of CephBlockPools.
        clusters: The cache of CephClusters.
        connections: Ways to the clusters.
        applier: Applies what is wanted of the stores' objects.
        dependents: What uses stores.
        zones: Where stores in zones belong.
        health: Asks whether stores serve.
        image: The operator's.
    """

    def __init__(
        self,
        caches: Caches,
        stores: Informer[CephObjectStore],
        pools: Informer[CephBlockPool],
        clusters: Informer[CephCluster],
        connections: Connections,
        applier: Applier,
        dependents: Dependents[CephObjectStore],
        zones: Zones,
        health: HealthChecks,
        image: str,
    ) -> None:
        self._caches = caches
        self._stores = stores
        self._pools = pools
        self._clusters = clusters
        self._connections = connections
        self._applier = applier
        self._dependents = dependents
        self._zones = zones
        self._health = health
        self._image = image

    async def observe(self, store: CephObjectStore, now: float) -> StoreObservation:
        """What there is of a store, or why the cluster cannot be asked."""
        meta = store.metadata
        way = reach(self._clusters, self._connections, meta.namespace)
        if way.cluster is None:
            return StoreObservation(now=now, waits_for=way.waits_for, cluster_gone=True)
        cluster, ceph, status = way.cluster, way.ceph, way.cluster.status
        name = f"CephCluster {cluster.metadata.name}"
        if ceph is None or not status.ceph.fsid or not status.version.version:
            return StoreObservation(now=now, waits_for=way.waits_for or f"{name} to answer")
        deleting = meta.deletion_timestamp is not None
        try:
            seen = await _ask(ceph, store)
            if deleting:
                seen = await _ask_of_contents(ceph, store, seen)
                seen = replace(seen, others=(*seen.others, *self._others(store)))
        except CephError as error:
            log.info("Cluster does not answer", store=meta.name, namespace=meta.namespace, error=str(error))
            return StoreObservation(now=now, waits_for=f"{name} to answer")
        everything = self._caches.deployments.list(meta.namespace)
        stands = standing(cluster, everything)
        live = await snapshot(self._caches.children, meta.namespace, self._applier)
        seen = replace(self._with_secrets(store, self._with_place(store, seen)), live=live)
        seen = self._with_objects(store, seen, everything, now)
        serving = any(found.status.available_replicas for found in seen.deployments.values())
        return replace(
            seen,
            now=now,
            hold=stands.hold,
            hold_upgrade=stands.hold_upgrade,
            hold_restart=_full(cluster),
            context=context(store, cluster, stands.release),
            image=self._image,
            pools={pool: replace(found, hold=stands.hold) for pool, found in seen.pools.items()},
            users=self._dependents.known(store),
            strays=() if self._is_asked_for(meta.namespace, DEFAULT) else seen.strays,
            checked=await self._health.check(store) if serving and serves(store, S3) and not deleting else None,
        )

    def _is_asked_for(self, namespace: str, name: str) -> bool:
        """Whether there is a CephObjectStore or a CephObjectZone of this name."""
        return (namespace, name) in self._stores.keys(namespace) or self._zones.locate(
            namespace, name
        ).place is not None

    def _others(self, store: CephObjectStore) -> tuple[str, ...]:
        """What else needs the pool that all stores share, by the caches."""
        meta = store.metadata
        stores = (other for _, other in self._stores.keys(meta.namespace) if other != meta.name)
        pools = (pool for pool in self._pools.list(meta.namespace) if pool.spec.name == ROOT_POOL)
        return (
            *(f"CephObjectStore {other}" for other in sorted(stores)),
            *(f"CephBlockPool {pool.metadata.name}" for pool in pools),
        )

    def _with_place(self, store: CephObjectStore, seen: StoreObservation) -> StoreObservation:
        if not store.spec.zone.name:
            return replace(seen, place=own_place(store.metadata.name))
        found = self._zones.locate(store.metadata.namespace, store.spec.zone.name)
        return replace(seen, place=found.place, place_waits_for=found.waits_for)

    def _with_secrets(self, store: CephObjectStore, seen: StoreObservation) -> StoreObservation:
        gateway, namespace = store.spec.gateway, store.metadata.namespace
        missing: list[str] = []
        contents: list[bytes] = []

        def read(name: str, *keys: str) -> Secret | None:
            secret = self._caches.secrets.get(namespace, name)
            absent = [key for key in keys if secret is None or key not in secret.data]
            missing.extend(f"key {key} of Secret {name}" for key in absent)
            if secret is not None:
                contents.extend(secret.data[key] for key in keys if key in secret.data)
            return secret

        separate = False
        name = certificate_secret(store) if gateway.secure_port else ""
        if name:
            found = self._caches.secrets.get(namespace, name)
            separate = found is None or CERT not in found.data
            read(name, *((CERTIFICATE, KEY) if separate else (CERT,)))
        if gateway.ca_bundle_ref:
            read(gateway.ca_bundle_ref, CA_BUNDLE)
        digest = hashlib.sha256(b"\0".join(contents)).hexdigest()[:16] if contents else ""
        values: dict[str, str] = {}
        for option, reference in gateway.rgw_config_from_secret.items():
            secret = self._caches.secrets.get(namespace, reference.name)
            value = None if secret is None else secret.data.get(reference.key)
            if value is not None:
                values[option] = value.decode()
            elif not reference.optional:
                missing.append(f"key {reference.key} of Secret {reference.name}")
        return replace(
            seen, missing_secrets=tuple(missing), certificate=digest, separate_key=separate, secret_values=values
        )

    def _with_objects(
        self, store: CephObjectStore, seen: StoreObservation, everything: Sequence[Deployment], now: float
    ) -> StoreObservation:
        meta = store.metadata
        mine = [found for found in everything if _is_of(found, meta.name)]
        pods: dict[str, tuple[Pod, ...]] = {}
        all_pods = self._caches.pods.list(meta.namespace)
        for pod in all_pods:
            labels = pod.metadata.labels
            if labels.get("app") == APP and labels.get(STORE_LABEL) == meta.name:
                daemon = labels.get("ceph_daemon_id", "")
                pods[daemon] = (*pods.get(daemon, ()), pod)
        told = warnings(self._caches.events.list(meta.namespace))

        def job(name: str) -> Run:
            return tool.look(seen.live, all_pods, name, now, told)

        return replace(
            seen,
            deployments={found.metadata.labels["ceph_daemon_id"]: found for found in mine},
            pods=pods,
            setup=job(setup_name(store)),
            removal=job(removal_name(store)),
        )


def _is_of(deployment: Deployment, name: str) -> bool:
    """Whether a Deployment is that of a gateway of a store, and no copy that somebody works on."""
    labels = deployment.metadata.labels
    is_ours = labels.get("app") == APP and labels.get(STORE_LABEL) == name
    return is_ours and deployment.metadata.name == f"{APP}-{labels.get('ceph_daemon_id')}"


def _full(cluster: CephCluster) -> str:
    details = cluster.status.ceph.details
    found = [f"{code} ({details[code].message})" for code in FULL if code in details]
    return f"the cluster to have room again: {', '.join(found)}" if found else ""


def is_gateway(entity: str, store: str) -> bool:
    """Whether a cephx user is one of a store's gateways, by its name."""
    prefix = entity_of(gateway_of(store, ""))
    return re.fullmatch(re.escape(prefix) + "[a-z]+", entity) is not None


async def _ask(ceph: RadosCluster, store: CephObjectStore) -> StoreObservation:
    """What the cluster says of a store's pools and its gateways' settings.

    Raises:
        CephError: It does not answer.
    """
    name = store.metadata.name
    pools = {pool.name: await observe_pool(ceph, pool.name, pool.spec) for pool in pools_of(store)}
    present = {detail["pool_name"] for detail in await ceph.mon("osd pool ls", detail="detail")}
    state = await config.read(ceph, OWNED_PREFIX)
    return StoreObservation(
        pools=pools,
        missing_pools=tuple(pool for pool in shared_pool_names(store.spec.shared_pools) if pool not in present),
        strays=tuple(sorted(pool for pool in present if pool.startswith(f"{DEFAULT}.rgw."))),
        budget=await budget.read(ceph) if any(seen.state is None for seen in pools.values()) else None,
        config=ConfigState(
            {key: value for key, value in state.values.items() if is_gateway(key[0], name)},
            {key: owned for key, owned in state.owned.items() if is_gateway(key[0], name)},
        ),
    )


async def _ask_of_contents(ceph: RadosCluster, store: CephObjectStore, seen: StoreObservation) -> StoreObservation:
    """The same with what is in the store, and whether there are others.

    Raises:
        CephError: The cluster does not answer.
    """
    present = {detail["pool_name"] for detail in await ceph.mon("osd pool ls", detail="detail")}
    pool, namespace = metadata_location(store.metadata.name, store.spec.shared_pools)
    contents = await contents_of(ceph, pool, namespace) if pool in present else ()
    has_root = ROOT_POOL in present
    others = await other_realms(ceph, ROOT_POOL, store.metadata.name) if has_root else ()
    prefix = f"{store.metadata.name}."
    shared = [name for name in shared_pool_names(store.spec.shared_pools) if name in present]
    return replace(
        seen,
        contents=contents,
        has_root=has_root,
        others=tuple(f"realm {other}" for other in others),
        remains={name: await remains(ceph, name, prefix) for name in shared},
    )
