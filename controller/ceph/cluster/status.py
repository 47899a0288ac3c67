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
from controller.framework import honoured
from controller.framework.children import altered
from controller.framework.plan import Outcome, StepResult, StepState, plan_status
from controller.framework.text import brief, some
from controller.runtime.conditions import is_true, remove_condition, set_conditions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from controller.apis.ceph import CephClusterStatus
    from controller.ceph.cluster.part import Observation, Report

MAX_NAMED = 10
"""Fields or dependents that a condition's message names."""


NAMESPACE_GOES = (
    "the namespace is being deleted: Kubernetes removes daemons and services in it now, whatever the CephCluster's "
    "deletion waits for, and the data stays on devices and in claims that are kept"
)
"""What the message of a CephCluster says whose namespace goes."""


def build(
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
        seen: The last observation.
        outcome: What became of the plan.
        mode: "apply" or "plan".
        unserved: Paths of the spec that are set but not served.
        now: RFC 3339 time.
        invalid: Values of the spec that mean nothing, in words.
    """
    ground, cluster = seen.ground, seen.ground.cluster
    previous, generation = cluster.status, cluster.metadata.generation
    reports = tuple(part.report(ground, found) for part, found in seen.parts)
    steps = plan_status(outcome, previous.plan.steps, now)
    phase, state, message = _phase(seen, outcome, mode)
    conditions = previous.conditions
    if not outcome.failures:
        conditions = remove_condition(conditions, "Failure")
    found = (*(c for report in reports for c in report.conditions), *_conditions(seen, outcome, reports))
    found = tuple(msgspec.structs.replace(c, observed_generation=generation) for c in found)
    fields = honoured.condition(unserved, absent(cluster.spec), generation, invalid=invalid)
    version, upgrade = previous.version, ground.upgrade
    if upgrade.wanted is not None and not upgrade.refusal:
        version = ClusterVersion(image=upgrade.wanted.image, version=str(upgrade.wanted.version))
    fsid = ground.identity.fsid if ground.identity is not None else ""
    own = {name: value for report in reports for name, value in report.fields.items()}
    return msgspec.structs.replace(
        previous,
        observed_generation=generation,
        phase=phase,
        state=state,
        message=message,
        conditions=set_conditions(conditions, (*found, fields), now),
        ceph=ceph_status(ground.health, previous.ceph, fsid, now),
        version=version,
        plan=PlanStatus(mode=mode, observed_generation=generation, steps=steps),
        timers={name: since for report in reports for name, since in report.timers.items()},
        **own,
    )


def _phase(seen: Observation, outcome: Outcome, mode: str) -> tuple[str, str, str]:
    cluster = seen.ground.cluster
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
    kept = [seen.ground.live.get(key) for key in (("Secret", IDENTITY), ("ConfigMap", ENDPOINTS))]
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


def _conditions(seen: Observation, outcome: Outcome, reports: Sequence[Report]) -> tuple[Condition, ...]:
    cluster = seen.ground.cluster
    deleting = cluster.metadata.deletion_timestamp is not None
    waiting = _next(outcome)
    failure = outcome.failures[0] if outcome.failures else None
    if deleting:
        ready = ("False", "ClusterDeleting", "The CephCluster is being deleted")
    elif failure is not None:
        ready = ("False", "ReconcileFailed", brief(f"{failure.step.subject}: {failure.error}") + _meddled(seen))
    elif waiting:
        ready = ("False", "ClusterProgressing", waiting + _meddled(seen))
    else:
        ready = ("True", "ClusterCreated", f"Cluster created successfully{_beside(seen, reports)}")
    progressing = (
        ("True", "ClusterProgressing", waiting) if waiting and not deleting else ("False", "ReconcileSucceeded", "")
    )
    found = {"Progressing": progressing, "Ready": ready}
    if failure is not None:
        found["Failure"] = ("True", "ReconcileFailed", ready[2])
    if deleting or is_true(cluster.status.conditions, "Deleting"):
        found["Deleting"] = ("True" if deleting else "False", "ClusterDeleting", waiting)
        if seen.dependents:
            named = some(seen.dependents, MAX_NAMED)
            found["DeletionIsBlocked"] = ("True", "ObjectHasDependents", f"to be deleted first: {named}")
        else:
            found["DeletionIsBlocked"] = ("False", "ObjectHasNoDependents", "")
    return tuple(Condition(type=t, status=s, reason=r, message=m) for t, (s, r, m) in found.items())


def _beside(seen: Observation, reports: Sequence[Report]) -> str:
    """What a cluster that is as its spec wants it reports all the same."""
    told = "".join(f"; {report.beside}" for report in reports if report.beside)
    health = seen.ground.health
    if health is not None and health.status == HEALTH_ERR:
        told += f"; Ceph reports {HEALTH_ERR} ({', '.join(health.errors)})"
    return told + _meddled(seen)


def _meddled(seen: Observation) -> str:
    """What does not become as it is applied, as the end of a message; empty where all does."""
    others = altered(seen.ground.live)
    if not others:
        return ""
    more = f" (and {len(others) - 1} more)" if len(others) > 1 else ""
    return f"; something changes what is applied, such as an admission webhook: {brief(others[0])}{more}"
