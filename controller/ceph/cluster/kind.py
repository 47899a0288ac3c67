"""CephCluster: the whole cluster's plan, and the reconciler that carries it out.

Order: the image's release, the cluster's identity, mons one by one, and from the first mon in quorum on the mgr, the
settings and the OSDs side by side. An upgrade goes through mons, mgrs and OSDs in this order.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec

from controller.apis.ceph import CEPH_CLUSTER, CephCluster, CephClusterSpec
from controller.ceph.access.health import HEALTH_ERR
from controller.ceph.access.identity import (
    ADMIN_KEYRING,
    AES,
    AES256K,
    IDENTITY,
    MONS_KEYRING,
    PROTECTION,
    keyring,
    keyring_secret,
    mons_keyring,
)
from controller.ceph.access.mons import ENDPOINTS
from controller.ceph.cluster import act as actions
from controller.ceph.cluster import ciphers, deletion, status
from controller.ceph.cluster import settings as config
from controller.ceph.cluster.network import kept
from controller.ceph.cluster.observe import Caches, Observer
from controller.ceph.cluster.served import unmendable_intents, unserved, unserved_intents
from controller.ceph.mgr import analyze as mgr
from controller.ceph.mon import analyze as mon
from controller.ceph.osd import analyze as osd
from controller.ceph.osd import disruption
from controller.ceph.osd.devices import ignored_fields
from controller.ceph.pods import CLUSTER_LABEL, CONFIG_OVERRIDE, cluster_labels, context_of, owner_of
from controller.ceph.rbd import users as csi
from controller.framework.changes import budget_changed, claim_changed, deployment_changed, job_changed, pod_changed
from controller.framework.children import Apply, ensure, is_held
from controller.framework.duration import duration_or, duration_problem
from controller.framework.kind import ControlLoop, controller_of
from controller.framework.patterns import pattern_problem
from controller.framework.plan import Plan, Step
from controller.framework.reports import devices_changed
from controller.framework.status import timestamp
from controller.runtime import Request, resource_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from controller.apis.ceph import CephClusterStatus
    from controller.apis.ceph.storage import Node as StorageNode
    from controller.apis.ceph.storage import StorageScopeSpec
    from controller.ceph.access.rados import Connections
    from controller.ceph.cluster.observe import Observation
    from controller.framework.kind import Look
    from controller.framework.plan import Handler, Outcome
    from controller.framework.settings import Settings
    from controller.runtime import Manager
    from controller.runtime.kube import ConfigMap, Deployment, HasMetadata, Node, Secret
    from informers import Delta, Informer

CLUSTERS = resource_of(CEPH_CLUSTER)

MON_INTERVAL, OSD_INTERVAL, STATUS_INTERVAL = 45.0, 60.0, 60.0
"""Seconds between two looks at a cluster at rest; upstream's defaults."""
LEAST_INTERVAL = 1.0
"""Seconds; a spec that asks for a look more often gets one as often as this."""
SOONEST = 1.0
"""Seconds after which to look again at a cluster that is on its way; later and later where it stands still."""
PATIENCE = 20.0
"""A step that has been waiting for this many times the next pause is looked at after that pause."""


def analyze(cluster: CephCluster, seen: Observation, now: float) -> Plan:
    """The plan for a cluster. Pure.

    Args:
        cluster: What is wanted.
        seen: What is there.
        now: Seconds since the epoch.
    """
    if cluster.metadata.deletion_timestamp is not None:
        return deletion.analyze(cluster, seen)
    steps = tuple(_steps(cluster, seen))
    pauses = (
        _pause(cluster, now) if steps else _interval(cluster),
        disruption.look_again(seen.drains),
    )
    return Plan(steps=steps, look_again=min(pause for pause in pauses if pause is not None))


