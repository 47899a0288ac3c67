"""`status` of a CephCluster: conditions, phase and message from the plan and what became of it, and Ceph's own health.

Conditions mean what the API conventions say: Ready is true exactly when nothing is left to do or to wait for. What is
broken and waits for a person, as a dead disk does for weeks, is Degraded beside it.
Phases and states are upstream's words.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from controller.apis.ceph.status import ClusterVersion
from controller.apis.meta import Condition
from controller.apis.plan import PlanStatus
from controller.ceph.access.health import HEALTH_ERR, ceph_status
from controller.ceph.access.identity import IDENTITY
from controller.ceph.access.mons import ENDPOINTS
from controller.ceph.cluster.served import absent
from controller.ceph.mon.analyze import NOT_IN_QUORUM, OUT_OF_QUORUM, out_of_quorum
from controller.ceph.osd import analyze as osd
from controller.ceph.osd import disruption
from controller.framework import honoured
from controller.framework.children import altered
from controller.framework.plan import Outcome, StepResult, StepState, plan_status
from controller.framework.text import brief, some
from controller.framework.timers import advance
from controller.runtime.conditions import is_true, remove_condition, set_conditions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from controller.apis.ceph import CephCluster, CephClusterStatus
    from controller.ceph.cluster.observe import Observation
    from controller.framework.timers import Facts

MAX_NAMED = 10
"""Fields or dependents that a condition's message names."""


NAMESPACE_GOES = (
    "the namespace is being deleted: Kubernetes removes daemons and services in it now, whatever the CephCluster's "
    "deletion waits for, and the data stays on devices and in claims that are kept"
)
"""What the message of a CephCluster says whose namespace goes."""


def timers(cluster: CephCluster) -> dict[str, str]:
    """The timers in the status, which outlive the operator; where an operator before timers wrote it, by its plan."""
    waiting = {
        f"{OUT_OF_QUORUM}/{step.subject.removeprefix('mon ')}": step.since
        for step in cluster.status.plan.steps
        if step.subject.startswith("mon ") and step.action == "Wait" and step.reason == NOT_IN_QUORUM and step.since
    }
    return {**waiting, **cluster.status.timers}


def facts(seen: Observation) -> Facts:
    """What the timers of a cluster's status measure."""
    return {OUT_OF_QUORUM: out_of_quorum(seen.mons)}


def build(
    cluster: CephCluster,
    seen: Observation,
    outcome: Outcome,
    *,
    mode: str,
    unserved: Sequence[str],
    now: str,
    invalid: Sequence[str] = (),
) -> CephClusterStatus:
    """The status to show, equal to the present one where nothing changed.

    Args:
        cluster: The cluster as it was reconciled.
        seen: The last observation.
        outcome: What became of the plan.
        mode: "apply" or "plan".
        unserved: Paths of the spec that are set but not served.
        now: RFC 3339 time.
        invalid: Values of the spec that mean nothing, in words.
    """
    previous, generation = cluster.status, cluster.metadata.generation
    steps = plan_status(outcome, previous.plan.steps, now)
    phase, state, message = _phase(cluster, seen, outcome, mode)
    conditions = previous.conditions
    if not outcome.failures:
        conditions = remove_condition(conditions, "Failure")
    found = [msgspec.structs.replace(c, observed_generation=generation) for c in _conditions(cluster, seen, outcome)]
    found.append(honoured.condition(unserved, absent(cluster.spec), generation, invalid=invalid))
    version = previous.version
    if seen.detection.version is not None and not seen.detection.refusal:
        version = ClusterVersion(image=cluster.spec.ceph_version.image, version=str(seen.detection.version))
    fsid = seen.identity.fsid if seen.identity is not None else ""
    status = msgspec.structs.replace(
        previous,
        observed_generation=generation,
        phase=phase,
        state=state,
        message=message,
        conditions=set_conditions(conditions, found, now),
        ceph=ceph_status(seen.health, previous.ceph, fsid, now),
        version=version,
        plan=PlanStatus(mode=mode, observed_generation=generation, steps=steps),
        timers=advance(timers(cluster), facts(seen), now),
    )
    if seen.release is not None and seen.identity is not None:
        status = msgspec.structs.replace(status, devices=osd.device_status(seen.osds))
    if seen.osds.states is not None:
        status = msgspec.structs.replace(status, storage=osd.storage_status(seen.osds))
    return status


def _phase(cluster: CephCluster, seen: Observation, outcome: Outcome, mode: str) -> tuple[str, str, str]:
    if cluster.metadata.deletion_timestamp is not None:
        waiting = _next(outcome) or "Deleting the CephCluster"
        return "Deleting", "Deleting", f"{NAMESPACE_GOES}; {waiting}" if _namespace_goes(seen) else waiting
    if outcome.failures:
        failure = outcome.failures[0]
        return "Failure", "Error", brief(f"{failure.step.title} {failure.step.subject}: {failure.error}")
    waiting = _next(outcome)
    if not waiting:
        return "Ready", "Created", "Cluster created successfully"
    if mode == "plan":
        return "Progressing", cluster.status.state or "Creating", f"Only planned, not carried out: {waiting}"
    before = cluster.status.state in ("Created", "Updating")
    return "Progressing", "Updating" if before else "Creating", waiting


