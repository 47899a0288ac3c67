"""Mgrs: one active and perhaps one that stands by, their keys and modules, and the Service that finds the active one.

The operator itself labels the active mgr's pod (`mgr_role`), so that no container in the pod needs access to the API.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from controller.ceph.access import users
from controller.ceph.access.modules import DisableModule, EnableModule
from controller.ceph.access.users import CreateKeyring
from controller.ceph.crash import trouble
from controller.ceph.mgr.act import LabelMgr, RemoveUser
from controller.ceph.mgr.objects import (
    ACTIVE,
    APP,
    ROLE_LABEL,
    STANDBY,
    budgets,
    keyring_name,
    metrics_service,
    mgr_deployment,
    monitoring_wanted,
    service_monitor,
)
from controller.ceph.pods import Daemon, is_kept, kept_by
from controller.framework import disruption, monitoring
from controller.framework.children import Apply, delete, ensure, explain
from controller.framework.monitoring import SERVICE_MONITOR
from controller.framework.plan import Step
from controller.framework.rollout import Member, Policy, decide
from controller.runtime.kube import DEPLOYMENT, SECRET

if TYPE_CHECKING:
    from collections.abc import Iterator

    from controller.apis.ceph.cluster import MgrSpec
    from controller.ceph.mgr.observe import MgrObservation, MgrState
    from controller.ceph.pods import Context

IDS = "abcde"
CAPS = {"mon": "allow profile mgr", "osd": "allow *", "mds": "allow *"}


def ids(spec: MgrSpec) -> tuple[str, ...]:
    """The ids of the mgrs that the spec wants."""
    return tuple(IDS[: spec.count])


def analyze(spec: MgrSpec, context: Context, seen: MgrObservation, *, hold: str = "") -> tuple[Step, ...]:
    """What to do for the cluster's mgrs. Pure.

    Args:
        spec: What is wanted of them.
        context: The cluster.
        seen: What is there.
        hold: What has to happen before a mgr that runs is restarted; empty: nothing.
    """
    if seen.state is None:
        return (Step(subject="mgrs", reason=f"{spec.count} wanted", waits_for="the mons to have a quorum"),)
    steps = [*_daemons(spec, context, seen, seen.state, hold)]
    steps += _surplus(spec, seen)
    steps += _shared_objects(spec, context, seen)
    if seen.state.available:
        steps += _modules(spec, context, seen.state)
        steps += _roles(spec, seen, seen.state)
    return tuple(steps)


def _daemons(spec: MgrSpec, context: Context, seen: MgrObservation, state: MgrState, hold: str) -> Iterator[Step]:
    # Standbys first: the active one then has somebody on the new release to hand over to.
    order = sorted(ids(spec), key=lambda i: (i == state.active, i))
    wanted = {i: mgr_deployment(spec, context, Daemon(type="mgr", id=i)) for i in order}
    why = {i: explain(obj, seen.live.get(("Deployment", obj["metadata"]["name"]))) for i, obj in wanted.items()}
    waits = decide([_restart(i, bool(why[i]), seen, state) for i in order], Policy(), hold=hold)
    for mgr_id in order:
        daemon = Daemon(type="mgr", id=mgr_id)
        subject = f"mgr {mgr_id}"
        short = users.shortfall(seen.live, keyring_name(daemon), CAPS)
        if short:
            action = CreateKeyring(daemon.entity, CAPS, keyring_name(daemon), daemon.labels(context.owner))
            yield Step(subject=subject, action=action, reason=short)
        serves = _serves(mgr_id, state)
        if is_kept(seen.deployments.get(mgr_id)):
            if why[mgr_id] or not serves:
                yield Step(subject=subject, reason=why[mgr_id] or "not available", waits_for=kept_by(daemon))
        elif why[mgr_id]:
            waits_for = waits.get(subject, "")
            yield Step(subject=subject, action=Apply(wanted[mgr_id]), reason=why[mgr_id], waits_for=waits_for)
        elif not serves:
            found = trouble(seen.pods.get(mgr_id, ()), seen.deployments.get(mgr_id))
            waits_for = found or "the mgr to report to the mons"
            yield Step(subject=subject, reason="not available", waits_for=waits_for)


def _serves(mgr_id: str, state: MgrState) -> bool:
    """Whether a mgr does its part: it is active and answers, or stands by."""
    return state.available if mgr_id == state.active else mgr_id in state.standbys


def _restart(mgr_id: str, differs: bool, seen: MgrObservation, state: MgrState) -> Member:
    """A mgr as one that is restarted in turn."""
    found, serves = seen.deployments.get(mgr_id), _serves(mgr_id, state)
    well = found is not None and found.rolled_out
    return Member(
        name=f"mgr {mgr_id}",
        outdated=differs and found is not None and not is_kept(found),
        serves=serves,
        awaited="to be restarted" if not well else "" if serves else "to report to the mons",
    )


def _surplus(spec: MgrSpec, seen: MgrObservation) -> Iterator[Step]:
    """Mgrs too many: the Secret with the key goes last, so that what an operator that died left is found by it."""
    keys = {i for i in IDS if ("Secret", keyring_name(Daemon(type="mgr", id=i))) in seen.live}
    for mgr_id in sorted({*seen.deployments, *keys} - set(ids(spec))):
        daemon = Daemon(type="mgr", id=mgr_id)
        reason = f"{spec.count} mgrs are wanted"
        if is_kept(seen.deployments.get(mgr_id)):
            yield Step(subject=f"mgr {mgr_id}", reason=reason, waits_for=kept_by(daemon))
            continue
        deployed, key = (seen.live.get(k) for k in (("Deployment", daemon.name), ("Secret", keyring_name(daemon))))
        if deployed is not None and deployed["metadata"].get("deletionTimestamp") is None:
            yield delete(DEPLOYMENT, deployed, subject=f"mgr {mgr_id}", reason=reason)
        yield Step(subject=f"mgr {mgr_id}", action=RemoveUser(daemon.entity), reason=reason)
        if key is not None and key["metadata"].get("deletionTimestamp") is None:
            yield delete(SECRET, key, subject=f"mgr {mgr_id}", reason=reason)


def _shared_objects(spec: MgrSpec, context: Context, seen: MgrObservation) -> Iterator[Step]:
    annotated = monitoring_wanted(context) and not seen.monitors.served
    service = metrics_service(context, annotated=annotated)
    yield from ensure(seen.live, service, subject="mgrs", lane="mgr metrics")
    monitors = (service_monitor(context),) if monitoring_wanted(context) else ()
    yield from monitoring.analyze(SERVICE_MONITOR, monitors, seen.monitors, subject="mgrs")
    yield from disruption.keep(
        seen.live,
        budgets(spec, context),
        owner=context.owner,
        app=APP,
        subject="mgrs",
        lane="mgr disruption budget",
        why_gone="no mgr stands by",
    )


def _modules(spec: MgrSpec, context: Context, state: MgrState) -> Iterator[Step]:
    wanted = {m.name: m.enabled for m in spec.modules if m.name}
    # Where the spec says nothing of a module, whoever switched it on or off in Ceph is left alone.
    wanted.setdefault("prometheus", not context.monitoring.metrics_disabled)
    for module, on in wanted.items():
        if module in state.always_on or on == (module in state.modules):
            continue
        yield Step(
            subject=f"mgr module {module}",
            action=EnableModule(module) if on else DisableModule(module),
            reason=f"it is {'off' if on else 'on'} and should be {'on' if on else 'off'}",
        )


def _roles(spec: MgrSpec, seen: MgrObservation, state: MgrState) -> Iterator[Step]:
    for mgr_id in ids(spec):
        role = ACTIVE if mgr_id == state.active else STANDBY
        for pod in seen.pods.get(mgr_id, ()):
            if pod.metadata.deletion_timestamp is None and pod.metadata.labels.get(ROLE_LABEL) != role:
                yield Step(
                    subject=f"mgr {mgr_id}", action=LabelMgr(pod.metadata.name, role), reason=f"it is {role} now"
                )
