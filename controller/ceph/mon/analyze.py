"""Mons: who the members are, where they run, and how their number changes without ever losing the quorum.

The ConfigMap `rook-ceph-mon-endpoints` says who the members are; everything else follows it. A mon is added by entering
it there before it starts, and removed by taking it out there before it leaves the monmap, so that an operator that dies
in between goes on where it was. Members change one at a time, and only while the others have a majority.

A mon's identity is the address of its Service (the node's with host networking). Its data is on a claim, or in
`dataDirHostPath` of the node that it is bound to.
"""

from __future__ import annotations

import base64
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from controller.ceph.access.identity import PROTECTION
from controller.ceph.access.mons import ENDPOINTS, Endpoints, Mon, MonState, id_name, id_number
from controller.ceph.cluster.version import declared
from controller.ceph.mon.objects import (
    BUDGET,
    JOINED,
    MAX_ID_ANNOTATION,
    budget,
    claim,
    config_secret,
    endpoints_config_map,
    mon_deployment,
    service,
)
from controller.ceph.pods import MON_CONFIG, Daemon, is_kept, kept_by
from controller.framework.children import Apply, Create, Live, delete, ensure, explain
from controller.framework.duration import duration_or
from controller.framework.membership import Add, Members, Remove, next_change
from controller.framework.placement import HOSTNAME_LABEL, eligible
from controller.framework.plan import Step
from controller.framework.pods import trouble
from controller.framework.rollout import Member, Policy, decide
from controller.runtime.kube import DEPLOYMENT, PDB, PVC, SERVICE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Set

    from controller.apis.ceph.cluster import MonSpec
    from controller.ceph.pods import Context
    from controller.runtime.kube import Deployment, Node, Pod
    from informers import JsonObject

NOT_IN_QUORUM = "not in quorum"
"""Reason of the step that waits for a mon."""
OUT_OF_QUORUM = "MonOutOfQuorum"
"""Topic of the timers by which mons are replaced."""
MAJORITY = "enough other mons in quorum to keep the majority without it"
FAILOVER_TIMEOUT = 600.0
"""Seconds out of quorum after which a mon is replaced; upstream's default."""
ONE_AT_A_TIME = Policy()


