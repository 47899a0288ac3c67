"""How drains of nodes are held back: one failure domain of OSDs at a time, and no copying of what comes back soon.

At rest one PodDisruptionBudget, `rook-ceph-osd`, lets one OSD go. Once OSDs are down and placement groups are not
healthy, their failure domain is the one that may be drained: each other domain gets a budget that lets none go, and the
budget of all is deleted, so that the rest of the domain may follow. If its node is cordoned or gone, Ceph is told for a
while not to count its OSDs out (`noout`). All ends when the OSDs are up, or their data is elsewhere, and the placement
groups are healthy.

Names, labels and the ConfigMap with the state are upstream's. The state is in the API: it outlives the operator.
Rules: https://rook.io/docs/rook/latest/CRDs/Cluster/ceph-cluster-crd/#cluster-settings (disruptionManagement)
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING

from controller.ceph.osd.objects import APP, read_osd
from controller.ceph.osd.patterns import PatternError, matches
from controller.ceph.pods import cluster_labels
from controller.framework.children import ensure
from controller.framework.disruption import budget, keep
from controller.framework.names import object_name
from controller.framework.plan import Step
from controller.framework.status import timestamp

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from controller.apis.ceph.cluster import DisruptionManagementSpec
    from controller.ceph.access.rados import Cluster
    from controller.ceph.osd.observation import OsdObservation
    from controller.framework.children import Live
    from controller.framework.plan import Handler
    from controller.framework.workload import Owner
    from informers import JsonObject

BUDGET = "rook-ceph-osd"
STATE = "rook-ceph-pdbstatemap"
LANE = "osd disruption budgets"

HEALTHY = r"^active(\+(clean|deep|scrubbing|snaptrim|snaptrim_wait))+$"
"""States of placement groups that count as healthy; upstream's."""
MAINTENANCE_MINUTES = 30
SETTLING = 60.0
"""Seconds after an OSD went down during which placement groups may still be shown as they were before."""
LOOK = 15.0
"""Seconds between two looks when OSDs went down or came back: placement groups tell nobody when they are healthy."""
IMPATIENT = 600.0
"""Seconds after which OSDs that are still down are looked at as seldom as a cluster at rest."""