def _namespace_goes(seen: Observation) -> bool:
    """Whether the namespace is being deleted: what outlives mistaken deletions is all on its way out at once."""
    kept = [seen.live.get(key) for key in (("Secret", IDENTITY), ("ConfigMap", ENDPOINTS))]
    return all(obj is not None and obj["metadata"].get("deletionTimestamp") for obj in kept)


def _next(outcome: Outcome) -> str:
    """The first thing that is left to do or to wait for, in words; empty when nothing is.

    What was done a moment ago counts as left: only the next look can tell whether all is well now.
    """
    left = [r for r in outcome.results if r.state is not StepState.DONE] or list(outcome.results)
    if not left:
        return ""
    more = f" (and {len(left) - 1} more)" if len(left) > 1 else ""
    return brief(_told(left[0])) + more


def _told(result: StepResult) -> str:
    step = result.step
    if result.state is StepState.NEEDS_CONSENT:
        return f"{step.subject}: {step.reason}; needs {step.consent}"
    if step.waits_for:
        return f"{step.subject}: {step.reason}; waits for {step.waits_for}"
    return f"{step.subject}: {step.reason}"


def _conditions(cluster: CephCluster, seen: Observation, outcome: Outcome) -> list[Condition]:
    deleting = cluster.metadata.deletion_timestamp is not None
    waiting = _next(outcome)
    if seen.mons.state is not None:
        quorum = len(seen.mons.state.in_quorum)
        connected = ("True", "ClusterConnected", f"{quorum} of {len(seen.mons.state.monmap)} mons are in quorum")
    else:
        connected = ("False", "ClusterConnecting", "No mon answers")
    failure = outcome.failures[0] if outcome.failures else None
    if deleting:
        ready = ("False", "ClusterDeleting", "The CephCluster is being deleted")
    elif failure is not None:
        ready = ("False", "ReconcileFailed", brief(f"{failure.step.subject}: {failure.error}") + _meddled(seen))
    elif waiting:
        ready = ("False", "ClusterProgressing", waiting + _meddled(seen))
    else:
        ready = ("True", "ClusterCreated", f"Cluster created successfully{_beside(seen)}")
    progressing = (
        ("True", "ClusterProgressing", waiting) if waiting and not deleting else ("False", "ReconcileSucceeded", "")
    )
    found = {"Connected": connected, "Progressing": progressing, "Ready": ready}
    if seen.osds.states is not None:
        found["Degraded"] = _degraded(cluster, seen)
    if failure is not None:
        found["Failure"] = ("True", "ReconcileFailed", ready[2])
    if deleting or is_true(cluster.status.conditions, "Deleting"):
        found["Deleting"] = ("True" if deleting else "False", "ClusterDeleting", waiting)
        if seen.dependents:
            named = some(seen.dependents, MAX_NAMED)
            found["DeletionIsBlocked"] = ("True", "ObjectHasDependents", f"to be deleted first: {named}")
        else:
            found["DeletionIsBlocked"] = ("False", "ObjectHasNoDependents", "")
    return [Condition(type=t, status=s, reason=r, message=m) for t, (s, r, m) in found.items()]


def _degraded(cluster: CephCluster, seen: Observation) -> tuple[str, str, str]:
    """Whether the cluster lacks something that it had, and nothing is to be done but what a person may do."""
    drained = disruption.drained(cluster, seen.drains)
    down = [f"osd.{number} is down, waits for {why}" for number, why in osd.lost(seen.osds).items()]
    if not down and not drained:
        return "False", "AllOSDsUp", ""
    return (
        "True",
        "FailureDomainDrained" if drained else "OSDsDown",
        brief("; ".join(filter(None, (drained, some(down, MAX_NAMED))))),
    )


def _beside(seen: Observation) -> str:
    """What a cluster that is as its spec wants it reports all the same."""
    down = len(osd.lost(seen.osds))
    told = f"; {down} OSDs are down (condition Degraded)" if down else ""
    if seen.health is not None and seen.health.status == HEALTH_ERR:
        told += f"; Ceph reports {HEALTH_ERR} ({', '.join(seen.health.errors)})"
    return told + _meddled(seen)


def _meddled(seen: Observation) -> str:
    """What does not become as it is applied, as the end of a message; empty where all does."""
    others = altered(seen.live)
    if not others:
        return ""
    more = f" (and {len(others) - 1} more)" if len(others) > 1 else ""
    return f"; something changes what is applied, such as an admission webhook: {brief(others[0])}{more}"