@dataclass(frozen=True, slots=True, kw_only=True)
class MonObservation:
    """What `analyze` decides by.

    Attributes:
        endpoints: The members; None when the ConfigMap does not exist.
        state: What the mons say; None when they do not answer, for want of a quorum or of any mon.
        nodes: All nodes by name.
        deployments: The mons' Deployments by mon id.
        pods: The mons' pods by mon id.
        live: The objects of the cluster's namespace.
        seconds_out: For how long each mon has been out of quorum, as far as is known.
        remnants: What there is of the cluster beside its mons, in words: it was made by mons that there were before.
    """

    endpoints: Endpoints | None = None
    state: MonState | None = None
    nodes: Mapping[str, Node] = field(default_factory=dict)
    deployments: Mapping[str, Deployment] = field(default_factory=dict)
    pods: Mapping[str, tuple[Pod, ...]] = field(default_factory=dict)
    live: Live = field(default_factory=dict)
    seconds_out: Mapping[str, float] = field(default_factory=dict)
    remnants: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class StartMon:
    """Enter a new mon as a member and start it: `objects` in this order. Without objects: not yet possible."""

    mon_id: str
    node: str
    objects: tuple[JsonObject, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class DropClaim:
    """Delete the claim of a mon that is no member any more, which is protected from all others."""

    mon_id: str
    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class RetireMon:
    """Take a mon out of the members: `objects` in this order. It leaves the monmap and is deleted after that."""

    mon_id: str
    objects: tuple[JsonObject, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class RemoveFromMonmap:
    """Take a mon that is no member any more out of the monmap."""

    mon_id: str


def analyze(spec: MonSpec, context: Context, seen: MonObservation, *, hold: str = "") -> tuple[Step, ...]:
    """What to do for the cluster's mons. Pure.

    Args:
        spec: What is wanted of them.
        context: The cluster.
        seen: What is there.
        hold: What has to happen before a mon that runs is restarted; empty: nothing.
    """
    problem = invalid(spec, context)
    if problem:
        return (Step(subject="mons", reason="the spec cannot be carried out", waits_for=problem),)
    endpoints = seen.endpoints or recover(seen)
    before = _mons_before(endpoints, seen)
    if before:
        reason = f"ConfigMap {ENDPOINTS} names none, and a mon made now would know nothing of the cluster's data"
        waits_for = f"the members to be entered there again, as from a backup: there were mons before, by {before}"
        return (Step(subject="mons", reason=reason, waits_for=waits_for),)
    steps = [*_shared_objects(context, endpoints, seen)]
    steps += _members(spec, context, endpoints, seen, hold)
    steps += _leavers(spec, endpoints, seen)
    # One that joins while an upgrade has to wait runs what the others run.
    oldest = min(declared(seen.deployments.values()), key=lambda found: found.version, default=context.release)
    steps += _change(spec, replace(context, release=oldest) if hold else context, endpoints, seen)
    return tuple(steps)


def invalid(spec: MonSpec, context: Context) -> str:
    """What of the spec has to change before mons can be run; empty when nothing has."""
    if not context.data_dir and spec.volume_claim_template is None:
        return "spec.dataDirHostPath is empty and spec.mon.volumeClaimTemplate too: set one, for the mons' data"
    if context.data_dir.rstrip("/") in ("/etc/ceph", "/rook", "/var/log/ceph"):
        return f"spec.dataDirHostPath is {context.data_dir}, which pods use for something else: choose another"
    if context.host_network and spec.allow_multiple_per_node:
        return (
            "spec.mon.allowMultiplePerNode is true, but mons with host networking need the node's ports for themselves"
        )
    return ""


def recover(seen: MonObservation) -> Endpoints:
    """The members by what runs, for when the ConfigMap that lists them was deleted.

    A new mon by an id that was there before would find that one's store, and maybe its place in the monmap. So the
    newest id is looked for in all that only members ever had (a Service comes before its mon is one).
    """
    mons: list[Mon] = []
    for mon_id in sorted(seen.deployments, key=id_number):
        live = seen.live.get(("Deployment", Daemon(type="mon", id=mon_id).name))
        if live is None:
            continue
        pod = live["spec"]["template"]["spec"]
        hostname = pod.get("nodeSelector", {}).get(HOSTNAME_LABEL, "")
        node = next((n for n, o in seen.nodes.items() if o.metadata.labels.get(HOSTNAME_LABEL) == hostname), "")
        address = next(
            (a.partition("=")[2] for a in pod["containers"][0].get("args", ()) if a.startswith("--public-addr=")), ""
        )
        if address:
            on_claim = any("persistentVolumeClaim" in volume for volume in pod["volumes"]) and bool(hostname)
            mons.append(Mon(mon_id, address, node or hostname, hostname, on_claim))
    noted = seen.live.get(("Secret", MON_CONFIG), {}).get("metadata", {}).get("annotations", {})
    used = [int(noted.get(MAX_ID_ANNOTATION, -1)), *map(id_number, (*seen.deployments, *_claimed(seen.live)))]
    return Endpoints(tuple(mons), max(used))


def _mons_before(endpoints: Endpoints, seen: MonObservation) -> str:
    """How it is known that there were mons, where no member is known; empty: the cluster is new, or has members.

    A first mon makes an empty map of OSDs. With the fsid and keys of those before, nothing tells it from theirs.
    """
    if endpoints.mons:
        return ""
    noted = f"ConfigMap {ENDPOINTS}, Secret {MON_CONFIG} or what is left of it"
    newest = [f"id {id_name(endpoints.max_id)} (by {noted})"] if endpoints.max_id >= 0 else []
    return ", ".join([*newest, *seen.remnants])


def _shared_objects(context: Context, endpoints: Endpoints, seen: MonObservation) -> Iterator[Step]:
    if not endpoints.mons:
        return
    yield from ensure(seen.live, endpoints_config_map(context, endpoints), subject="mons", lane="mon endpoints")
    yield from ensure(seen.live, config_secret(context, endpoints, _joined(seen)), subject="mons", lane="mon endpoints")
    wanted = budget(context, endpoints)
    found = seen.live.get(("PodDisruptionBudget", BUDGET))
    if wanted is not None:
        yield from ensure(seen.live, wanted, subject="mons", lane="mon disruption budget")
    elif found is not None:
        yield delete(PDB, found, subject="mons", reason="too few mons to lose one", lane="mon disruption budget")


def _joined(seen: MonObservation) -> frozenset[str]:
    """The mons that have been in quorum: that are now, or were once by the Secret that says so."""
    noted = seen.live.get(("Secret", MON_CONFIG), {}).get("data", {}).get(JOINED, "")
    in_quorum = seen.state.in_quorum if seen.state is not None else frozenset()
    return in_quorum | set(base64.b64decode(noted).decode().split(","))


def _members(spec: MonSpec, context: Context, endpoints: Endpoints, seen: MonObservation, hold: str) -> Iterator[Step]:
    in_quorum = seen.state.in_quorum if seen.state is not None else frozenset()
    wanted = {mon.id: mon_deployment(spec, context, mon) for mon in endpoints.mons}
    why = {mon.id: explain(wanted[mon.id], seen.live.get(("Deployment", mon.daemon.name))) for mon in endpoints.mons}
    waits = decide([_restart(mon, bool(why[mon.id]), seen) for mon in endpoints.mons], ONE_AT_A_TIME, hold=hold).waits
    for mon in endpoints.mons:
        subject = f"mon {mon.id}"
        if not context.host_network:
            known = ("Service", mon.daemon.name) in seen.live
            yield from ensure(
                seen.live, service(context, mon.id, address="" if known else mon.address), subject=subject
            )
        yield from _claim_of(spec, context, mon, seen.live)
        if is_kept(seen.deployments.get(mon.id)):
            if why[mon.id] or mon.id not in in_quorum:
                yield Step(subject=subject, reason=why[mon.id] or NOT_IN_QUORUM, waits_for=kept_by(mon.daemon))
            continue
        if why[mon.id]:
            action, waits_for = Apply(wanted[mon.id]), waits.get(subject, "")
            yield Step(subject=subject, action=action, reason=why[mon.id], waits_for=waits_for)
        if mon.id not in in_quorum:
            # Also where it is about to be restarted, or that has to wait.
            yield _wait_for_quorum(mon, seen)


def _restart(mon: Mon, differs: bool, seen: MonObservation) -> Member:
    """A mon as one that is restarted in turn."""
    found = seen.deployments.get(mon.id)
    well = found is not None and found.rolled_out
    in_quorum = seen.state is not None and mon.id in seen.state.in_quorum
    out = "" if in_quorum else "to be in quorum, as mons are restarted one at a time"
    return Member(
        name=f"mon {mon.id}",
        outdated=differs and found is not None and not is_kept(found),
        serves=in_quorum or (seen.state is None and well),
        awaited=out if well else "to be restarted",
    )


def out_of_quorum(seen: MonObservation) -> frozenset[str] | None:
    """The members that are not in quorum, whatever else is to be done for them; None while the mons do not answer.

    One that somebody works on does not count: it gets its time to come back from when that ends.
    """
    if seen.state is None or seen.endpoints is None:
        return None
    kept = {mon_id for mon_id, found in seen.deployments.items() if is_kept(found)}
    return frozenset(seen.endpoints.ids) - seen.state.in_quorum - kept


def _wait_for_quorum(mon: Mon, seen: MonObservation) -> Step:
    if mon.node and mon.node not in seen.nodes:
        waits_for = f"a mon to take its place: node {mon.node} does not exist any more"
    else:
        waits_for = trouble(seen.pods.get(mon.id, ()), seen.deployments.get(mon.id)) or "the mon to join"
    return Step(subject=f"mon {mon.id}", reason=NOT_IN_QUORUM, waits_for=waits_for)


def _claim_of(spec: MonSpec, context: Context, mon: Mon, live: Live) -> Iterator[Step]:
    wanted = claim(spec, context, mon.id) if mon.has_claim else None
    if wanted is None:
        return
    name, found = f"{PVC.kind} {mon.daemon.name}", live.get((PVC.kind, mon.daemon.name))
    if found is None:
        yield Step(subject=f"mon {mon.id}", action=Create(wanted), reason=f"{name} does not exist")
        return
    meta = found["metadata"]
    if meta.get("deletionTimestamp") is None and PROTECTION not in meta.get("finalizers", ()):
        # As one of an earlier release. Nothing else of a claim is changed.
        own = {key: wanted["metadata"][key] for key in ("name", "namespace", "finalizers")}
        action = Apply({"apiVersion": PVC.api_version, "kind": PVC.kind, "metadata": own})
        yield Step(subject=f"mon {mon.id}", action=action, reason=f"{name} is not protected from deletion")


def _leavers(spec: MonSpec, endpoints: Endpoints, seen: MonObservation) -> Iterator[Step]:
    """Mons that are no members any more: out of the monmap first, then their objects."""
    state = seen.state
    if state is None or not endpoints.mons:
        return
    unknown = set(_unknown(spec, endpoints, state))
    left = {mon_id for mon_id in _claimed(seen.live) if mon_id not in state.monmap}
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


def _claimed(live: Live) -> Iterator[str]:
    """The mons that have claims, members or not."""
    prefix = Daemon(type="mon", id="").name
    return (name.removeprefix(prefix) for kind, name in live if kind == PVC.kind and name.startswith(prefix))


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


def _change(spec: MonSpec, context: Context, endpoints: Endpoints, seen: MonObservation) -> Iterator[Step]:
    """The next change of the members: grow to the wanted number, shrink to it, or put one in another's place."""
    standing = _standing(context, endpoints, seen)
    match next_change(spec.count, standing):
        case Add(missing, instead_of):
            exist = f"{len(endpoints.mons)} of {spec.count} mons exist"
            reason = f"in the place of mon {instead_of}, which is lost" if instead_of else exist
            in_the_way = _in_the_way(spec, context, endpoints, seen, standing)
            if in_the_way:
                reason = f"{reason}; no other node has room for one"
                yield _retire(spec, context, endpoints, seen, Remove(in_the_way), standing, reason)
            else:
                yield from _grow(spec, context, endpoints, seen, standing, missing, reason)
        case Remove() as change:
            reason = f"{len(endpoints.mons)} mons exist, {spec.count} are wanted"
            yield _retire(spec, context, endpoints, seen, change, standing, reason)


def _standing(context: Context, endpoints: Endpoints, seen: MonObservation) -> Members:
    """The members by how they are."""
    state, kept = seen.state, frozenset(m.id for m in endpoints.mons if is_kept(seen.deployments.get(m.id)))
    if state is None:
        return Members(ids=endpoints.ids, joined=_joined(seen), kept=kept)
    return Members(
        ids=endpoints.ids,
        healthy=state.in_quorum.intersection(endpoints.ids),
        lost=frozenset(_lost(context, endpoints, seen)) - kept,
        joined=_joined(seen) | set(state.monmap),
        kept=kept,
    )


def _lost(context: Context, endpoints: Endpoints, seen: MonObservation) -> list[str]:
    """Members that another mon should take the place of: out of quorum for too long, or without their node."""
    health = context.health.daemon_health.mon
    timeout = duration_or(health.timeout, FAILOVER_TIMEOUT)
    if seen.state is None or health.disabled or timeout == 0:
        return []
    found: list[str] = []
    for mon in endpoints.mons:
        if mon.id in seen.state.in_quorum:
            continue
        if (mon.node and mon.node not in seen.nodes) or seen.seconds_out.get(mon.id, 0.0) >= timeout:
            found.append(mon.id)
    return found


def _in_the_way(spec: MonSpec, context: Context, endpoints: Endpoints, seen: MonObservation, standing: Members) -> str:
    """The lost mon on whose node, which is well, the next one can be, where there is no other node; else empty."""
    if _growth_waits_for(spec, endpoints, seen, standing) or not _choose_node(spec, context, endpoints, seen)[1]:
        return ""
    for mon_id in standing.away:
        node, problem = _choose_node(spec, context, endpoints.without(mon_id), seen)
        if mon_id in standing.lost and not problem and node is not None and node.ready:
            return mon_id
    return ""


def _grow(
    spec: MonSpec,
    context: Context,
    endpoints: Endpoints,
    seen: MonObservation,
    standing: Members,
    missing: int,
    reason: str,
) -> Iterator[Step]:
    waits_for = _growth_waits_for(spec, endpoints, seen, standing)
    planned = endpoints
    for number in range(endpoints.max_id + 1, endpoints.max_id + 1 + missing):
        mon_id = id_name(number)
        subject = f"mon {mon_id}"
        if not context.host_network:
            yield from ensure(seen.live, service(context, mon_id), subject=subject, lane=f"{subject} address")
        node, problem = _choose_node(spec, context, planned, seen)
        if problem:
            yield Step(subject=subject, action=StartMon(mon_id, ""), reason=reason, waits_for=problem)
            return
        address = _address_for(context, mon_id, node, seen.live)
        mon = Mon(mon_id, address, "", "")
        if node is not None:
            on_claim = spec.volume_claim_template is not None
            mon = Mon(mon_id, address, node.metadata.name, _hostname(node), on_claim)
        objects: tuple[JsonObject, ...] = ()
        if address and not waits_for:
            grown = endpoints.with_mon(mon)
            own_claim = claim(spec, context, mon_id) if mon.has_claim else None
            objects = (
                endpoints_config_map(context, grown),
                config_secret(context, grown, _joined(seen)),
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


def _growth_waits_for(spec: MonSpec, endpoints: Endpoints, seen: MonObservation, standing: Members) -> str:
    """What has to happen before one more mon may join; empty: nothing."""
    if not endpoints.mons:
        return ""
    if seen.state is None:
        return "the existing mons to form a quorum"
    if standing.starting:
        return f"{_named(standing.starting)} to be in quorum, as mons join one at a time"
    return _leaver(spec, endpoints, seen.state)


def _leaver(spec: MonSpec, endpoints: Endpoints, state: MonState) -> str:
    """The mons that may leave the monmap now, as what is waited for.

    One that may not, as its vote is needed, holds up nothing: what comes next is to make it dispensable.
    """
    may_leave = [mon_id for mon_id in _unknown(spec, endpoints, state) if state.keeps_quorum_without(mon_id)]
    return f"{_named(may_leave)} to leave the monmap" if may_leave else ""


def _unknown(spec: MonSpec, endpoints: Endpoints, state: MonState) -> list[str]:
    """The mons in the monmap that are not members, nor run by others."""
    known = {*endpoints.ids, *spec.external_mon_ids}
    return sorted(set(state.monmap) - known, key=id_number)


def _retire(
    spec: MonSpec,
    context: Context,
    endpoints: Endpoints,
    seen: MonObservation,
    change: Remove,
    standing: Members,
    reason: str,
) -> Step:
    victim = change.member or _surplus(context, endpoints, seen.nodes, standing.spare)
    rest = endpoints.without(victim)
    action = RetireMon(victim, (endpoints_config_map(context, rest), config_secret(context, rest, _joined(seen))))
    if seen.state is None:
        waits_for = "the mons to form a quorum"
    elif change.after:
        waits_for = f"{_named(change.after)} to be in quorum, so that the majority is kept without mon {victim}"
    elif _leaver(spec, endpoints, seen.state):
        waits_for = _leaver(spec, endpoints, seen.state)
    else:
        gone = (victim, *_unknown(spec, endpoints, seen.state))
        needed = victim in seen.state.in_quorum and not seen.state.keeps_quorum_without(*gone)
        waits_for = MAJORITY if needed else ""
    return Step(subject=f"mon {victim}", action=action, reason=reason, waits_for=waits_for, lane="mon endpoints")


def _surplus(context: Context, endpoints: Endpoints, nodes: Mapping[str, Node], healthy: Set[str]) -> str:
    """Which of too many healthy mons to let go: of the fullest zone, then of the fullest node, then the newest."""
    label = context.zone_label

    def zone(mon: Mon) -> str:
        node = nodes.get(mon.node)
        return "" if node is None else node.metadata.labels.get(label, "")

    zones = Counter(zone(m) for m in endpoints.mons)
    shared = Counter(m.node for m in endpoints.mons if m.node)
    among = [m for m in endpoints.mons if m.id in healthy]
    return max(among, key=lambda m: (zones[zone(m)], shared[m.node], id_number(m.id))).id


def _choose_node(
    spec: MonSpec, context: Context, endpoints: Endpoints, seen: MonObservation
) -> tuple[Node | None, str]:
    """The node for the next mon (None when it is bound to none: the scheduler decides), or why there is none.

    One on a claim is bound to its node only where its address is the node's.
    """
    if spec.volume_claim_template is not None and not context.host_network:
        return None, ""
    fit, rejected = eligible(seen.nodes.values(), context.pods.placement_of("mon"))
    label = context.zone_label
    zones = {zone.name for zone in spec.zones}
    if zones:
        rejected |= {n.metadata.name: f"is in none of mon.zones by its label {label}" for n in fit}
        fit = [n for n in fit if n.metadata.labels.get(label) in zones]
        rejected = {name: reason for name, reason in rejected.items() if name not in {n.metadata.name for n in fit}}
    taken = Counter(m.node for m in endpoints.mons if m.node)
    if not spec.allow_multiple_per_node:
        rejected |= {n.metadata.name: "has a mon already" for n in fit if n.metadata.name in taken}
        fit = [n for n in fit if n.metadata.name not in taken]
    if not fit:
        reasons = "; ".join(f"{name} {reason}" for name, reason in sorted(rejected.items())) or "there are no nodes"
        return None, f"a node for it: {reasons}"
    in_zone = Counter(seen.nodes[m.node].metadata.labels.get(label, "") for m in endpoints.mons if m.node in seen.nodes)
    return min(
        fit,
        key=lambda n: (
            not n.ready,
            in_zone[n.metadata.labels.get(label, "")],
            taken[n.metadata.name],
            n.metadata.name,
        ),
    ), ""


def _address_for(context: Context, mon_id: str, node: Node | None, live: Live) -> str:
    if context.host_network:
        return "" if node is None else internal_address(node, context.network.ip_family)
    found = live.get(("Service", Daemon(type="mon", id=mon_id).name), {})
    address = found.get("spec", {}).get("clusterIP", "")
    return "" if address == "None" else str(address)


def internal_address(node: Node, family: str = "IPv4") -> str:
    """The node's own address of that IP family; empty when it has none."""
    addresses = [a.address for a in node.status.addresses if a.type == "InternalIP"]
    return next((a for a in addresses if (":" in a) == (family == "IPv6")), "")


def _hostname(node: Node) -> str:
    return node.metadata.labels.get(HOSTNAME_LABEL, node.metadata.name)


def _named(mon_ids: Iterable[str]) -> str:
    return " and ".join(f"mon {mon_id}" for mon_id in mon_ids)
