"""How the number of mons changes, and who takes the place of whom, without ever losing the quorum.

Which member comes or goes next, `controller.ceph.mon.majority` says. Here is what that takes: a node, an address and
a claim for one that comes; for one that goes, to be out of the list of members, then of the monmap, then its objects.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from controller.ceph.access.identity import PROTECTION
from controller.ceph.access.mons import Endpoints, Mon, id_name, id_number
from controller.ceph.mon.act import DropClaim, RemoveFromMonmap, RetireMon, StartMon
from controller.ceph.mon.majority import Add, Members, Remove, next_change
from controller.ceph.mon.nodes import address_for, choose_node, surplus
from controller.ceph.mon.objects import claim, config_secret, endpoints_config_map, mon_deployment, service
from controller.ceph.mon.observe import claimed, joined
from controller.ceph.pods import Daemon, is_kept
from controller.framework.children import delete, ensure
from controller.framework.duration import duration_or
from controller.framework.placement import hostname
from controller.framework.plan import Step
from controller.framework.rollout import Leave
from controller.runtime.kube import DEPLOYMENT, PVC, SERVICE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from controller.apis.ceph.mon import MonSpec
    from controller.ceph.access.mons import MonState
    from controller.ceph.mon.observe import MonObservation
    from controller.ceph.pods import Context
    from controller.framework.children import Live
    from informers import JsonObject

MAJORITY = "enough other mons in quorum to keep the majority without it"
FAILOVER_TIMEOUT = 600.0
"""Seconds out of quorum after which a mon is replaced; upstream's default."""


@dataclass(frozen=True, slots=True)
class Group:
    """The mons of a cluster: what is wanted of them, and what there is.

    Attributes:
        spec: What is wanted.
        context: The cluster.
        endpoints: The members.
        seen: What there is of them.
    """

    spec: MonSpec
    context: Context
    endpoints: Endpoints
    seen: MonObservation

    @property
    def unknown(self) -> list[str]:
        """The mons in the monmap that are not members, nor run by others."""
        state, known = self.seen.state, {*self.endpoints.ids, *self.spec.external_mon_ids}
        return sorted(set(state.monmap) - known, key=id_number) if state is not None else []

    @property
    def leaver(self) -> str:
        """The mons that may leave the monmap now, as what is waited for.

        One that may not, as its vote is needed, holds up nothing: what comes next is to make it dispensable.
        """
        state = self.seen.state
        may_leave = [mon_id for mon_id in self.unknown if state is not None and state.keeps_quorum_without(mon_id)]
        return f"{_named(may_leave)} to leave the monmap" if may_leave else ""


def change(group: Group) -> Iterator[Step]:
    """The next change of the members: grow to the wanted number, shrink to it, or put one in another's place."""
    standing, count, members = _standing(group), group.spec.count, len(group.endpoints.mons)
    match next_change(count, standing):
        case Add(missing, instead_of):
            exist = f"{members} of {count} mons exist"
            reason = f"in the place of mon {instead_of}, which is lost" if instead_of else exist
            in_the_way = _in_the_way(group, standing)
            if in_the_way:
                reason = f"{reason}; no other node has room for one"
                yield _retire(group, Remove(in_the_way), standing, reason)
            else:
                yield from _grow(group, standing, missing, reason)
        case Remove() as found:
            yield _retire(group, found, standing, f"{members} mons exist, {count} are wanted")


def leave(group: Group) -> Leave | None:
    """Which mons may be restarted while members come or go; None: none does, and there is nobody to be asked.

    A mon that does not come back after its restart is replaced, and where no other node is free, it goes first. Then
    all that are left are well, and none of them may follow it before its successor is. Nor is one restarted without
    which those in quorum are no majority of the monmap, where one may still be that has died.
    """
    state = group.seen.state
    missing = isinstance(next_change(group.spec.count, _standing(group)), Add)
    if state is None or not (missing or group.unknown):
        return None
    if missing and not choose_node(group.spec, group.context, group.endpoints, group.seen)[1]:
        return Leave((), f"mon {id_name(group.endpoints.max_id + 1)} joins first")
    spare = (i for i in group.endpoints.ids if 2 * len(state.in_quorum - {i}) > len(state.monmap))
    return Leave([f"mon {mon_id}" for mon_id in spare], "the other mons are too few for a majority")


def leavers(group: Group) -> Iterator[Step]:
    """Mons that are no members any more: out of the monmap first, then their objects."""
    state, endpoints, seen = group.seen.state, group.endpoints, group.seen
    if state is None or not endpoints.mons:
        return
    unknown = set(group.unknown)
    left = {mon_id for mon_id in claimed(seen.live) if mon_id not in state.monmap}
    ours = {mon_id for mon_id in (*seen.deployments, *left) if mon_id not in endpoints.ids}
    leaving = ""
    for mon_id in sorted(unknown | ours, key=id_number):
        subject = f"mon {mon_id}"
        if mon_id in unknown:
            waits_for = f"mon {leaving} to leave the monmap" if leaving else ""
            if not state.keeps_quorum_without(mon_id):
                waits_for = MAJORITY
            leaving = leaving or ("" if waits_for else mon_id)
            yield Step(
                subject=subject,
                action=RemoveFromMonmap(mon_id),
                reason="in the monmap, but not a member",
                waits_for=waits_for,
            )
        yield from _remains(mon_id, seen.live)


