"""CephCluster: the whole cluster's plan, and the reconciler that carries it out.

Order: the image's release, the cluster's identity, mons one by one, and from the first mon in quorum on the mgr, the
settings and the OSDs side by side. An upgrade goes through mons, mgrs and OSDs in this order.
"""

from __future__ import annotations

import time
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec

from controller.apis.ceph import CEPH_FILESYSTEM, CephCluster, CephClusterSpec, CephFilesystem
from controller.ceph.access.health import HEALTH_ERR
from controller.ceph.access.identity import IDENTITY
from controller.ceph.access.mons import ENDPOINTS
from controller.ceph.cluster import ciphers, cleanup, deletion, identity, settings, status, version
from controller.ceph.cluster.deletion import CLUSTERS
from controller.ceph.cluster.dependents import volumes
from controller.ceph.cluster.observe import Caches, Observer
from controller.ceph.cluster.served import unmendable_intents, unserved, unserved_intents
from controller.ceph.csi import users
from controller.ceph.mgr import part as mgrs
from controller.ceph.mon import part as mons
from controller.ceph.osd import part as osds
from controller.ceph.osd.reservations import Reservations
from controller.ceph.pods import CLUSTER_LABEL, CONFIG_OVERRIDE, context_of, owner_of
from controller.framework import children, jobs
from controller.framework.changes import (
    budget_changed,
    changed,
    claim_changed,
    deployment_changed,
    job_changed,
    pod_changed,
)
from controller.framework.deletion import Dependents, watch_users
from controller.framework.duration import duration_or, duration_problem
from controller.framework.kind import ControlLoop, controller_of
from controller.framework.monitoring import SERVICE_MONITOR, Monitors
from controller.framework.plan import Plan, Step
from controller.framework.reports import devices_changed
from controller.framework.status import is_settled
from controller.runtime import Request, in_namespace, resource_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from controller.apis.ceph import CephClusterStatus
    from controller.ceph.access.rados import Connections
    from controller.ceph.access.volumes import ClusterVolumes
    from controller.ceph.part import Ground, Observation, Part
    from controller.framework.deletion import Dependent
    from controller.framework.kind import Look
    from controller.framework.plan import Handler, Outcome
    from controller.framework.settings import Settings
    from controller.runtime import Manager
    from controller.runtime.kube import ConfigMap, HasMetadata, Node, Secret
    from informers import Informer

MON_INTERVAL, OSD_INTERVAL, STATUS_INTERVAL = 45.0, 60.0, 60.0
"""Seconds between two looks at a cluster at rest; upstream's defaults."""
LEAST_INTERVAL = 1.0
"""Seconds; a spec that asks for a look more often gets one as often as this."""
SOONEST = 1.0
"""Seconds after which to look again at a cluster that is on its way; later and later where it stands still."""
PATIENCE = 20.0
"""A step that has been waiting for this many times the next pause is looked at after that pause."""


def analyze(seen: Observation) -> Plan:
    """The plan for a cluster. Pure."""
    ground = seen.ground
    if ground.cluster.metadata.deletion_timestamp is not None:
        return deletion.analyze(seen)
    steps = tuple(_steps(seen))
    pauses = (
        _pause(ground.cluster, ground.now) if steps else _interval(ground.cluster),
        *(part.look_again(found) for part, found in seen.parts),
    )
    return Plan(steps=steps, look_again=min(pause for pause in pauses if pause is not None))


def _steps(seen: Observation) -> Iterator[Step]:
    ground, cluster = seen.ground, seen.ground.cluster
    if cluster.spec.external.enable:
        waits_for = "spec.external.enable to be false: clusters that run elsewhere are not served"
        yield Step(subject="cluster", reason="the spec cannot be carried out", waits_for=waits_for)
        return
    if cluster.spec.cleanup_policy.confirmation == deletion.CONFIRMATION:
        waits_for = "the CephCluster to be deleted, or the confirmation to be taken away"
        reason = f"nothing is reconciled: spec.cleanupPolicy.confirmation is {deletion.CONFIRMATION}"
        yield Step(subject="cluster", reason=reason, waits_for=waits_for)
        return
    yield from _intents(cluster)
    if ground.identity is None and unmendable_intents(cluster.spec):
        return
    yield from seen.probing
    if ground.upgrade.refusal:
        yield Step(subject="Ceph version", reason="the release is refused", waits_for=ground.upgrade.refusal)
    yield from settings.override_steps(owner_of(cluster), ground.live)
    yield from identity.analyze(seen)
    if ground.identity is None or ground.release is None:
        return
    context = context_of(cluster, ground.identity.fsid, ground.release)
    hold = ground.upgrade.hold(_obstacle(ground))
    for part, found in seen.parts:
        steps = tuple(part.analyze(ground, context, found, hold))
        yield from steps
        hold = hold or part.late(ground, found, steps)