def _steps(cluster: CephCluster, seen: Observation) -> Iterator[Step]:
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
    if seen.identity is None and unmendable_intents(cluster.spec):
        return
    yield from seen.detection.steps
    if seen.detection.refusal:
        yield Step(subject="Ceph version", reason="the release is refused", waits_for=seen.detection.refusal)
    yield from config.override_steps(owner_of(cluster), seen.live)
    yield from _identity(cluster, seen)
    if seen.identity is None or seen.release is None:
        return
    spec, context = cluster.spec, context_of(cluster, seen.identity.fsid, seen.release)
    hold = _upgrade_waits_for(cluster, seen)
    mons = mon.analyze(spec.mon, context, seen.mons, hold=hold)
    yield from mons
    hold = hold or _behind("mon", seen, mons)
    mgrs = mgr.analyze(spec.mgr, context, seen.mgrs, hold=hold)
    yield from mgrs
    hold = hold or _behind("mgr", seen, mgrs)
    if seen.missing_secrets:
        missing = " and ".join(seen.missing_secrets)
        yield Step(
            subject="settings", reason="spec.cephConfigFromSecret refers to them", waits_for=f"{missing} to exist"
        )
    else:
        yield from config.analyze(cluster, seen.config, seen.secret_values)
    yield from osd.analyze(cluster, context, seen.osds, hold=hold)
    if seen.osds.states is not None:
        yield from disruption.analyze(cluster, seen.drains)
    if seen.mons.state is not None:
        yield from csi.analyze(cluster, seen.live, seen.runs)
        yield from ciphers.analyze(seen.mons.state, seen.runs)


def _intents(cluster: CephCluster) -> Iterator[Step]:
    for path in unserved_intents(cluster.spec):
        yield Step(
            subject=f"spec.{path}",
            reason="this operator does not serve it, and without it the cluster is not what the spec asks for",
            waits_for="it to be taken out of the spec",
        )


def invalid(spec: CephClusterSpec) -> tuple[str, ...]:
    """Values that the API server takes and that mean nothing: the path, what was found, and what counts instead."""
    health = spec.health_check.daemon_health
    checks = "healthCheck.daemonHealth"
    found = [
        duration_problem(f"{checks}.mon.interval", health.mon.interval, MON_INTERVAL),
        duration_problem(f"{checks}.mon.timeout", health.mon.timeout, mon.FAILOVER_TIMEOUT),
        duration_problem(f"{checks}.osd.interval", health.osd.interval, OSD_INTERVAL),
        duration_problem(f"{checks}.status.interval", health.status.interval, STATUS_INTERVAL),
        pattern_problem(
            "disruptionManagement.pgHealthyRegex",
            spec.disruption_management.pg_healthy_regex,
            f"{disruption.HEALTHY} counts",
        ),
    ]
    scopes: list[tuple[str, StorageScopeSpec | StorageNode]] = [("storage", spec.storage)]
    scopes += [(f"storage.nodes[{index}]", node) for index, node in enumerate(spec.storage.nodes)]
    for path, scope in scopes:
        found.append(pattern_problem(f"{path}.deviceFilter", scope.device_filter))
        found.append(pattern_problem(f"{path}.devicePathFilter", scope.device_path_filter))
    found += [
        f"mgr.modules[{index}].name: it is empty, so that no module is switched on or off: name it, or take it out"
        for index, module in enumerate(spec.mgr.modules)
        if not module.name
    ]
    if spec.mon.count % 2 == 0 and not spec.external.enable:
        better = spec.mon.count - 1
        found.append(
            f"mon.count: {spec.mon.count} mons can lose no more of them than {better}: an odd number is better"
        )
    return tuple(filter(None, found))


