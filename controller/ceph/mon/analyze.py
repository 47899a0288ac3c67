"""Mons: who the members are, where they run, and how their number changes without ever losing the quorum.

The ConfigMap `rook-ceph-mon-endpoints` says who the members are; everything else follows it. A mon is added by entering
it there before it starts, and removed by taking it out there before it leaves the monmap, so that an operator that dies
in between goes on where it was. Members change one at a time, and only while the others have a majority.

A mon's identity is the address of its Service (the node's with host networking). Its data is on a claim, or in
`dataDirHostPath` of the node that it is bound to.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec

from controller.ceph.access.identity import PROTECTION
from controller.ceph.access.mons import ENDPOINTS
from controller.ceph.crash import trouble
from controller.ceph.mon import membership
from controller.ceph.mon.membership import Group
from controller.ceph.mon.objects import (
    APP,
    budgets,
    claim,
    claim_size,
    config_secret,
    endpoints_config_map,
    mon_deployment,
    service,
)
from controller.ceph.mon.observe import NOT_IN_QUORUM, joined, mons_before, recover
from controller.ceph.pods import declared, is_kept, kept_by
from controller.framework import disruption
from controller.framework.children import Apply, Create, ensure, explain
from controller.framework.claims import grow, too_large
from controller.framework.plan import Step
from controller.framework.rollout import Leave, Member, Policy, decide
from controller.runtime.kube import PVC, PersistentVolumeClaim

if TYPE_CHECKING:
    from collections.abc import Iterator

    from controller.apis.ceph.mon import MonSpec
    from controller.ceph.access.mons import Endpoints, Mon
    from controller.ceph.mon.observe import MonObservation
    from controller.ceph.pods import Context

ONE_AT_A_TIME = Policy()


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
    before = mons_before(endpoints, seen)
    if before:
        reason = f"ConfigMap {ENDPOINTS} names none, and a mon made now would know nothing of the cluster's data"
        waits_for = f"the members to be entered there again, as from a backup: there were mons before, by {before}"
        return (Step(subject="mons", reason=reason, waits_for=waits_for),)
    # One that joins while an upgrade has to wait runs what the others run.
    oldest = min(declared(seen.deployments.values()), key=lambda found: found.version, default=context.release)
    group = Group(spec, replace(context, release=oldest) if hold else context, endpoints, seen)
    return (
        *_shared_objects(context, endpoints, seen),
        *_members(spec, context, endpoints, seen, hold, membership.leave(group)),
        *membership.leavers(group),
        *membership.change(group),
    )


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


def _shared_objects(context: Context, endpoints: Endpoints, seen: MonObservation) -> Iterator[Step]:
    if not endpoints.mons:
        return
    yield from ensure(seen.live, endpoints_config_map(context, endpoints), subject="mons", lane="mon endpoints")
    yield from ensure(seen.live, config_secret(context, endpoints, joined(seen)), subject="mons", lane="mon endpoints")
    yield from disruption.keep(
        seen.live,
        budgets(context, endpoints),
        owner=context.owner,
        app=APP,
        subject="mons",
        lane="mon disruption budget",
        why_gone="too few mons to lose one",
    )


def _members(
    spec: MonSpec, context: Context, endpoints: Endpoints, seen: MonObservation, hold: str, leave: Leave | None
) -> Iterator[Step]:
    in_quorum = seen.state.in_quorum if seen.state is not None else frozenset()
    wanted = {mon.id: mon_deployment(spec, context, mon) for mon in endpoints.mons}
    why = {mon.id: explain(wanted[mon.id], seen.live.get(("Deployment", mon.daemon.name))) for mon in endpoints.mons}
    members = [_restart(mon, bool(why[mon.id]), seen) for mon in endpoints.mons]
    waits = decide(members, ONE_AT_A_TIME, hold=hold, leave=leave)
    for mon in endpoints.mons:
        subject = f"mon {mon.id}"
        if not context.host_network:
            known = ("Service", mon.daemon.name) in seen.live
            yield from ensure(
                seen.live, service(context, mon.id, address="" if known else mon.address), subject=subject
            )
        yield from _claim_of(spec, context, mon, seen)
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


def _wait_for_quorum(mon: Mon, seen: MonObservation) -> Step:
    if mon.node and mon.node not in seen.nodes:
        waits_for = f"a mon to take its place: node {mon.node} does not exist any more"
    else:
        waits_for = trouble(seen.pods.get(mon.id, ()), seen.deployments.get(mon.id)) or "the mon to join"
    return Step(subject=f"mon {mon.id}", reason=NOT_IN_QUORUM, waits_for=waits_for)


def _claim_of(spec: MonSpec, context: Context, mon: Mon, seen: MonObservation) -> Iterator[Step]:
    wanted = claim(spec, context, mon.id) if mon.has_claim else None
    if wanted is None:
        return
    subject = f"mon {mon.id}"
    name, found = f"{PVC.kind} {mon.daemon.name}", seen.live.get((PVC.kind, mon.daemon.name))
    if found is None:
        yield Step(subject=subject, action=Create(wanted), reason=f"{name} does not exist")
        return
    meta = found["metadata"]
    if meta.get("deletionTimestamp") is None and PROTECTION not in meta.get("finalizers", ()):
        # As one of an earlier release. Nothing else of a claim is changed, but that it grows.
        own = {key: wanted["metadata"][key] for key in ("name", "namespace", "finalizers")}
        action = Apply({"apiVersion": PVC.api_version, "kind": PVC.kind, "metadata": own})
        yield Step(subject=subject, action=action, reason=f"{name} is not protected from deletion")
    yield from grow(msgspec.convert(found, PersistentVolumeClaim), claim_size(spec), seen.classes, subject=subject)


def oversized(spec: MonSpec, seen: MonObservation) -> Iterator[str]:
    """The claims of members that have more than the spec wants, in words."""
    for mon in seen.endpoints.mons if seen.endpoints is not None else ():
        found = seen.live.get((PVC.kind, mon.daemon.name)) if mon.has_claim else None
        if found is not None and (told := too_large(msgspec.convert(found, PersistentVolumeClaim), claim_size(spec))):
            yield told
