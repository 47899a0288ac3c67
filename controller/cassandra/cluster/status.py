"""`status` of a Cluster: what all kinds show, and racks and members, by what members say. Pure.

What is broken is Degraded beside Ready, with the reason of what weighs most; a cluster with nothing left to do that is
degraded is not ready.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec

from controller.apis.cassandra import ClusterSpec, MemberStatus, RackStatus
from controller.apis.cassandra.served import CLUSTER
from controller.apis.cassandra.status import RackCondition
from controller.apis.meta import Condition
from controller.cassandra.cluster import certificates
from controller.cassandra.cluster.analyze import DOWN, UP, shrunk
from controller.cassandra.cluster.conditions import of_restarts
from controller.cassandra.cluster.repairs import OVERDUE, is_scheduled, overdue, repaired
from controller.cassandra.cluster.spec import effective, hindrances, immutable, upgrade_of
from controller.cassandra.member.ring import Problem, findings, releases
from controller.cassandra.member.roster import Standing
from controller.cassandra.releases import CassandraVersion
from controller.framework import honoured
from controller.framework.status import (
    FAILED,
    INVALID,
    READY,
    Stage,
    Words,
    conditions,
    fields,
    is_settled,
    stage_of,
    timestamp,
    told,
)
from controller.framework.text import MOST, cut, some
from controller.framework.timers import advance
from controller.runtime.conditions import remove_condition

if TYPE_CHECKING:
    from collections.abc import Mapping

    from controller.apis.cassandra import CassandraCluster, ClusterStatus
    from controller.cassandra.cluster.observe import Observation
    from controller.cassandra.member.ring import Finding
    from controller.framework.kind import Look
    from controller.framework.plan import Outcome
    from controller.framework.timers import Facts

WORDS = Words(well="The cluster is as the spec has it", leaving="The Cluster is being deleted")
DEGRADED = "Degraded"
"""A type of condition, and the phase of a cluster with nothing left to do that is not well."""
MAX_NAMED = 3
AWAY_TOO_LONG = "gc_grace_seconds is older"
"""In Cassandra's last words where it does not start for that."""
MOST_MEMBERS = 100
"""Members that a status lists, so that it stays small whatever their number."""
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
    Problem.DISK_FAILURE: "Down",
    Problem.VOLUME_MISMATCH: "Down",
}


def show(look: Look[CassandraCluster], seen: Observation, outcome: Outcome) -> ClusterStatus:
    """See `controller.framework.kind.ControlLoop`."""
    cluster, previous, now = look.obj, look.obj.status, timestamp(look.now)
    if is_settled(previous, look, outcome):
        return previous
    roster = seen.roster
    found = findings(roster, seen.scene) if roster is not None else ()
    run = releases(roster, seen.scene) if roster is not None else ()
    members = _members(cluster, seen, found, now)
    hindered = hindrances(cluster, upgrade_of(cluster, roster, seen.pods))
    wrong = (*immutable(cluster, roster), *shrunk(cluster, seen), *hindered)
    words = replace(WORDS, progressing=_operation(seen))
    degraded = _degraded(found, wrong, outcome, seen)
    certified = certificates.condition(effective(cluster, roster), seen, outcome, look.now)
    renewal_failed = certified is not None and certified.reason == certificates.FAILED
    if certified is None:
        kept = remove_condition(previous.conditions, certificates.CONDITION)
        previous = msgspec.structs.replace(previous, conditions=kept)
    elif renewal_failed and degraded.status == "False":
        degraded = msgspec.structs.replace(certified, type=DEGRADED, status="True")
    stage = stage_of(look, outcome, words)
    if stage.phase == READY and (found or wrong or renewal_failed):
        stage = Stage(DEGRADED, degraded.reason, cut(degraded.message, MOST), "")
    unserved = honoured.unhonoured(look.spec, CLUSTER, ClusterSpec)
    repairs = repaired(previous.repairs, seen)
    if not is_scheduled(seen):
        previous = msgspec.structs.replace(previous, conditions=remove_condition(previous.conditions, OVERDUE))
    told_of = (
        *conditions(stage, words),
        degraded,
        *(of_restarts(effective(cluster, roster), seen) if not hindered else ()),
        *((certified,) if certified is not None else ()),
        *overdue(cluster, seen, repairs),
        honoured.condition(unserved, (), cluster.metadata.generation, invalid=wrong),
    )
    return msgspec.structs.replace(
        previous,
        **fields(previous, look, outcome, stage, told_of),
        message=stage.message,
        founded=previous.founded or (roster is not None and roster.founded),
        version=" to ".join(sorted(run, key=CassandraVersion.parse)),
        storage_compatibility=roster.storage_mode if roster is not None else previous.storage_compatibility,
        member_count=len(roster.members) if roster is not None else 0,
        ready_members=len([member for member in members.values() if member.state == "Normal"]),
        racks=_racks(cluster, seen),
        members=listed(members) if roster is not None else previous.members,
        members_omitted=max(len(members) - MOST_MEMBERS, 0) if roster is not None else previous.members_omitted,
        repairs=repairs,
        timers=advance(previous.timers, _facts(cluster, seen), now),
    )


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


def listed(members: Mapping[str, MemberStatus]) -> dict[str, MemberStatus]:
    """The members that a status lists: first those that are not well."""
    order = sorted(members, key=lambda name: (members[name].state == "Normal", name))
    return {name: members[name] for name in sorted(order[:MOST_MEMBERS])}


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


def _operation(seen: Observation) -> str:
    """What is under way, as the reason of a condition."""
    moving = seen.roster.moving if seen.roster is not None else None
    return f"Member{moving[1].standing}" if moving is not None else WORDS.progressing


def _degraded(found: tuple[Finding, ...], wrong: tuple[str, ...], outcome: Outcome, seen: Observation) -> Condition:
    if found:
        message = some([finding.text for finding in found], MAX_NAMED) + _remedy(found[0], seen)
        return Condition(type=DEGRADED, status="True", reason=found[0].problem, message=cut(message, 2 * MOST))
    if wrong:
        return Condition(type=DEGRADED, status="True", reason=INVALID, message=some(wrong, MAX_NAMED))
    if outcome.failures:
        return Condition(type=DEGRADED, status="True", reason=FAILED, message=told(outcome.failures[0]))
    if seen.auth.default:
        message = "role cassandra, whose password everybody knows, is not locked yet"
        return Condition(type=DEGRADED, status="True", reason="AuthUnsafe", message=message)
    if seen.auth.superuser is False and seen.superuser is not None and seen.auth.default is False:
        message = f"members do not let in role {seen.superuser.user} with the password that the superuser's Secret has"
        return Condition(type=DEGRADED, status="True", reason="SuperuserRefused", message=message)
    return Condition(type=DEGRADED, status="False", reason="AllWell")


def _remedy(finding: Finding, seen: Observation) -> str:
    """What a person can do where a member is lost."""
    if finding.problem is not Problem.MEMBER_DOWN or seen.roster is None or finding.member not in seen.roster.members:
        return ""
    host_id = seen.roster.seats[finding.member].host_id
    why = "where its node or volume is lost for good"
    if AWAY_TOO_LONG in finding.text:
        why = "it was away for longer than deleted rows are remembered, and would bring them back"
    return f"; {why}: give it up in spec.lostMembers: {{member: {finding.member}, hostID: {host_id}}}"