def _remains(mon_id: str, live: Live) -> Iterator[Step]:
    name = Daemon(type="mon", id=mon_id).name
    for resource in (DEPLOYMENT, SERVICE):
        found = live.get((resource.kind, name))
        if found is not None and found["metadata"].get("deletionTimestamp") is None:
            yield delete(resource, found, subject=f"mon {mon_id}", reason=f"{resource.kind} of a mon that was removed")
    meta = live.get((PVC.kind, name), {}).get("metadata")
    if meta is not None and (meta.get("deletionTimestamp") is None or PROTECTION in meta.get("finalizers", ())):
        action = DropClaim(mon_id, name, meta["uid"])
        yield Step(subject=f"mon {mon_id}", action=action, reason=f"{PVC.kind} of a mon that was removed")


def _standing(group: Group) -> Members:
    """The members by how they are."""
    seen, ids = group.seen, group.endpoints.ids
    state, kept = seen.state, frozenset(mon_id for mon_id in ids if is_kept(seen.deployments.get(mon_id)))
    if state is None:
        return Members(ids=ids, joined=joined(seen), kept=kept)
    return Members(
        ids=ids,
        healthy=state.in_quorum.intersection(ids),
        lost=frozenset(_lost(group, state)) - kept,
        joined=joined(seen) | set(state.monmap),
        kept=kept,
    )


def _lost(group: Group, state: MonState) -> Iterator[str]:
    """Members that another mon should take the place of: out of quorum for too long, or without their node."""
    seen, health = group.seen, group.context.health.daemon_health.mon
    timeout = duration_or(health.timeout, FAILOVER_TIMEOUT)
    if health.disabled or timeout == 0:
        return
    for mon in group.endpoints.mons:
        without_node = mon.node and mon.node not in seen.nodes
        if mon.id not in state.in_quorum and (without_node or seen.seconds_out.get(mon.id, 0.0) >= timeout):
            yield mon.id


def _in_the_way(group: Group, standing: Members) -> str:
    """The lost mon on whose node, which is well, the next one can be, where there is no other node; else empty."""
    spec, context, seen = group.spec, group.context, group.seen
    if _growth_waits_for(group, standing) or not choose_node(spec, context, group.endpoints, seen)[1]:
        return ""
    for mon_id in standing.away:
        node, problem = choose_node(spec, context, group.endpoints.without(mon_id), seen)
        if mon_id in standing.lost and not problem and node is not None and node.ready:
            return mon_id
    return ""


def _grow(group: Group, standing: Members, missing: int, reason: str) -> Iterator[Step]:
    spec, context, endpoints, live = group.spec, group.context, group.endpoints, group.seen.live
    waits_for = _growth_waits_for(group, standing)
    planned = endpoints
    for number in range(endpoints.max_id + 1, endpoints.max_id + 1 + missing):
        mon_id = id_name(number)
        subject = f"mon {mon_id}"
        if not context.host_network:
            yield from ensure(live, service(context, mon_id), subject=subject, lane=f"{subject} address")
        node, problem = choose_node(spec, context, planned, group.seen)
        if problem:
            yield Step(subject=subject, action=StartMon(mon_id, ""), reason=reason, waits_for=problem)
            return
        address = address_for(context, mon_id, node, live)
        mon = Mon(mon_id, address, "", "")
        if node is not None:
            on_claim = spec.volume_claim_template is not None
            mon = Mon(mon_id, address, node.metadata.name, hostname(node), on_claim)
        objects: tuple[JsonObject, ...] = ()
        if address and not waits_for:
            grown = endpoints.with_mon(mon)
            own_claim = claim(spec, context, mon_id) if mon.has_claim else None
            objects = (
                endpoints_config_map(context, grown),
                config_secret(context, grown, joined(group.seen)),
                *(() if own_claim is None else (own_claim,)),
                mon_deployment(spec, context, mon),
            )
        yield Step(
            subject=subject,
            action=StartMon(mon_id, mon.node, objects),
            reason=reason,
            waits_for=waits_for or ("" if address else f"an address for Service {mon.daemon.name}"),
        )
        waits_for = waits_for or f"mon {mon_id} to be in quorum"
        planned = planned.with_mon(mon)


def _growth_waits_for(group: Group, standing: Members) -> str:
    """What has to happen before one more mon may join; empty: nothing."""
    if not group.endpoints.mons:
        return ""
    if group.seen.state is None:
        return "the existing mons to form a quorum"
    if standing.starting:
        return f"{_named(standing.starting)} to be in quorum, as mons join one at a time"
    return group.leaver


def _retire(group: Group, found: Remove, standing: Members, reason: str) -> Step:
    endpoints, seen, context = group.endpoints, group.seen, group.context
    victim = found.member or surplus(context, endpoints, seen.nodes, standing.spare)
    rest = endpoints.without(victim)
    action = RetireMon(victim, (endpoints_config_map(context, rest), config_secret(context, rest, joined(seen))))
    if seen.state is None:
        waits_for = "the mons to form a quorum"
    elif found.after:
        waits_for = f"{_named(found.after)} to be in quorum, so that the majority is kept without mon {victim}"
    elif group.leaver:
        waits_for = group.leaver
    else:
        gone = (victim, *group.unknown)
        needed = victim in seen.state.in_quorum and not seen.state.keeps_quorum_without(*gone)
        waits_for = MAJORITY if needed else ""
    return Step(subject=f"mon {victim}", action=action, reason=reason, waits_for=waits_for, lane="mon endpoints")


def _named(mon_ids: Iterable[str]) -> str:
    return " and ".join(f"mon {mon_id}" for mon_id in mon_ids)