def _identity(cluster: CephCluster, seen: Observation) -> Iterator[Step]:
    if seen.identity_problem:
        yield Step(subject="cluster", reason="its identity cannot be read", waits_for=seen.identity_problem)
        return
    owner = owner_of(cluster)
    labels = cluster_labels(owner, "rook-ceph-mon")
    if seen.identity is None:
        if seen.mons.endpoints is not None or seen.mons.deployments or seen.mons.remnants:
            waits_for = f"Secret {IDENTITY} to be restored from a backup: mons exist, and no other key opens their data"
            yield Step(subject="cluster", reason=f"Secret {IDENTITY} is missing", waits_for=waits_for)
            return
        meta = owner.metadata(IDENTITY, labels, owned=False, finalizers=[PROTECTION])
        known = seen.release is not None
        newer = seen.release is not None and seen.release.version.knows_aes256k
        yield Step(
            subject="cluster",
            action=actions.CreateIdentity(meta, AES256K if newer else AES),
            reason="the cluster has no fsid and no keys yet",
            waits_for="" if known else "the image's release to be known, which the type of its keys goes by",
        )
        return
    for name, text in (
        (MONS_KEYRING, mons_keyring(seen.identity)),
        (ADMIN_KEYRING, keyring(seen.identity.admin_user, seen.identity.admin_key)),
    ):
        secret = keyring_secret(owner.metadata(name, labels), text)
        yield from ensure(seen.live, secret, subject="cluster", lane=name)


def _upgrade_waits_for(cluster: CephCluster, seen: Observation) -> str:
    """Why an upgrade may not go on, for any daemon; empty when there is none, or it may."""
    upgrading = any(release != seen.release for release in seen.running)
    if not upgrading or cluster.spec.skip_upgrade_checks:
        return ""
    codes = ", ".join(seen.health.obstacles) if seen.health is not None else ""
    return f"the cluster to leave {HEALTH_ERR} ({codes}), or spec.skipUpgradeChecks" if codes else ""


def _behind(kind: str, seen: Observation, steps: Iterable[Step]) -> str:
    """What daemons of the next kind have to wait for: those of this kind that are not restarted yet.

    Args:
        kind: "mon" or "mgr".
        seen: What is there.
        steps: The plan for daemons of this kind.
    """
    deployments = seen.mons.deployments if kind == "mon" else seen.mgrs.deployments
    image = seen.release.image if seen.release is not None else ""
    to_apply = {s.action.obj["metadata"]["name"] for s in steps if isinstance(s.action, Apply)}

    def is_late(found: Deployment) -> bool:
        name = found.metadata.name
        if not found.rolled_out:
            return True
        # Where something puts another image in what is applied, that is as far as it comes.
        as_far_as_it_comes = is_held(seen.live, ("Deployment", name)) and name not in to_apply
        return not as_far_as_it_comes and any(c.image != image for c in found.spec.template.spec.containers)

    late = sorted(daemon_id for daemon_id, found in deployments.items() if is_late(found))
    return f"{kind} {late[0]} to be restarted" if late else ""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """What a look at a CephCluster found.

    Attributes:
        cluster: The cluster as it can be: its mons keep their network, whatever the spec says by now.
        others: What its spec has otherwise, in words.
        seen: What there is.
        now: When, in seconds since the epoch.
    """

    cluster: CephCluster
    others: tuple[str, ...]
    seen: Observation
    now: float


class Clusters:
    """CephClusters, and what they are looked at and changed through.

    Args:
        manager: Writes and records.
        clusters: The cache of CephClusters.
        caches: The caches of everything else.
        connections: Ways to the clusters.
        settings: Of the operator.
    """

    def __init__(
        self,
        manager: Manager,
        clusters: Informer[CephCluster],
        caches: Caches,
        connections: Connections,
        settings: Settings,
    ) -> None:
        self._manager = manager
        self._clusters = clusters
        self._caches = caches
        self._connections = connections
        self._observer = Observer(caches, connections, settings, manager.applier)

    @property
    def loop(self) -> ControlLoop[CephCluster, Looked]:
        """The kind."""
        return ControlLoop(
            resource=CLUSTERS,
            finalizer=deletion.FINALIZER,
            observe=self._observe,
            analyze=lambda _, looked: analyze(looked.cluster, looked.seen, looked.now),
            handlers=self._handlers,
            show=show,
            refuse=self._refuse,
            forget=self._forget,
            aside=True,
        )

    async def _observe(self, cluster: CephCluster, now: float) -> Looked:
        cluster, others = kept(cluster, self._observer.network(cluster.metadata.namespace))
        return Looked(cluster=cluster, others=others, seen=await self._observer.observe(cluster, now), now=now)

    def _handlers(self, _: CephCluster, looked: Looked) -> Mapping[type, Handler]:
        return actions.handlers(looked.cluster, looked.seen, self._manager, self._caches, self._connections)

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


