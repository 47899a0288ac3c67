"""What there is of a cluster: taken together from the caches and from the cluster's own answers, and then not changed.

Nothing here decides anything, and a cluster that does not answer is an observation too.
"""

from __future__ import annotations

import errno
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import anyio
import structlog

from controller.apis.ceph import CEPH_CLUSTER, CephCluster
from controller.ceph import releases
from controller.ceph.access.health import Health
from controller.ceph.access.identity import IDENTITY, Identity, parse_identity
from controller.ceph.access.locator import access_of
from controller.ceph.access.mons import ENDPOINTS, Endpoints, MonState, parse_endpoints
from controller.ceph.access.rados import CephError
from controller.ceph.cluster import version
from controller.ceph.cluster.network import Network, kept, network_of
from controller.ceph.mon.neighbours import occupied
from controller.ceph.part import Ground, Observation
from controller.ceph.pods import CLUSTER_LABEL, Release, declared
from controller.ceph.releases import Running
from controller.framework.caches import ClusterCaches
from controller.framework.children import snapshot
from controller.framework.pods import warnings, with_warnings
from controller.framework.reports import reports_of
from controller.runtime import resource_of
from controller.runtime.kube import CONFIG_MAP, DEPLOYMENT, JOB, NODE, ConfigMap, Deployment, Job, Node

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from controller.apis.rook.node_report import NodeReport
    from controller.ceph.access.rados import Cluster, Connections
    from controller.ceph.part import Part
    from controller.framework.deletion import Dependents
    from controller.runtime.apply import Applier
    from controller.runtime.kube import Pod, Secret
    from informers import Informer, InformerFactory
    from informers.informer import Known

log = structlog.get_logger(__name__)

MOST_REMNANTS = 5
"""Of what is left of a cluster, so many things are named."""


class Caches(ClusterCaches):
    """The informers that CephClusters are observed through."""

    def __init__(self, factory: InformerFactory, operator_namespace: str) -> None:
        super().__init__(factory, CLUSTER_LABEL)
        self.deployments: Informer[Deployment] = self.ours(DEPLOYMENT, Deployment)
        self.jobs: Informer[Job] = self.ours(JOB, Job)
        # `rook-config-override` may be the user's.
        self.config_maps: Informer[ConfigMap] = factory.informer(CONFIG_MAP, ConfigMap)
        self.nodes: Informer[Node] = factory.informer(NODE, Node)
        self.reports: Informer[NodeReport] = reports_of(factory, operator_namespace)
        self.clusters: Informer[CephCluster] = factory.informer(resource_of(CEPH_CLUSTER), CephCluster)

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


@dataclass(slots=True)
class _Memory:
    """What is remembered of a cluster from one look to the next."""

    deployments: Known[Deployment] = field(default_factory=dict)
    pods: Known[Pod] = field(default_factory=dict)


