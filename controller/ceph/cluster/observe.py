"""What there is of a cluster: taken together from the caches and from the cluster's own answers, and then not changed.

Nothing here decides anything, and a cluster that does not answer is an observation too.
"""

from __future__ import annotations

import errno
import time
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import anyio
import structlog

from controller.apis.ceph import CEPH_BLOCK_POOL, CephBlockPool
from controller.ceph.access.health import Health
from controller.ceph.access.identity import IDENTITY, Identity, parse_identity
from controller.ceph.access.locator import access_of
from controller.ceph.access.mons import ENDPOINTS, Endpoints, MonState, parse_endpoints
from controller.ceph.access.rados import CephError
from controller.ceph.cluster import deletion, version
from controller.ceph.cluster import settings as config
from controller.ceph.cluster.network import Network, network_of
from controller.ceph.cluster.settings import OWNED_PREFIX, ConfigState
from controller.ceph.cluster.status import timers
from controller.ceph.cluster.version import Detection
from controller.ceph.mgr.analyze import MgrObservation, MgrState
from controller.ceph.mon import objects as mon_objects
from controller.ceph.mon.analyze import OUT_OF_QUORUM, MonObservation
from controller.ceph.osd import analyze as osd
from controller.ceph.osd import disruption
from controller.ceph.osd import objects as osd_daemon
from controller.ceph.osd.memory import Comparisons
from controller.ceph.pods import CLUSTER_LABEL, Release, context_of
from controller.ceph.releases import Running
from controller.framework.aside import aside
from controller.framework.children import Live, snapshot
from controller.framework.pods import warnings, with_warnings
from controller.framework.reports import reports_of
from controller.framework.reservations import Reservations
from controller.framework.timers import elapsed
from controller.runtime import resource_of
from controller.runtime.kube import (
    CONFIG_MAP,
    DEPLOYMENT,
    EVENT,
    JOB,
    NODE,
    PDB,
    POD,
    PV,
    PVC,
    SECRET,
    SERVICE,
    ConfigMap,
    Deployment,
    Event,
    Job,
    Node,
    PersistentVolume,
    PersistentVolumeClaim,
    Pod,
    PodDisruptionBudget,
    Secret,
    Service,
)
from informers import IncompleteIndexError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from controller.apis.ceph import CephCluster
    from controller.apis.rook.node_report import BlockDevice, NodeReport
    from controller.ceph.access.rados import Cluster, Connections
    from controller.framework.settings import Settings
    from controller.runtime.apply import Applier
    from informers import Informer, InformerFactory, Resource
    from informers.informer import Known

log = structlog.get_logger(__name__)

MOST_REMNANTS = 5
"""Of what is left of a cluster, so many things are named."""


