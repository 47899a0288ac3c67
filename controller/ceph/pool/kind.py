"""CephBlockPool: the reconciler that brings pools to what their specs ask for.

The plan is made in `pool_plan`; the questions to the cluster and the commands are in `pool_ceph`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import msgspec
import structlog

from controller.apis.ceph import CEPH_BLOCK_POOL, CEPH_CLUSTER, CephBlockPool, CephCluster
from controller.apis.ceph.status import CephBlockPoolStatus
from controller.apis.meta import Condition
from controller.apis.plan import PlanStatus
from controller.ceph.access.health import HEALTH_ERR, obstacles
from controller.ceph.access.rados import CephError
from controller.ceph.pool.act import contents_of, handlers, observe
from controller.ceph.pool.analyze import (
    FORCE_ANNOTATION,
    MAX_NAMED,
    DeletePool,
    PoolObservation,
    analyze,
    is_erasure_coded,
    kept,
    pool_name,
    problems,
    unserved,
)
from controller.framework import honoured
from controller.framework.consent import NoConsentError, read_deleted
from controller.framework.deletion import of_namespace
from controller.framework.kind import ControlLoop, controller_of
from controller.framework.plan import PLAN_ONLY, Outcome, StepState, plan_status
from controller.framework.status import timestamp
from controller.framework.text import some
from controller.runtime import Request, resource_of
from controller.runtime.conditions import remove_condition, set_conditions

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from controller.ceph.access.rados import Connections
    from controller.framework.deletion import Dependent
    from controller.framework.kind import Look
    from controller.framework.plan import Handler
    from controller.framework.settings import Settings
    from controller.runtime import Manager
    from controller.runtime.kube import HasMetadata
    from informers import Client, Delta, Informer, InformerFactory

log = structlog.get_logger(__name__)

POOLS = resource_of(CEPH_BLOCK_POOL)
CLUSTERS = resource_of(CEPH_CLUSTER)
FINALIZER = "cephblockpool.ceph.rook.io"
TYPES = {True: "Erasure Coded", False: "Replicated"}
"""What `status.info.type` says of a pool, by whether it is erasure-coded."""


@dataclass(frozen=True, slots=True)
class Pools:
    """CephBlockPools, and what they are looked at and changed through.

    Attributes:
        client: Asks the API server for consent.
        clusters: The cache of CephClusters.
        connections: Ways to the clusters.
    """

    client: Client
    clusters: Informer[CephCluster]
    connections: Connections

    async def observe(self, pool: CephBlockPool, _: float) -> PoolObservation:
        """What the cluster says of a pool, or why it cannot be asked."""
        namespace = pool.metadata.namespace
        clusters = self.clusters.list(namespace)
        if not clusters:
            return PoolObservation(waits_for=f"a CephCluster in namespace {namespace}", cluster_gone=True)
        cluster, ceph = clusters[0], self.connections.get(namespace)
        health, name = cluster.status.ceph.health, f"CephCluster {cluster.metadata.name}"
        if ceph is None or not health:
            return PoolObservation(waits_for=f"{name} to answer")
        codes = ", ".join(obstacles(cluster.status.ceph))
        try:
            seen = await observe(ceph, pool)
            if codes:
                seen = replace(seen, hold=f"{name} to leave {HEALTH_ERR} ({codes})")
            if pool.metadata.deletion_timestamp is not None and seen.state is not None and not pool.spec.name:
                seen = replace(seen, contents=await contents_of(ceph, pool_name(pool)))
        except CephError as error:
            log.info("Cluster does not answer", pool=pool.metadata.name, namespace=namespace, error=str(error))
            return PoolObservation(waits_for=f"{name} to answer")
        return seen

    def handlers(self, pool: CephBlockPool, _: PoolObservation) -> dict[type, Handler]:
        """How the actions of a pool's plan are carried out; none while there is no way to the cluster."""
        ceph = self.connections.get(pool.metadata.namespace)
        if ceph is None:
            return {}
        ways = handlers(ceph)
        delete = with_consent(self.client, pool, lambda: contents_of(ceph, pool_name(pool)), ways[DeletePool])
        return {**ways, DeletePool: delete}


def with_consent(
    client: Client, pool: CephBlockPool, contents: Callable[[], Awaitable[tuple[str, ...]]], delete: Handler
) -> Handler:
    """`delete` for a pool that is empty, or is to go with its images, at that moment.

    Args:
        client: Asks the API server whether it, too, has the CephBlockPool as one that is to go.
        pool: The CephBlockPool.
        contents: Asks the cluster what is in the pool.
        delete: Deletes the pool.
    """

    async def delete_pool(action: DeletePool) -> None:
        meta = (await read_deleted(client, POOLS, pool))["metadata"]
        name = f"CephBlockPool {meta['namespace']}/{meta['name']}"
        if action.forced and meta.get("annotations", {}).get(FORCE_ANNOTATION) != "true":
            raise NoConsentError(f'{name}: annotation {FORCE_ANNOTATION} is not "true" any more: the images stay')
        found = () if action.forced else await contents()
        if found:
            raise NoConsentError(f"{name}: the pool has {some(found, MAX_NAMED)} by now: it stays")
        await delete(action)

    return delete_pool