def show(look: Look[CephCluster], looked: Looked, outcome: Outcome) -> CephClusterStatus:
    """See `controller.framework.kind.ControlLoop`."""
    present, spec = look.obj.status, look.obj.spec
    settled = present.phase == "Ready" and present.observed_generation == look.obj.metadata.generation
    # What mends a settled cluster by itself need not make it look unsettled: the next look, at once, decides that.
    if settled and outcome.changed and not outcome.failures:
        return present
    return status.build(
        looked.cluster,
        looked.seen,
        outcome,
        mode=look.mode,
        unserved=(*unserved(look.spec), *ignored_fields(spec.storage)),
        invalid=(*looked.others, *invalid(spec)),
        now=timestamp(look.now),
    )


def register(manager: Manager, settings: Settings, connections: Connections) -> None:
    """Has `manager` reconcile CephClusters."""
    clusters = manager.informers.informer(CLUSTERS, CephCluster)
    caches = Caches(manager.informers, settings.operator_namespace)
    loop = Clusters(manager, clusters, caches, connections, settings).loop
    controller = controller_of(manager, loop, clusters, workers=settings.workers)

    def in_namespace(obj: HasMetadata) -> Iterable[Request]:
        return [Request(*key) for key in clusters.keys(obj.metadata.namespace)]

    def every(_: HasMetadata) -> Iterable[Request]:
        return [Request(cluster.metadata.namespace, cluster.metadata.name) for cluster in clusters.list()]

    def concerned(obj: ConfigMap | Secret) -> Iterable[Request]:
        """ConfigMaps and Secrets of the namespace may be anybody's: ours have the label, and some have a name."""
        meta = obj.metadata
        ours = CLUSTER_LABEL in meta.labels or meta.name in (IDENTITY, ENDPOINTS, CONFIG_OVERRIDE)
        return [
            Request(meta.namespace, cluster.metadata.name)
            for cluster in clusters.list(meta.namespace)
            if ours or meta.name in config.secrets_of(cluster)
        ]

    controller.watch(caches.pods, in_namespace, predicate=pod_changed)
    controller.watch(caches.deployments, in_namespace, predicate=deployment_changed)
    controller.watch(caches.jobs, in_namespace, predicate=job_changed)
    controller.watch(caches.services, in_namespace)
    controller.watch(caches.claims, in_namespace, predicate=claim_changed)
    controller.watch(caches.budgets, in_namespace, predicate=budget_changed)
    controller.watch(caches.config_maps, concerned)
    controller.watch(caches.secrets, concerned)
    controller.watch(caches.pools, in_namespace, predicate=_appeared_or_went)
    controller.watch(caches.nodes, every, predicate=_node_changed)
    controller.watch(caches.reports, every, predicate=devices_changed)
    manager.add(controller)


def _appeared_or_went(delta: Delta[Any]) -> bool:
    return delta.old is None or delta.new is None


def _node_changed(delta: Delta[Node]) -> bool:
    """Whether a change of a node can matter for placement; kubelets report much more, and often."""
    old, new = delta.old, delta.new
    if old is None or new is None:
        return True
    return (
        old.spec != new.spec
        or old.metadata.labels != new.metadata.labels
        or old.status.addresses != new.status.addresses
        or old.ready != new.ready
    )