def invalid(spec: CephClusterSpec, parts: Iterable[Part[Any]]) -> tuple[str, ...]:
    """Values that the API server takes and that mean nothing: the path, what was found, and what counts instead."""
    checks, health = "healthCheck.daemonHealth", spec.health_check.daemon_health
    intervals = (
        duration_problem(f"{checks}.mon.interval", health.mon.interval, MON_INTERVAL),
        duration_problem(f"{checks}.osd.interval", health.osd.interval, OSD_INTERVAL),
        duration_problem(f"{checks}.status.interval", health.status.interval, STATUS_INTERVAL),
    )
    return tuple(filter(None, (*intervals, *(found for part in parts for found in part.invalid(spec)))))


def _intents(cluster: CephCluster) -> Iterator[Step]:
    for path in unserved_intents(cluster.spec):
        yield Step(
            subject=f"spec.{path}",
            reason="this operator does not serve it, and without it the cluster is not what the spec asks for",
            waits_for="it to be taken out of the spec",
        )


def _obstacle(ground: Ground) -> str:
    """What has to happen before the cluster, as it is, may be upgraded; empty: nothing."""
    codes = ", ".join(ground.health.obstacles) if ground.health is not None else ""
    if not codes or ground.cluster.spec.skip_upgrade_checks:
        return ""
    return f"the cluster to leave {HEALTH_ERR} ({codes}), or spec.skipUpgradeChecks"


def _interval(cluster: CephCluster) -> float:
    """Seconds between two looks at rest. Zero is no interval: `disabled` switches a check off."""
    health = cluster.spec.health_check.daemon_health
    found = (
        duration_or(health.mon.interval, MON_INTERVAL) or MON_INTERVAL,
        duration_or(health.osd.interval, OSD_INTERVAL) or OSD_INTERVAL,
        duration_or(health.status.interval, STATUS_INTERVAL) or STATUS_INTERVAL,
    )
    return max(min(found), LEAST_INTERVAL)


def _pause(cluster: CephCluster, now: float) -> float:
    """Seconds until a cluster that is on its way is looked at again, by how long its plan has been standing still."""
    since = [datetime.fromisoformat(s.since).timestamp() for s in cluster.status.plan.steps if s.since]
    newest = max(since, default=now)
    return min(max((now - newest) / PATIENCE, SOONEST), _interval(cluster))


class Clusters:
    """CephClusters, and what they are looked at and changed through.

    Args:
        manager: Writes and records.
        clusters: The cache of CephClusters.
        caches: The caches of everything else.
        connections: Ways to the clusters.
        parts: The parts of a cluster, in their order.
        dependents: What uses clusters.
    """

    def __init__(
        self,
        manager: Manager,
        clusters: Informer[CephCluster],
        caches: Caches,
        connections: Connections,
        parts: Sequence[Part[Any]],
        dependents: Dependents[CephCluster],
    ) -> None:
        self._manager = manager
        self._clusters = clusters
        self._caches = caches
        self._connections = connections
        self._dependents = dependents
        self._observer = Observer(caches, connections, manager.applier, parts, dependents)

    @property
    def loop(self) -> ControlLoop[CephCluster, Observation]:
        """The kind."""
        return ControlLoop(
            resource=CLUSTERS,
            finalizer=deletion.FINALIZER,
            observe=self._observer.observe,
            analyze=lambda _, seen: analyze(seen),
            handlers=lambda _, seen: self._handlers(seen),
            show=show,
            refuse=self._refuse,
            forget=self._forget,
            aside=True,
        )

    def _handlers(self, seen: Observation) -> Mapping[type, Handler]:
        client, ground = self._manager.client, seen.ground
        ways = {
            **children.handlers(self._manager.applier, client, self._caches.children),
            **jobs.handlers(client),
            **identity.handlers(client),
            **deletion.handlers(ground.cluster, client, self._dependents),
        }
        for part, found in seen.parts:
            ways |= part.handlers(ground, found)
        return ways

    def _forget(self, request: Request) -> None:
        """Forgets a cluster that is gone, and its connection, unless another one in its namespace uses that."""
        self._observer.forget(request.namespace)
        if not self._clusters.keys(request.namespace):
            self._connections.close(request.namespace)

    def _refuse(self, cluster: CephCluster) -> CephClusterStatus | None:
        """Refuses a CephCluster beside an older one in its namespace, which has the right to its names."""
        mine = cluster.metadata
        older = [
            other.metadata.name
            for other in self._clusters.list(mine.namespace)
            if (other.metadata.creation_timestamp or "", other.metadata.uid) < (mine.creation_timestamp or "", mine.uid)
        ]
        if not older:
            return None
        message = f"CephCluster {min(older)} is in this namespace already, and there can be only one: delete either"
        return msgspec.structs.replace(cluster.status, phase="Failure", state="Error", message=message)