REPLACED = "osd.rook.io/replace-in-progress"
"""Annotation of an OSD's Deployment: it is down because its disk is exchanged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """An OSD as drains see it.

    Attributes:
        osd_id: Its number.
        domain: The failure domain that it is in.
        up: Whether it serves. One that was restarted and is about to come back counts as up.
        leaving: Whether its node is cordoned or gone.
    """

    osd_id: int
    domain: str
    up: bool
    leaving: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What is decided by.

    Attributes:
        now: Seconds since the epoch.
        level: The level of CRUSH that failure domains are of; "osd": each OSD is its own; empty: there is no pool.
        members: The OSDs.
        pgs: Placement groups by state.
        noout: Units of CRUSH whose OSDs Ceph does not count out, whoever said so.
        live: The objects of the cluster's namespace.
    """

    now: float = 0.0
    level: str = ""
    members: tuple[Member, ...] = ()
    pgs: Mapping[str, int] = field(default_factory=dict)
    noout: frozenset[str] = frozenset()
    live: Live = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What has to be known from before.

    Attributes:
        draining: The failure domain that may be drained; empty: none is.
        since: When the last OSD of `missing` went down, in seconds since the epoch; None: none is missing.
        missing: The OSDs that are down and whose data may not be whole without them.
        absent: The OSDs that are down for longer, and without which the data was whole.
        hold_out: Whether Ceph is told not to count the OSDs of the domain out.
        held_at: Since when, by failure domain; also of one whose time is over, and of one that is to be let go.
    """

    draining: str = ""
    since: float | None = None
    missing: frozenset[int] = frozenset()
    absent: frozenset[int] = frozenset()
    hold_out: bool = False
    held_at: Mapping[str, float] = field(default_factory=dict)


_DRAINING, _SINCE, _HOLD_OUT = "draining-failure-domain", "draining-failure-domain-duration", "set-no-out"
_MISSING, _ABSENT, _HELD_AT = "osds-missing", "osds-absent", "-noout-last-set-at"


def parse_state(live: Live) -> State:
    """The state as the ConfigMap has it; a time that cannot be read counts as not known."""
    found = live.get(("ConfigMap", STATE))
    data: Mapping[str, str] = (found or {}).get("data") or {}
    held = {key.removesuffix(_HELD_AT): _seconds(at) for key, at in data.items() if key.endswith(_HELD_AT)}
    return State(
        draining=data.get(_DRAINING, ""),
        since=_seconds(data.get(_SINCE, "")),
        missing=_numbers(data.get(_MISSING, "")),
        absent=_numbers(data.get(_ABSENT, "")),
        hold_out=data.get(_HOLD_OUT) == "true",
        held_at={domain: at for domain, at in held.items() if at is not None},
    )


def state_config_map(owner: Owner, state: State) -> JsonObject:
    """The ConfigMap that keeps the state."""
    data = {_DRAINING: state.draining, _HOLD_OUT: "true" if state.hold_out else ""}
    if state.since is not None:
        data[_SINCE] = timestamp(state.since)
    for key, numbers in ((_MISSING, state.missing), (_ABSENT, state.absent)):
        if numbers:
            data[key] = ",".join(str(number) for number in sorted(numbers))
    data |= {domain + _HELD_AT: timestamp(at) for domain, at in sorted(state.held_at.items())}
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": owner.metadata(STATE, cluster_labels(owner, APP)),
        "data": data,
    }


def _numbers(text: str) -> frozenset[int]:
    return frozenset(int(number) for number in text.split(",") if number.isdecimal())


def _seconds(text: str) -> float | None:
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return None


def scene(seen: OsdObservation, pgs: Mapping[str, int]) -> Scene:
    """What is seen of the OSDs, as drains see it."""
    level = seen.failure_domain
    # Where some have no label of the level, only hosts tell all of them apart; every OSD has one.
    label = f"topology-location-{level}"
    if level not in ("", "osd") and any(label not in d.metadata.labels for d in seen.deployments.values()):
        level, label = "host", "topology-location-host"
    open_nodes = {node.metadata.name for node in seen.nodes if not node.spec.unschedulable}
    states = seen.states or {}
    members = []
    for number, deployment in sorted(seen.deployments.items()):
        osd = read_osd(deployment)
        if osd is None or number not in states or deployment.metadata.annotations.get(REPLACED) == "true":
            continue
        leaving = osd.node not in open_nodes
        serves = states[number].up and deployment.status.ready_replicas > 0
        members.append(
            Member(
                osd_id=number,
                domain=deployment.metadata.labels.get(label, f"osd.{number}"),
                up=serves or (number in seen.assessed.returning and not leaving),
                leaving=leaving,
            )
        )
    return Scene(now=seen.now, level=level, members=tuple(members), pgs=pgs, noout=seen.noout, live=seen.live)


def advance(spec: DisruptionManagementSpec, state: State, now: Scene) -> State:
    """The state after a look."""
    down = frozenset(m.osd_id for m in now.members if not m.up)
    absent = down & state.absent
    missing = down - absent
    since = state.since if missing else None
    if missing - state.missing or (missing and since is None):
        since = now.now
    if since is not None and now.now - since >= SETTLING and is_clean(spec, now.pgs):
        absent, missing, since = down, frozenset(), None
    state = replace(state, missing=missing, absent=absent, since=since)
    state = replace(state, draining=_draining(spec, state, now))
    hold_out = bool(state.draining) and (state.hold_out or state.draining in _domains(now, missing, leaving=True))
    held_at = {d: at for d, at in state.held_at.items() if d in now.noout or (hold_out and d == state.draining)}
    # One that an administrator holds already is theirs to let go.
    if hold_out and state.draining not in held_at and state.draining not in now.noout:
        held_at[state.draining] = now.now
    return replace(state, hold_out=hold_out, held_at=held_at)


def _draining(spec: DisruptionManagementSpec, state: State, now: Scene) -> str:
    """The failure domain that may be drained from now on."""
    if now.level in ("", "osd"):
        return ""
    hit = _domains(now, state.missing)
    if is_clean(spec, now.pgs):
        # They may be shown as they were before the OSDs went down.
        return state.draining if state.draining in hit else ""
    if not hit:
        return state.draining if any(m.domain == state.draining for m in now.members) else ""
    return state.draining if state.draining in hit else min(_domains(now, state.missing, leaving=True) or hit)


def _domains(now: Scene, osd_ids: frozenset[int], *, leaving: bool = False) -> set[str]:
    """The failure domains of these OSDs, or of those among them whose node is cordoned or gone."""
    return {m.domain for m in now.members if m.osd_id in osd_ids and (m.leaving or not leaving)}


def is_clean(spec: DisruptionManagementSpec, pgs: Mapping[str, int]) -> bool:
    """Whether all placement groups are healthy, by the spec's pattern or, where that is none, by upstream's."""
    try:
        return all(matches(spec.pg_healthy_regex or HEALTHY, state) for state in pgs)
    except PatternError:
        return all(matches(HEALTHY, state) for state in pgs)


@dataclass(frozen=True, slots=True)
class HoldOut:
    """Tell Ceph not to count the OSDs of a unit of CRUSH out, or (`on` false) to do so again."""

    unit: str
    on: bool


def analyze(spec: DisruptionManagementSpec, owner: Owner, now: Scene) -> tuple[Step, ...]:
    """What to do about drains. Pure."""
    managed = spec.manage_pod_budgets is not False and now.level
    before = parse_state(now.live)
    state = advance(spec, before, now) if managed else State(held_at=_held(before, now))
    return (
        *_state_steps(owner, state, now),
        *_budget_steps(spec, owner, state, now),
        *_hold_out_steps(spec, state, now),
    )


def look_again(now: Scene) -> float | None:
    """Seconds after which drains have to be looked at again though no event came; None: only after one."""
    state = parse_state(now.live)
    fresh = state.since is not None and now.now - state.since < IMPATIENT
    return LOOK if fresh or (state.draining and not state.missing) else None


def drained(spec: DisruptionManagementSpec, now: Scene) -> str:
    """What is drained or down by the state, in words; empty: nothing."""
    state = parse_state(now.live)
    if not state.draining:
        return ""
    told = f"{now.level} {state.draining} is down or drained: OSDs elsewhere are kept from being evicted"
    at = state.held_at.get(state.draining)
    if state.hold_out and at is not None and state.draining in now.noout:
        told += f", and Ceph counts none out until {timestamp(at + _maintenance(spec))}"
    return told


def _held(state: State, now: Scene) -> dict[str, float]:
    return {domain: at for domain, at in state.held_at.items() if domain in now.noout}


def _maintenance(spec: DisruptionManagementSpec) -> float:
    return 60.0 * (spec.osd_maintenance_timeout or MAINTENANCE_MINUTES)


def _state_steps(owner: Owner, state: State, now: Scene) -> Iterator[Step]:
    # Before all else: what is done by the state has to be known to whoever comes after.
    if state != State() or ("ConfigMap", STATE) in now.live:
        yield from ensure(now.live, state_config_map(owner, state), subject="osds", lane=LANE)


def _budget_steps(spec: DisruptionManagementSpec, owner: Owner, state: State, now: Scene) -> Iterator[Step]:
    yield from keep(
        now.live,
        budgets(spec, owner, state, now),
        owner=owner,
        app=APP,
        subject="osds",
        lane=LANE,
        why_gone=f"{now.level} {state.draining} may be drained" if state.draining else "no failure domain is drained",
    )


def budgets(spec: DisruptionManagementSpec, owner: Owner, state: State, now: Scene) -> tuple[JsonObject, ...]:
    """The budgets that are to be: one for all OSDs, or one for each failure domain but that which is drained."""
    if not now.level or spec.manage_pod_budgets is False:
        return ()
    if state.draining:
        others = sorted({m.domain for m in now.members} - {state.draining})
        return tuple(_closed(owner, now.level, domain) for domain in others)
    selector: JsonObject = {"matchLabels": {"app": APP}}
    if state.absent:
        # They do not count: one dead disk would stop all drains.
        values = [str(number) for number in sorted(state.absent)]
        selector["matchExpressions"] = [{"key": "osd", "operator": "NotIn", "values": values}]
    # One that is missing is the one that may be.
    allowed = 1 if state.missing or is_clean(spec, now.pgs) else 0
    return (_budget(owner, BUDGET, selector, allowed),)


def _closed(owner: Owner, level: str, domain: str) -> JsonObject:
    selector = {"matchLabels": {"app": APP, f"topology-location-{level}": domain}}
    return _budget(owner, object_name(f"{BUDGET}-{level}-{domain}"), selector, 0)


def _budget(owner: Owner, name: str, selector: JsonObject, allowed: int) -> JsonObject:
    return budget(owner, name, cluster_labels(owner, APP), selector, maxUnavailable=allowed)


def _hold_out_steps(spec: DisruptionManagementSpec, state: State, now: Scene) -> Iterator[Step]:
    for unit, at in sorted(state.held_at.items()):
        over = now.now - at >= _maintenance(spec)
        wanted = state.hold_out and unit == state.draining and not over
        if wanted == (unit in now.noout):
            continue
        if wanted:
            reason = f"{now.level} {unit} is drained: its OSDs are to come back, and not to be copied"
        else:
            reason = f"{unit} was drained for longer than osdMaintenanceTimeout" if over else f"{unit} is back"
        yield Step(subject=f"noout of {unit}", action=HoldOut(unit, wanted), reason=reason, lane=LANE)


def handlers(ceph: Cluster) -> dict[type, Handler]:
    """How the actions of this module are carried out."""

    async def hold_out(action: HoldOut) -> None:
        await ceph.mon("osd set-group" if action.on else "osd unset-group", flags="noout", who=[action.unit])

    return {HoldOut: hold_out}