class Caches:
    """The informers that CephClusters are observed through, and what they have reserved from each other."""

    def __init__(self, factory: InformerFactory, operator_namespace: str) -> None:
        # Our own objects carry the label; only Secrets and ConfigMaps may be the user's.
        def ours[T](resource: Resource, view: type[T]) -> Informer[T]:
            return factory.informer(resource, view, label_selector=CLUSTER_LABEL)

        self.pods: Informer[Pod] = ours(POD, Pod)
        self.deployments: Informer[Deployment] = ours(DEPLOYMENT, Deployment)
        self.jobs: Informer[Job] = ours(JOB, Job)
        self.services: Informer[Service] = ours(SERVICE, Service)
        self.claims: Informer[PersistentVolumeClaim] = ours(PVC, PersistentVolumeClaim)
        self.budgets: Informer[PodDisruptionBudget] = ours(PDB, PodDisruptionBudget)
        self.config_maps: Informer[ConfigMap] = factory.informer(CONFIG_MAP, ConfigMap)
        self.secrets: Informer[Secret] = factory.informer(SECRET, Secret)
        self.nodes: Informer[Node] = factory.informer(NODE, Node)
        self.volumes: Informer[PersistentVolume] = factory.informer(PV, PersistentVolume)
        self.volumes.add_index(deletion.BY_CLUSTER, deletion.clusters_of)
        self.pools: Informer[CephBlockPool] = factory.informer(resource_of(CEPH_BLOCK_POOL), CephBlockPool)
        # A pod that cannot mount its volume, and a Job that may make no pod, are told of by events alone.
        self.events: Informer[Event] = factory.informer(EVENT, Event, field_selector="type=Warning")
        self.reports: Informer[NodeReport] = reports_of(factory, operator_namespace)
        self.reservations = Reservations(time.monotonic)

    @property
    def children(self) -> tuple[Informer[Any], ...]:
        """The caches of the kinds that a cluster's children are of."""
        return (
            self.deployments,
            self.jobs,
            self.services,
            self.claims,
            self.budgets,
            self.config_maps,
            self.secrets,
        )

    def dependents(self, cluster: CephCluster) -> tuple[str, ...]:
        """What has to go before a cluster that is being deleted may, in words; nothing for another."""
        if cluster.metadata.deletion_timestamp is None:
            return ()
        namespace = cluster.metadata.namespace
        pools = [name for _, name in self.pools.keys(namespace)]
        try:
            keys = self.volumes.keys_by_index(deletion.BY_CLUSTER, namespace, complete=True)
            volumes = [name for _, name in keys]
        except IncompleteIndexError as error:
            volumes = [f"({error})"]
        return deletion.dependents(cluster, pools, volumes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What there is of a cluster.

    Attributes:
        live: The objects of its namespace.
        identity: Its fsid and keys; None while there are none.
        identity_problem: Why its identity cannot be read; empty when it can, or when there is none.
        pods: The pods in its namespace that belong to it.
        warnings: What events tell of objects there that something failed with, by uid.
        detection: What is known of the release in the image.
        jobs: The Jobs there, by name.
        running: The releases that its daemons' Deployments have.
        runs: The oldest and the newest version that its daemons run.
        release: What its daemons should run; None while that is not known.
        mons, mgrs, osds: What is there of each kind of daemon.
        drains: The OSDs as drains see them.
        config: Settings in the mons' database; None while the mons do not answer, as of `health`.
        health: What Ceph says of its health.
        secret_values: What `cephConfigFromSecret` refers to.
        missing_secrets: References of `cephConfigFromSecret` that lead nowhere.
        dependents: What has to go before the cluster may, in words.
    """

    live: Live = field(default_factory=dict, repr=False)
    identity: Identity | None = None
    identity_problem: str = ""
    pods: tuple[Pod, ...] = ()
    warnings: Mapping[str, str] = field(default_factory=dict)
    jobs: Mapping[str, Job] = field(default_factory=dict)
    detection: Detection = field(default_factory=Detection)
    running: frozenset[Release] = frozenset()
    runs: Running = field(default_factory=Running)
    release: Release | None = None
    mons: MonObservation = field(default_factory=MonObservation)
    mgrs: MgrObservation = field(default_factory=MgrObservation)
    osds: osd.OsdObservation = field(default_factory=lambda: osd.OsdObservation(now=0.0))
    config: ConfigState | None = None
    health: Health | None = None
    secret_values: Mapping[tuple[str, str], str] = field(default_factory=dict, repr=False)
    missing_secrets: tuple[str, ...] = ()
    dependents: tuple[str, ...] = ()
    drains: disruption.Scene = field(default_factory=disruption.Scene)


@dataclass(slots=True)
class _Memory:
    """What is remembered of a cluster from one look to the next."""

    deployments: Known[Deployment] = field(default_factory=dict)
    pods: Known[Pod] = field(default_factory=dict)
    compared: Comparisons = field(default_factory=Comparisons)


class Observer:
    """Observes clusters.

    Args:
        caches: What the API server has.
        connections: Ways to the clusters.
        settings: Of the operator.
        applier: Applies what is wanted of the clusters' objects.
    """

    def __init__(self, caches: Caches, connections: Connections, settings: Settings, applier: Applier) -> None:
        self._caches = caches
        self._connections = connections
        self._settings = settings
        self._applier = applier
        self._clusters: dict[str, _Memory] = {}
        self._nodes: Known[Node] = {}
        self._reports: Known[NodeReport] = {}

    def forget(self, namespace: str) -> None:
        """Forgets what is remembered of a cluster that is gone."""
        self._clusters.pop(namespace, None)

    async def observe(self, cluster: CephCluster, now: float) -> Observation:
        """What there is of `cluster` at `now`, in seconds since the epoch."""
        namespace, caches = cluster.metadata.namespace, self._caches
        memory = self._clusters.setdefault(namespace, _Memory())
        live = await snapshot(self._caches.children, namespace, self._applier)
        identity, problem = _identity(self._caches.secrets.get(namespace, IDENTITY))
        warned = warnings([event async for event in self._caches.events.walk(namespace)])
        pods = with_warnings([pod async for pod in caches.pods.walk(namespace, known=memory.pods)], warned)
        deployments = [found async for found in caches.deployments.walk(namespace, known=memory.deployments)]
        nodes = tuple([node async for node in caches.nodes.walk(known=self._nodes)])
        jobs = self._caches.jobs.list(namespace)
        running = version.declared(deployments)
        endpoints = self._endpoints(namespace)
        ceph: Cluster | None = None
        state: MonState | None = None
        if identity is not None and endpoints is not None and endpoints.mons and _may_answer(pods):
            ceph, state = await self._ask_quorum(cluster, identity, endpoints)
        answers = await _ask(ceph) if ceph is not None else _Answers()
        reports = {r.metadata.name: r.devices async for r in caches.reports.walk(known=self._reports)}
        runs = _running(cluster, answers.health, running)
        looking = [p for p in pods if p.metadata.labels.get("app") == version.NAME]
        detection = version.analyze(cluster, live, looking, runs, warned, now=now)
        release = version.intended(cluster, detection, running)
        by_id = {app: _by_label(pods, app, "ceph_daemon_id") for app in ("rook-ceph-mon", "rook-ceph-mgr")}
        values, missing = config.secret_values(cluster, lambda name: self._caches.secrets.get(namespace, name))
        seen_osds = osd.OsdObservation(now=now, nodes=nodes, reports=reports)
        if identity is not None and release is not None:
            seen_osds = await osd.observe(
                cluster,
                context_of(cluster, identity.fsid, release),
                now=now,
                nodes=nodes,
                reports=reports,
                live=live,
                deployments=deployments,
                all_jobs=jobs,
                pods=pods,
                ceph=ceph if answers.mgrs is not None else None,
                mgr=answers.mgrs is not None and answers.mgrs.available,
                allow_loop_devices=self._settings.allow_loop_devices,
                script_image=self._settings.operator_image,
                memory=memory.compared,
                reserved=self._caches.reservations.of_others(namespace),
                warned=warned,
            )
        has_members = endpoints is not None and bool(endpoints.mons)
        return Observation(
            live=live,
            identity=identity,
            identity_problem=problem,
            pods=pods,
            warnings=warned,
            jobs={job.metadata.name: job for job in jobs},
            detection=detection,
            running=running,
            runs=runs,
            release=release,
            mons=MonObservation(
                endpoints=endpoints,
                state=state,
                nodes={n.metadata.name: n for n in nodes},
                deployments=daemons(deployments, "rook-ceph-mon"),
                pods=by_id["rook-ceph-mon"],
                live=live,
                seconds_out=elapsed(timers(cluster), OUT_OF_QUORUM, now),
                remnants=() if identity is not None and has_members else remnants(live, reports, identity),
            ),
            mgrs=MgrObservation(
                state=answers.mgrs,
                deployments=daemons(deployments, "rook-ceph-mgr"),
                pods=by_id["rook-ceph-mgr"],
                live=live,
            ),
            osds=seen_osds,
            drains=await aside(disruption.scene, seen_osds, answers.health.pgs if answers.health is not None else {}),
            config=answers.config,
            health=answers.health,
            secret_values=values,
            missing_secrets=missing,
            dependents=self._caches.dependents(cluster),
        )

    def network(self, namespace: str) -> Network | None:
        """The network that the mons of the cluster in `namespace` have; None where there are none."""
        endpoints = self._endpoints(namespace)
        if endpoints is None:
            return None
        services = {m.daemon.name: self._caches.services.get(namespace, m.daemon.name) for m in endpoints.mons}
        nodes = {mon.node: self._caches.nodes.get("", mon.node) for mon in endpoints.mons if mon.node}
        return network_of(endpoints.mons, services, nodes)

    def _endpoints(self, namespace: str) -> Endpoints | None:
        found = self._caches.config_maps.get(namespace, ENDPOINTS)
        return None if found is None else parse_endpoints(found.data)

    async def _ask_quorum(
        self, cluster: CephCluster, identity: Identity, endpoints: Endpoints
    ) -> tuple[Cluster | None, MonState | None]:
        namespace = cluster.metadata.namespace
        ceph = self._connections.cluster(namespace, access_of(cluster, identity, endpoints))
        try:
            return ceph, MonState.parse(await ceph.mon("quorum_status"))
        except CephError as error:
            log.info("Mons do not answer", namespace=namespace, error=str(error))
            if error.errno == errno.ETIMEDOUT:
                # The connection may know only mons that are gone; a new one starts from the present members.
                self._connections.close(namespace)
        return None, None


@dataclass(frozen=True, slots=True)
class _Answers:
    mgrs: MgrState | None = None
    config: ConfigState | None = None
    health: Health | None = None


async def _ask(ceph: Cluster) -> _Answers:
    """What the mons say besides who is in quorum, asked all at once; nothing when they stop answering in between."""
    answers: dict[str, Any] = {}

    async def ask(prefix: str, **args: Any) -> None:
        answers[prefix] = await ceph.mon(prefix, **args)

    try:
        # First: by it, the connection knows which of the other answers still hold.
        await ask("status")
        async with anyio.create_task_group() as tasks:
            for prefix in ("mgr dump", "versions", "config dump"):
                tasks.start_soon(ask, prefix)
            tasks.start_soon(lambda: ask("config-key dump", key=OWNED_PREFIX))
    except* CephError as group:
        log.info("Mons stopped answering", error=str(group.exceptions[0]))
        answers.clear()
    if not answers:
        return _Answers()
    return _Answers(
        mgrs=MgrState.parse(answers["mgr dump"]),
        config=ConfigState.parse(answers["config dump"], answers["config-key dump"] or {}),
        health=Health.parse(answers["status"], answers["versions"]),
    )


def _identity(secret: Secret | None) -> tuple[Identity | None, str]:
    if secret is None:
        return None, ""
    try:
        return parse_identity(secret.data), ""
    except ValueError as error:
        return None, str(error)


def remnants(live: Live, reports: Mapping[str, Sequence[BlockDevice]], identity: Identity | None) -> tuple[str, ...]:
    """What only a cluster that has had mons leaves, in words: OSDs, and claims with mons' data."""
    labels = {key: found["metadata"].get("labels", {}) for key, found in live.items()}
    kept = [
        f"{kind} {name}"
        for (kind, name), own in labels.items()
        if (kind, own.get("app")) in ((DEPLOYMENT.kind, osd_daemon.APP), (PVC.kind, mon_objects.APP))
    ]
    held = osd.labelled(identity.fsid, reports) if identity is not None else []
    return tuple(sorted((*kept, *held))[:MOST_REMNANTS])


def _may_answer(pods: Iterable[Pod]) -> bool:
    """Whether a mon runs at all: only then is it worth the time that an attempt to connect takes."""
    return any(
        pod.metadata.labels.get("app") == "rook-ceph-mon"
        and any(status.state.running is not None for status in pod.status.container_statuses)
        for pod in pods
    )


def _by_label(pods: Iterable[Pod], app: str, label: str) -> dict[str, tuple[Pod, ...]]:
    found: defaultdict[str, list[Pod]] = defaultdict(list)
    for pod in pods:
        if pod.metadata.labels.get("app") == app:
            found[pod.metadata.labels.get(label, "")].append(pod)
    return {key: tuple(value) for key, value in found.items()}


def daemons(deployments: Sequence[Deployment], app: str) -> dict[str, Deployment]:
    """The daemons' Deployments by id; not one that somebody made beside a daemon's, with its labels, to work on it."""
    ids = ((d, d.metadata.labels.get("ceph_daemon_id", "")) for d in deployments if d.metadata.labels.get("app") == app)
    return {daemon_id: d for d, daemon_id in ids if d.metadata.name == f"{app}-{daemon_id}"}


def _running(cluster: CephCluster, health: Health | None, declared: Iterable[Release]) -> Running:
    """What daemons run, by what the mons report, or reported when they last answered."""
    versions = health.versions if health is not None else cluster.status.ceph.versions
    reported = {*versions.mon, *versions.mgr, *versions.osd}
    return Running.of(reported, [release.version for release in declared])
