"""`status` of a Cluster: conditions, racks and members, from the plan and what members say. Pure.

Ready is true exactly when nothing is left to do or to wait for. What is broken is Degraded beside it, with the reason
of what weighs most.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from controller.apis.cassandra import ClusterSpec, MemberStatus, RackStatus
from controller.apis.cassandra.served import CLUSTER
from controller.apis.cassandra.status import RackCondition
from controller.apis.meta import Condition
from controller.apis.plan import PlanStatus
from controller.cassandra.cluster import certificates
from controller.cassandra.cluster.analyze import DOWN, UP, shrunk
from controller.cassandra.cluster.spec import effective, hindrances, immutable, minor
from controller.cassandra.member.ring import Problem, findings, releases
from controller.cassandra.member.roster import Standing
from controller.framework import honoured
from controller.framework.plan import PLAN_ONLY, StepState, plan_status
from controller.framework.status import timestamp
from controller.framework.text import MOST, cut, some
from controller.framework.timers import advance
from controller.runtime.conditions import remove_condition, set_conditions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from controller.apis.cassandra import CassandraCluster, ClusterStatus
    from controller.cassandra.cluster.observe import Observation
    from controller.cassandra.member.ring import Finding
    from controller.framework.kind import Look
    from controller.framework.plan import Outcome, StepResult
    from controller.framework.timers import Facts

MAX_NAMED = 3
_COMING = {
    Standing.FOUNDING: "Joining",
    Standing.JOINING: "Joining",
    Standing.REPLACING: "Replacing",
    Standing.LEAVING: "Leaving",
    Standing.LEFT: "Left",
    Standing.STOPPING: "Left",
}
_BROKEN = {
    Problem.MEMBER_ZOMBIE: "Zombie",
    Problem.MEMBER_LEFT: "Left",
    Problem.MEMBER_DOWN: "Down",
    Problem.VOLUME_MISMATCH: "Down",
}


def show(look: Look[CassandraCluster], seen: Observation, outcome: Outcome) -> ClusterStatus:
    """See `controller.framework.kind.ControlLoop`."""
    cluster, now = look.obj, timestamp(look.now)
    previous, generation, roster = cluster.status, cluster.metadata.generation, seen.roster
    found = findings(roster, seen.scene) if roster is not None else ()
    members = _members(cluster, seen, found, now)
    wrong = (*immutable(cluster, roster), *shrunk(cluster, seen), *hindrances(cluster, roster))
    phase, message = _phase(cluster, outcome, look.mode)
    degraded = _degraded(found, wrong, outcome, seen)
    certified = certificates.condition(effective(cluster, roster), seen, outcome, look.now)
    renewal_failed = certified is not None and certified.reason == certificates.FAILED
    if certified is not None and renewal_failed and degraded.status == "False":
        degraded = replace(certified, type="Degraded", status="True")
    if phase == "Ready" and (found or wrong or renewal_failed):
        phase, message = "Degraded", cut(degraded.message, MOST)
    conditions = previous.conditions
    if cluster.metadata.deletion_timestamp is None:
        conditions = remove_condition(conditions, "Deleting")
    if certified is None:
        conditions = remove_condition(conditions, certificates.CONDITION)
    served = honoured.unhonoured(look.spec, CLUSTER, ClusterSpec)
    told = [*_conditions(cluster, phase, message, seen, degraded)]
    if certified is not None:
        told.append(certified)
    told = [replace(condition, observed_generation=generation) for condition in told]
    told.append(honoured.condition(served, (), generation, invalid=wrong))
    normal = [member for member in members.values() if member.state == "Normal"]
    return replace(
        previous,
        observed_generation=generation,
        phase=phase,
        message=message,
        founded=previous.founded or (roster is not None and roster.founded),
        version=" to ".join(sorted(releases(roster, seen.scene), key=_order)) if roster is not None else "",
        member_count=len(roster.members) if roster is not None else 0,
        ready_members=len(normal),
        racks=_racks(cluster, seen),
        members=members,
        conditions=set_conditions(conditions, told, now),
        timers=advance(previous.timers, _facts(cluster, seen), now),
        plan=PlanStatus(
            mode=look.mode, observed_generation=generation, steps=plan_status(outcome, previous.plan.steps, now)
        ),
    )


def _order(version: str) -> tuple[str, str]:
    return minor(version), version


def _facts(cluster: CassandraCluster, seen: Observation) -> Facts:
    """What the timers measure: since when members have been serving, or not, or have an old certificate."""
    names = seen.roster.members if seen.roster is not None else {}
    up = {name for name in names if seen.scene.of(name).serves}
    return {
        UP: up,
        DOWN: names.keys() - up,
        certificates.STALE: certificates.stale(effective(cluster, seen.roster), seen),
    }


def _racks(cluster: CassandraCluster, seen: Observation) -> dict[str, RackStatus]:
    """As in 2018: members of each rack, those that serve, and whether one leaves."""
    seats = seen.roster.seats if seen.roster is not None else {}
    names = [rack.name for rack in cluster.spec.datacenter.racks]
    found: dict[str, RackStatus] = {}
    for rack in dict.fromkeys([*names, *(seat.rack for seat in seats.values())]):
        own = {name: seat for name, seat in seats.items() if seat.rack == rack}
        leaves = any(seat.standing in (Standing.LEAVING, Standing.LEFT, Standing.STOPPING) for seat in own.values())
        found[rack] = RackStatus(
            members=len(own),
            ready_members=len([name for name in own if seen.scene.of(name).serves]),
            conditions=(RackCondition(type="MemberLeaving", status="True"),) if leaves else (),
        )
    return found


def _members(
    cluster: CassandraCluster, seen: Observation, found: tuple[Finding, ...], now: str
) -> dict[str, MemberStatus]:
    members: dict[str, MemberStatus] = {}
    previous: Mapping[str, MemberStatus] = cluster.status.members
    for name, seat in (seen.roster.seats if seen.roster is not None else {}).items():
        own, pod = seen.scene.of(name), seen.pods.get(name)
        state, message = _state(name, seat.standing, seen, found)
        before = previous.get(name)
        members[name] = MemberStatus(
            rack=seat.rack,
            host_id=seat.host_id,
            address=own.address,
            state=state,
            since=before.since if before is not None and before.state == state else now,
            message=cut(message, MOST),
            node=pod.spec.node_name if pod is not None else "",
            version=own.state.release if own.state is not None else (before.version if before is not None else ""),
        )
    return members


def _state(name: str, standing: Standing, seen: Observation, found: tuple[Finding, ...]) -> tuple[str, str]:
    """How a member is, and why it is not well."""
    own = seen.scene.of(name)
    if standing is not Standing.MEMBER:
        coming = standing in (Standing.FOUNDING, Standing.JOINING, Standing.REPLACING)
        if own.state is None and coming:
            return "Pending", (own.look.report.message if own.look is not None else "") or own.trouble
        return _COMING[standing], ""
    broken = next((f for f in found if f.member == name and f.problem in _BROKEN), None)
    if broken is not None:
        return _BROKEN[broken.problem], broken.text
    unseen = [f for f in found if f.problem is Problem.PEERS_DISAGREE and f.text.endswith(f"does not see {name} up")]
    return ("Unseen", unseen[0].text) if unseen else ("Normal", "")


def _phase(cluster: CassandraCluster, outcome: Outcome, mode: str) -> tuple[str, str]:
    left = [result for result in outcome.results if result.state is not StepState.DONE]
    if cluster.metadata.deletion_timestamp is not None:
        return "Deleting", _told(left[0], mode) if left else "The Cluster is being deleted"
    if outcome.failures:
        failure = outcome.failures[0]
        return "Failure", cut(f"{failure.step.title} {failure.step.subject}: {failure.error}", MOST)
    if left:
        return "Progressing", cut(_told(left[0], mode), MOST)
    if outcome.changed:
        return "Progressing", "The cluster is being brought to what the spec asks for"
    return "Ready", "The cluster is as the spec has it"


def _told(result: StepResult, mode: str) -> str:
    step = result.step
    planned = "Only planned, not carried out: " if mode == PLAN_ONLY else ""
    waits = f"; waits for {step.waits_for}" if step.waits_for else ""
    consent = f"; needs {step.consent}" if step.consent else ""
    return f"{planned}{step.subject}: {step.reason}{waits}{consent}"


def _conditions(
    cluster: CassandraCluster,
    phase: str,
    message: str,
    seen: Observation,
    degraded: Condition,
) -> tuple[Condition, ...]:
    progressing = phase == "Progressing"
    reasons = {"Ready": "AsSpecified", "Failure": "StepFailed", "Deleting": "Deleting", "Degraded": degraded.reason}
    reason = reasons.get(phase, "Changing")
    conditions = [
        Condition(type="Ready", status=str(phase == "Ready"), reason=reason, message=message),
        Condition(
            type="Progressing",
            status=str(progressing),
            reason=_operation(seen) if progressing else "NothingToDo",
            message=message if progressing else "",
        ),
        degraded,
    ]
    if cluster.metadata.deletion_timestamp is not None:
        conditions.append(Condition(type="Deleting", status="True", reason="DeletionRequested", message=message))
    return tuple(conditions)


def _operation(seen: Observation) -> str:
    """What is under way, in one word."""
    moving = seen.roster.moving if seen.roster is not None else None
    return f"Member{moving[1].standing}" if moving is not None else "Changing"


def _degraded(found: tuple[Finding, ...], wrong: tuple[str, ...], outcome: Outcome, seen: Observation) -> Condition:
    if found:
        message = some([finding.text for finding in found], MAX_NAMED) + _remedy(found[0], seen)
        return Condition(type="Degraded", status="True", reason=found[0].problem, message=cut(message, 2 * MOST))
    if wrong:
        return Condition(type="Degraded", status="True", reason="InvalidSpec", message=some(wrong, MAX_NAMED))
    if outcome.failures:
        failure = outcome.failures[0]
        message = cut(f"{failure.step.title} {failure.step.subject}: {failure.error}", MOST)
        return Condition(type="Degraded", status="True", reason="StepFailed", message=message)
    if seen.auth.default:
        message = "role cassandra, whose password everybody knows, is not locked yet"
        return Condition(type="Degraded", status="True", reason="AuthUnsafe", message=message)
    return Condition(type="Degraded", status="False", reason="AllWell")


def _remedy(finding: Finding, seen: Observation) -> str:
    """What a person can do where a member is lost."""
    if finding.problem is not Problem.MEMBER_DOWN or seen.roster is None or finding.member not in seen.roster.members:
        return ""
    host_id = seen.roster.seats[finding.member].host_id
    return (
        "; where its node or volume is lost for good, give it up in spec.lostMembers: "
        f"{{member: {finding.member}, hostID: {host_id}}}"
    )
