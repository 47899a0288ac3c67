"""Mgrs: one active and perhaps one that stands by, their keys and modules, and the Service that finds the active one.

The operator itself labels the active mgr's pod (`mgr_role`), so that no container in the pod needs access to the API.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from controller.ceph.access import users
from controller.ceph.pods import (
    CLUSTER_LABEL,
    Context,
    Daemon,
    cluster_labels,
    deployment,
    environment,
    family_fields,
    flags,
    image_fields,
    ip_flags,
    is_kept,
    kept_by,
    pod_template,
    probes,
    security_context,
    volume_mounts,
    volumes,
)
from controller.framework.children import Apply, Live, delete, ensure, explain
from controller.framework.placement import keep_apart, spread
from controller.framework.plan import Step
from controller.framework.pods import trouble
from controller.framework.rollout import Member, Policy, decide
from controller.runtime.kube import DEPLOYMENT, PDB, SECRET

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from controller.apis.ceph.cluster import MgrSpec
    from controller.runtime.kube import Deployment, Pod
    from informers import JsonObject

APP = "rook-ceph-mgr"
BUDGET = "rook-ceph-mgr-pdb"
ROLE_LABEL = "mgr_role"
ACTIVE, STANDBY = "active", "standby"
METRICS_PORT = 9283
IDS = "abcde"
CAPS = {"mon": "allow profile mgr", "osd": "allow *", "mds": "allow *"}


@dataclass(frozen=True, slots=True)
class MgrState:
    """What the mons say of the mgrs: the active one, those that stand by, and modules that are on.

    `always_on`: modules of the running release that cannot be switched.
    """

    active: str = ""
    standbys: frozenset[str] = frozenset()
    available: bool = False
    modules: frozenset[str] = frozenset()
    always_on: frozenset[str] = frozenset()

    @classmethod
    def parse(cls, answer: Mapping[str, Any]) -> MgrState:
        """From the answer to `mgr dump`."""
        always_on = answer.get("always_on_modules") or {}
        return cls(
            active=answer.get("active_name", ""),
            standbys=frozenset(s["name"] for s in answer.get("standbys", ())),
            available=bool(answer.get("available")),
            modules=frozenset(answer.get("modules", ())),
            always_on=frozenset(m for modules in always_on.values() for m in modules),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class MgrObservation:
    """What `analyze` decides by.

    Attributes:
        state: What the mons say of the mgrs; None when they do not answer.
        deployments: The mgrs' Deployments by id.
        pods: The mgrs' pods by id.
        live: The objects of the cluster's namespace.
    """

    state: MgrState | None = None
    deployments: Mapping[str, Deployment] = field(default_factory=dict)
    pods: Mapping[str, tuple[Pod, ...]] = field(default_factory=dict)
    live: Live = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CreateKeyring:
    """Get or create the cephx user `entity` with `caps`, and keep its key in Secret `secret`."""

    entity: str
    caps: Mapping[str, str]
    secret: str
    labels: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True, slots=True)
class EnableModule:
    """Switch a mgr module on."""

    module: str


@dataclass(frozen=True, slots=True)
class DisableModule:
    """Switch a mgr module off."""

    module: str


@dataclass(frozen=True, slots=True)
class LabelMgr:
    """Label a mgr's pod by the part that it plays."""

    pod: str
    role: str


@dataclass(frozen=True, slots=True)
class RemoveUser:
    """Delete a cephx user that no daemon uses any more."""

    entity: str


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


def mgr_deployment(spec: MgrSpec, context: Context, daemon: Daemon) -> JsonObject:
    """A mgr's Deployment."""
    data = f"/var/lib/ceph/mgr/ceph-{daemon.id}"
    container: JsonObject = {
        "name": "mgr",
        "command": ["ceph-mgr"],
        "args": [*flags(context, daemon), "--public-addr=$(ROOK_POD_IP)", *ip_flags(context)],
        **image_fields(context),
        "env": [*environment(), {"name": "PYTHONDONTWRITEBYTECODE", "value": "1"}],
        "ports": [
            {"name": "mgr", "containerPort": 6800, "protocol": "TCP"},
            {"name": "http-metrics", "containerPort": METRICS_PORT, "protocol": "TCP"},
        ],
        "volumeMounts": [*volume_mounts(), {"name": "data", "mountPath": data}],
        "securityContext": security_context(),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        **context.pods.container_resources("mgr"),
        **probes(context, daemon),
    }
    give_to_ceph = {
        "name": "chown-data",
        "command": ["chown", "ceph:ceph", data, "/run/ceph", "/var/log/ceph", "/var/lib/ceph/crash"],
        **image_fields(context),
        "volumeMounts": container["volumeMounts"],
        "securityContext": security_context(("CHOWN", "DAC_OVERRIDE")),
    }
    pod: JsonObject = {
        "initContainers": [give_to_ceph],
        "containers": [container],
        "volumes": [*volumes(keyring_name(daemon)), {"name": "data", "emptyDir": {}}],
    }
    template = pod_template(context, daemon, pod)
    # Also where there is only one: it need not be restarted then when another is wanted.
    mgrs = {"app": APP, CLUSTER_LABEL: context.namespace}
    keep_apart(template["spec"], mgrs, strictly=not spec.allow_multiple_per_node)
    spread(template["spec"], mgrs, context.zone_label, strictly=False)
    return deployment(context, daemon, template)


def keyring_name(daemon: Daemon) -> str:
    """The Secret with a daemon's keyring."""
    return f"{daemon.name}-keyring"


def metrics_service(context: Context) -> JsonObject:
    """The Service that Prometheus scrapes: the active mgr."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": context.owner.metadata(APP, cluster_labels(context.owner, APP)),
        "spec": {
            "type": "ClusterIP",
            "selector": {"app": APP, CLUSTER_LABEL: context.namespace, ROLE_LABEL: ACTIVE},
            "ports": [{"name": "http-metrics", "port": METRICS_PORT, "targetPort": METRICS_PORT, "protocol": "TCP"}],
            **family_fields(context),
        },
    }


def budget(context: Context) -> JsonObject:
    """A drain may take one mgr away while the other stands by."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": context.owner.metadata(BUDGET, cluster_labels(context.owner, APP)),
        "spec": {
            "maxUnavailable": 1,
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
            "selector": {"matchLabels": {"app": APP, CLUSTER_LABEL: context.namespace}},
        },
    }


def _daemons(spec: MgrSpec, context: Context, seen: MgrObservation, state: MgrState, hold: str) -> Iterator[Step]:
    # Standbys first: the active one then has somebody on the new release to hand over to.
    order = sorted(ids(spec), key=lambda i: (i == state.active, i))
    wanted = {i: mgr_deployment(spec, context, Daemon(type="mgr", id=i)) for i in order}
    why = {i: explain(obj, seen.live.get(("Deployment", obj["metadata"]["name"]))) for i, obj in wanted.items()}
    waits = decide([_restart(i, bool(why[i]), seen, state) for i in order], Policy(), hold=hold).waits
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
    yield from ensure(seen.live, metrics_service(context), subject="mgrs", lane="mgr metrics")
    found = seen.live.get(("PodDisruptionBudget", BUDGET))
    if spec.count > 1 and context.budgets:
        yield from ensure(seen.live, budget(context), subject="mgrs", lane="mgr disruption budget")
    elif found is not None:
        yield delete(PDB, found, subject="mgrs", reason="no mgr stands by", lane="mgr disruption budget")


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