class Observer:
    """Observes clusters.

    Args:
        caches: What the API server has.
        connections: Ways to the clusters.
        applier: Applies what is wanted of the clusters' objects.
        parts: The parts of a cluster, in their order.
        dependents: What uses clusters.
    """

    def __init__(
        self,
        caches: Caches,
        connections: Connections,
        applier: Applier,
        parts: Sequence[Part[Any]],
        dependents: Dependents[CephCluster],
    ) -> None:
        self._caches = caches
        self._connections = connections
        self._applier = applier
        self._parts = parts
        self._dependents = dependents
        self._clusters: dict[str, _Memory] = {}
        self._nodes: Known[Node] = {}
        self._reports: Known[NodeReport] = {}

    def forget(self, namespace: str) -> None:
        """Forgets what is remembered of a cluster that is gone."""
        self._clusters.pop(namespace, None)
        for part in self._parts:
            part.forget(namespace)

    async def observe(self, cluster: CephCluster, now: float) -> Observation:
        """What there is of `cluster` at `now`, in seconds since the epoch."""
        namespace, caches = cluster.metadata.namespace, self._caches
        cluster, others = kept(cluster, self._network(namespace))
        memory = self._clusters.setdefault(namespace, _Memory())
        live = await snapshot(caches.children, namespace, self._applier)
        identity, problem = _identity(caches.secrets.get(namespace, IDENTITY))
        warned = warnings([event async for event in caches.events.walk(namespace)])
        pods = with_warnings([pod async for pod in caches.pods.walk(namespace, known=memory.pods)], warned)
        deployments = [found async for found in caches.deployments.walk(namespace, known=memory.deployments)]
        nodes = {node.metadata.name: node async for node in caches.nodes.walk(known=self._nodes)}
        asked = declared(deployments)
        endpoints = self._endpoints(namespace)
        ceph: Cluster | None = None
        quorum: MonState | None = None
        if identity is not None and endpoints is not None and endpoints.mons and _may_answer(pods):
            ceph, quorum = await self._ask_quorum(cluster, identity, endpoints)
        mgr, health = await _ask(ceph) if ceph is not None else (None, None)
        reports = {r.metadata.name: r.devices async for r in caches.reports.walk(known=self._reports)}
        looking = [p for p in pods if p.metadata.labels.get("app") == version.NAME]
        image = version.look(cluster, live, looking, warned, now=now)
        ground = Ground(
            cluster=cluster,
            now=now,
            live=live,
            pods=pods,
            warnings=warned,
            jobs={job.metadata.name: job for job in caches.jobs.list(namespace)},
            deployments=deployments,
            nodes=nodes,
            reports=reports,
            classes={found.metadata.name: found for found in caches.classes.list()},
            identity=identity,
            endpoints=endpoints,
            occupied=occupied(cluster, self._neighbours(namespace)),
            quorum=quorum,
            ceph=ceph,
            mgr=mgr,
            health=health,
            upgrade=version.upgrade_of(cluster, image, _running(cluster, health, asked), asked),
        )
        if identity is None or endpoints is None or not endpoints.mons:
            ground = replace(ground, remnants=remnants(self._parts, ground))
        return Observation(
            ground=ground,
            parts=tuple([(part, await part.observe(ground)) for part in self._parts]),
            identity_problem=problem,
            probing=image.steps,
            dependents=self._dependents.known(cluster),
            others=others,
        )

    def _network(self, namespace: str) -> Network | None:
        """The network that the mons of the cluster in `namespace` have; None where there are none."""
        endpoints = self._endpoints(namespace)
        if endpoints is None:
            return None
        services = {m.daemon.name: self._caches.services.get(namespace, m.daemon.name) for m in endpoints.mons}
        nodes = {mon.node: self._caches.nodes.get("", mon.node) for mon in endpoints.mons if mon.node}
        return network_of(endpoints.mons, services, nodes)

    def _neighbours(self, namespace: str) -> Iterator[tuple[CephCluster, Endpoints]]:
        """The clusters of other namespaces, with their mons as far as these can be read."""
        for other in self._caches.clusters.list():
            if other.metadata.namespace != namespace:
                with suppress(ValueError):
                    yield other, self._endpoints(other.metadata.namespace) or Endpoints()

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


async def _ask(ceph: Cluster) -> tuple[Mapping[str, Any] | None, Health | None]:
    """What the mons say of the mgrs, and of the cluster's health; nothing when they stop answering in between."""
    answers: dict[str, Any] = {}

    async def ask(prefix: str) -> None:
        answers[prefix] = await ceph.mon(prefix)

    try:
        # First: by it, the connection knows which of the other answers still hold.
        await ask("status")
        async with anyio.create_task_group() as tasks:
            for prefix in ("mgr dump", "versions"):
                tasks.start_soon(ask, prefix)
    except* CephError as group:
        log.info("Mons stopped answering", error=str(group.exceptions[0]))
        answers.clear()
    if not answers:
        return None, None
    return answers["mgr dump"], Health.parse(answers["status"], answers["versions"])


def _identity(secret: Secret | None) -> tuple[Identity | None, str]:
    if secret is None:
        return None, ""
    try:
        return parse_identity(secret.data), ""
    except ValueError as error:
        return None, str(error)


def remnants(parts: Iterable[Part[Any]], ground: Ground) -> tuple[str, ...]:
    """What there is that only a cluster that has had mons leaves, in words, by all parts."""
    return tuple(sorted(found for part in parts for found in part.remnants(ground))[:MOST_REMNANTS])


def _may_answer(pods: Iterable[Pod]) -> bool:
    """Whether a mon runs at all: only then is it worth the time that an attempt to connect takes."""
    return any(
        pod.metadata.labels.get("app") == "rook-ceph-mon"
        and any(status.state.running is not None for status in pod.status.container_statuses)
        for pod in pods
    )


def _running(cluster: CephCluster, health: Health | None, declared: Iterable[Release]) -> Running:
    """What daemons run, by what the mons report, or reported when they last answered."""
    versions = health.versions if health is not None else cluster.status.ceph.versions
    reported = {*versions.mon, *versions.mgr, *versions.osd}
    return releases.running(reported, [release.version for release in declared])