def status(
    pool: CephBlockPool,
    seen: PoolObservation,
    outcome: Outcome,
    *,
    mode: str,
    unserved: Sequence[str],
    now: str,
) -> CephBlockPoolStatus:
    """The status to show, equal to the present one where nothing changed. Pure.

    Args:
        pool: The pool as it was reconciled.
        seen: What was there.
        outcome: What became of the plan.
        mode: "apply" or "plan".
        unserved: Paths of the spec that are set but not served.
        now: RFC 3339 time.
    """
    previous, generation = pool.status, pool.metadata.generation
    phase, ready = _phase(pool, outcome, mode)
    found = [ready, _fields_honoured(unserved, kept(pool, seen), generation)]
    conditions = previous.conditions
    if pool.metadata.deletion_timestamp is not None:
        found += _blocked(seen, outcome)
    else:
        for condition in ("DeletionIsBlocked", "PoolDeletionIsBlocked"):
            conditions = remove_condition(conditions, condition)
    found = [msgspec.structs.replace(condition, observed_generation=generation) for condition in found]
    info = {"type": TYPES[is_erasure_coded(pool.spec)], "failureDomain": pool.spec.failure_domain}
    return msgspec.structs.replace(
        previous,
        observed_generation=generation,
        phase=phase,
        pool_id=seen.state.pool_id if seen.state is not None else previous.pool_id,
        info={**(previous.info or {}), **info},
        conditions=set_conditions(conditions, found, now),
        plan=PlanStatus(
            mode=mode, observed_generation=generation, steps=plan_status(outcome, previous.plan.steps, now)
        ),
    )


def _phase(pool: CephBlockPool, outcome: Outcome, mode: str) -> tuple[str, Condition]:
    left = [result for result in outcome.results if result.state is not StepState.DONE]
    deleting = pool.metadata.deletion_timestamp is not None
    phase, reason, message = "Ready", "ReconcileSucceeded", "The pool is as the spec has it"
    ready = "True"
    if deleting:
        phase, ready, reason, message = "Deleting", "False", "Deleting", "The CephBlockPool is being deleted"
    elif problems(pool.spec):
        phase, ready, reason, message = "Failure", "False", "InvalidSpec", "; ".join(problems(pool.spec))
    elif outcome.failures:
        failure = outcome.failures[0]
        phase, ready, reason = "Failure", "False", "ReconcileFailed"
        message = f"{failure.step.title} {failure.step.subject}: {failure.error}"
    elif left:
        phase, ready, reason = "Progressing", "False", "ReconcileStarted"
        planned = "Only planned, not carried out: " if mode == PLAN_ONLY else ""
        step = left[0].step
        waits = f"; waits for {step.waits_for}" if step.waits_for else ""
        message = f"{planned}{step.subject}: {step.reason}{waits}"
    return phase, Condition(type="Ready", status=ready, reason=reason, message=message)


def _fields_honoured(unserved: Sequence[str], differing: Sequence[str], generation: int) -> Condition:
    found = honoured.condition(unserved, (), generation)
    if not differing:
        return found
    message = "; ".join([*differing, *([found.message] if found.message else [])])
    return msgspec.structs.replace(found, status="False", reason="ImmutableFieldsDiffer", message=message)


def _blocked(seen: PoolObservation, outcome: Outcome) -> list[Condition]:
    """Whether the deletion is held back by what is in the pool, in upstream's two conditions."""
    held = any(result.state is StepState.NEEDS_CONSENT for result in outcome.results)
    if not held:
        return [
            Condition(type="DeletionIsBlocked", status="False", reason="ObjectHasNoDependents"),
            Condition(type="PoolDeletionIsBlocked", status="False", reason="PoolEmpty"),
        ]
    consent = next(result.step.consent for result in outcome.results if result.step.consent)
    message = f"The pool has {some(seen.contents, MAX_NAMED)}: delete them, or set {consent}"
    return [
        Condition(type="DeletionIsBlocked", status="True", reason="ObjectHasDependents", message=message),
        Condition(type="PoolDeletionIsBlocked", status="True", reason="PoolNotEmpty", message=message),
    ]


def show(look: Look[CephBlockPool], seen: PoolObservation, outcome: Outcome) -> CephBlockPoolStatus:
    """See `controller.framework.kind.ControlLoop`."""
    return status(look.obj, seen, outcome, mode=look.mode, unserved=unserved(look.spec), now=timestamp(look.now))


def dependents(informers: InformerFactory) -> Dependent[HasMetadata]:
    """CephBlockPools as what uses the cluster of their namespace."""
    return of_namespace(informers.informer(POOLS, CephBlockPool))


def register(manager: Manager, settings: Settings, connections: Connections) -> None:
    """Has `manager` reconcile CephBlockPools."""
    pools = manager.informers.informer(POOLS, CephBlockPool)
    clusters = manager.informers.informer(CLUSTERS, CephCluster)
    own = Pools(manager.client, clusters, connections)
    loop = ControlLoop(
        resource=POOLS, finalizer=FINALIZER, observe=own.observe, analyze=analyze, handlers=own.handlers, show=show
    )
    controller = controller_of(manager, loop, pools, workers=settings.workers)

    def in_namespace(cluster: CephCluster) -> Iterable[Request]:
        return [Request(*key) for key in pools.keys(cluster.metadata.namespace)]

    controller.watch(clusters, in_namespace, predicate=_health_changed)
    manager.add(controller)


def _health_changed(delta: Delta[CephCluster]) -> bool:
    """Whether a CephCluster came, went, or can be asked now when it could not before, or the other way round."""
    old, new = delta.old, delta.new
    if old is None or new is None:
        return True
    before, after = old.status, new.status
    return (
        obstacles(before.ceph) != obstacles(after.ceph)
        or before.ceph.health != after.ceph.health
        or before.storage.device_classes != after.storage.device_classes
    )
