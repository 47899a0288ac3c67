"""`ceph.rook.io/v1beta1` Cluster: the CephCluster that it asks for is made, and kept in step as long as it exists.

The CephCluster has no owner: a Cluster that is deleted leaves it, and with it the data, as it is.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import msgspec

from controller.apis.ceph import CEPH_CLUSTER, CephCluster
from controller.apis.ceph.v1beta1 import CEPH_V1BETA1_CLUSTER, MADE_FROM, Cluster, ClusterStatus, left_out, to_v1
from controller.framework import children
from controller.framework.kind import ControlLoop, controller_of
from controller.framework.plan import Outcome, Plan, Step
from controller.runtime import Request, annotations_changed, generation_changed, resource_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from controller.framework.settings import Settings
    from controller.runtime import Manager
    from informers import Delta, JsonObject

OLD = resource_of(CEPH_V1BETA1_CLUSTER)
NEW = resource_of(CEPH_CLUSTER)


def analyze(cluster: Cluster, found: JsonObject | None) -> Plan:
    """The plan for a Cluster. Pure.

    Args:
        cluster: What was asked for in the old API.
        found: The CephCluster of its name; None when there is none.
    """
    if cluster.metadata.deletion_timestamp is not None:
        return Plan()
    desired = to_v1(cluster)
    name = f"CephCluster {cluster.metadata.name}"
    if found is not None and MADE_FROM not in found["metadata"].get("annotations", {}):
        waits_for = f"this Cluster to be deleted, or {name} to get the annotation {MADE_FROM}: it will be overwritten"
        return Plan(steps=(Step(subject=name, reason="it was not made from this Cluster", waits_for=waits_for),))
    live = {} if found is None else {(CEPH_CLUSTER.kind, cluster.metadata.name): found}
    # The mode is carried over: it is the CephCluster that shows its plan then.
    return Plan(steps=tuple(replace(s, observes=True) for s in children.ensure(live, desired, subject=name)))


def status(cluster: Cluster, made: CephCluster | None, outcome: Outcome) -> ClusterStatus:
    """What the Cluster is to show: the state of its CephCluster, and what could not be asked of it. Pure."""
    held = [r.error or f"{r.step.subject}: {r.step.reason}; waits for {r.step.waits_for}" for r in outcome.held]
    ignored = left_out(cluster)
    told = [*held, *([f"not carried over to the CephCluster: {', '.join(ignored)}"] if ignored else [])]
    state, message = ("Creating", "") if made is None else (made.status.state, made.status.message)
    shown = f"CephCluster {cluster.metadata.name}: {message}" if message else ""
    return msgspec.structs.replace(
        cluster.status, state="Error" if held else state, message="; ".join([*told, *([shown] if shown else [])])
    )


@dataclass(frozen=True, slots=True)
class Seen:
    """The CephCluster of a Cluster's name, as it is stored and as it is read; None where there is none."""

    stored: JsonObject | None
    made: CephCluster | None


def register(manager: Manager, settings: Settings) -> None:
    """Has `manager` reconcile Clusters of v1beta1."""
    # Whoever has not the kind of 2018 in their API server still has the others.
    olds = manager.informers.informer(OLD, Cluster, optional=True)
    news = manager.informers.informer(NEW, CephCluster)

    async def observe(cluster: Cluster, _: float) -> Seen:
        key = cluster.metadata.namespace, cluster.metadata.name
        return Seen(news.raw(*key), news.get(*key))

    ways = children.handlers(manager.applier, manager.client, (news,))
    loop = ControlLoop(
        resource=OLD,
        observe=observe,
        analyze=lambda cluster, seen: analyze(cluster, seen.stored),
        handlers=lambda _, seen: ways,
        show=lambda look, seen, outcome: status(look.obj, seen.made, outcome),
    )
    controller = controller_of(manager, loop, olds, workers=settings.workers, name="cluster-v1beta1")

    def of_its_name(new: CephCluster) -> Iterable[Request]:
        key = new.metadata.namespace, new.metadata.name
        return [Request(*key)] if olds.raw(*key) is not None else []

    controller.watch(news, of_its_name, predicate=_differs)
    manager.add(controller)


def _differs(delta: Delta[CephCluster]) -> bool:
    """Whether a CephCluster came, went, was edited, or says something else than before."""
    old, new = delta.old, delta.new
    if old is None or new is None or generation_changed(delta) or annotations_changed(delta):
        return True
    return (old.status.state, old.status.message) != (new.status.state, new.status.message)