def show(look: Look[CephCluster], seen: Observation, outcome: Outcome) -> CephClusterStatus:
    """See `controller.framework.kind.ControlLoop`."""
    if is_settled(look.obj.status, look, outcome):
        return look.obj.status
    parts = [part for part, _ in seen.parts]
    return status.build(
        look,
        seen,
        outcome,
        unserved=(*unserved(look.spec), *(path for part in parts for path in part.ignored(look.obj.spec))),
        invalid=(*seen.others, *invalid(look.obj.spec, parts)),
    )


def parts_of(
    manager: Manager, operator: Settings, secrets: Informer[Secret], filesystems: Informer[CephFilesystem]
) -> tuple[Part[Any], ...]:
    """The parts of a cluster, in the order in which they are planned and upgraded.

    Args:
        manager: Writes.
        operator: The operator's settings.
        secrets: The cache of Secrets.
        filesystems: The cache of CephFilesystems.
    """
    client, applier = manager.client, manager.applier
    return (
        mons.part(client, applier),
        mgrs.part(client, applier, Monitors(client, SERVICE_MONITOR, manager.program.name)),
        settings.part(secrets),
        osds.part(client, applier, operator, Reservations(time.monotonic)),
        users.part(applier, filesystems),
        ciphers.PART,
    )


def register(
    manager: Manager,
    operator: Settings,
    connections: Connections,
    found: ClusterVolumes,
    dependents: Sequence[Dependent[HasMetadata]],
) -> None:
    """Has `manager` reconcile CephClusters.

    Args:
        manager: The process.
        operator: The operator's settings.
        connections: Ways to the clusters.
        found: The PersistentVolumes of clusters.
        dependents: The kinds whose objects use the cluster of their namespace.
    """
    clusters = manager.informers.informer(CLUSTERS, CephCluster)
    caches = Caches(manager.informers, operator.operator_namespace)
    filesystems = manager.informers.informer(resource_of(CEPH_FILESYSTEM), CephFilesystem)
    parts = parts_of(manager, operator, caches.secrets, filesystems)
    using = Dependents[CephCluster]((*dependents, volumes(found)))
    loop = Clusters(manager, clusters, caches, connections, parts, using).loop
    controller = controller_of(manager, loop, clusters, workers=operator.workers)
    apps = frozenset((version.NAME, cleanup.APP, CONFIG_OVERRIDE)).union(*(part.apps for part in parts))

    neighbours = in_namespace(clusters)

    def of_parts(obj: HasMetadata) -> Iterable[Request]:
        """Objects of another kind that is run in the cluster, such as a file system, are none of its concern."""
        return neighbours(obj) if obj.metadata.labels.get("app") in apps else ()

    def every(_: HasMetadata) -> Iterable[Request]:
        return [Request(cluster.metadata.namespace, cluster.metadata.name) for cluster in clusters.list()]

    def concerned(obj: ConfigMap | Secret) -> Iterable[Request]:
        """ConfigMaps and Secrets of the namespace may be anybody's: ours have the label, and some have a name."""
        meta = obj.metadata
        if CLUSTER_LABEL in meta.labels and meta.labels.get("app") in apps:
            return neighbours(obj)
        named = meta.name in (IDENTITY, ENDPOINTS, CONFIG_OVERRIDE)
        return [
            Request(meta.namespace, cluster.metadata.name)
            for cluster in clusters.list(meta.namespace)
            if named or meta.name in settings.secrets_of(cluster)
        ]

    controller.watch(caches.pods, of_parts, predicate=pod_changed)
    controller.watch(caches.deployments, of_parts, predicate=deployment_changed)
    controller.watch(caches.jobs, of_parts, predicate=job_changed)
    controller.watch(caches.services, of_parts)
    controller.watch(caches.claims, of_parts, predicate=claim_changed)
    controller.watch(caches.budgets, of_parts, predicate=budget_changed)
    controller.watch(caches.config_maps, concerned)
    controller.watch(caches.secrets, concerned)
    watch_users(controller, dependents, neighbours)
    controller.watch(caches.nodes, every, predicate=changed(_of_node))
    controller.watch(caches.reports, every, predicate=devices_changed)
    manager.add(controller)


def _of_node(node: Node) -> tuple[object, ...]:
    """What of a node can matter for placement; kubelets report much more, and often."""
    return node.spec, node.metadata.labels, node.status.addresses, node.ready
