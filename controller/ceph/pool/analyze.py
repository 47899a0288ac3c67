"""What a CephBlockPool asks for against what the Ceph cluster has: the plan that brings one to the other. Pure.

What we set of a pool is remembered in the cluster itself, below the config-key `rook/pool/`, as the value asked for and
the value that the mons made of it. So a parameter that leaves the spec is unset, one that somebody changed is put back,
and what somebody else set is left alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from controller.apis.ceph.pool import NamedBlockPoolSpec
from controller.apis.ceph.served import POOL
from controller.ceph.crush import Rule
from controller.framework.honoured import unhonoured
from controller.framework.kind import LetGo
from controller.framework.plan import Plan, Step
from controller.framework.text import some
from controller.runtime.quantities import quantity

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from controller.apis.ceph import CephBlockPool

FORCE_ANNOTATION = "rook.io/force-deletion"
"""With the value "true" on a CephBlockPool: delete the pool though it has images. This destroys their data."""

AT_REST, WHILE_BLOCKED, WHILE_WAITING = 60.0, 20.0, 5.0
"""Seconds after which to look again at a pool that is as it should be, at one whose deletion is held back by what is in
it, which is listed each time, and at one that waits for something else."""
MAX_NAMED = 10
"""Images that a reason names."""

APPLICATIONS: Mapping[str, str] = {".mgr": "mgr", ".nfs": "nfs", ".rgw.root": "rgw"}
"""What Ceph's own pools are for; every other pool of a CephBlockPool is for rbd."""
QUOTAS = ("quota_max_bytes", "quota_max_objects")
FOLLOWED = frozenset({"pg_num", "pgp_num"})
"""Parameters that the autoscaler moves on: set when the spec changes, and not put back."""
IN_ORDER = ("pg_autoscale_mode", "pg_num", "pgp_num", "pg_num_min", "pg_num_max")
"""Parameters that Ceph checks against each other, in the order in which they can be set."""


@dataclass(frozen=True, slots=True)
class Owned:
    """The value asked for a setting that is ours, and the one that the mons stored."""

    asked: str
    stored: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolState:
    """A pool as the cluster has it.

    Attributes:
        pool_id: Its number.
        erasure: Whether it is erasure-coded.
        rule: Name of its CRUSH rule.
        profile: Name of its erasure code profile; empty without one.
        applications: What it is for.
        values: Its settings by the names that `osd pool set` knows, and its quotas by `QUOTAS`.
    """

    pool_id: int
    erasure: bool = False
    rule: str = ""
    profile: str = ""
    applications: frozenset[str] = frozenset()
    values: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolObservation:
    """What `analyze` decides by.

    Attributes:
        waits_for: What has to happen before the cluster can be asked; nothing else is known then.
        hold: What has to happen before a pool is made or data is moved; what relieves a cluster does not wait for it.
        cluster_gone: Whether there is no CephCluster in the namespace.
        state: The pool; None when there is none.
        rules: The cluster's CRUSH rules; None for one that says more than a pool's spec can.
        device_classes: Those that OSDs have.
        profile: The erasure code profile that has the pool's name.
        owned: The settings that are ours.
        contents: What is in the pool, in words; asked only while it is being deleted.
    """

    waits_for: str = ""
    hold: str = ""
    cluster_gone: bool = False
    state: PoolState | None = None
    rules: Mapping[str, Rule | None] = field(default_factory=dict)
    device_classes: frozenset[str] = frozenset()
    profile: Mapping[str, str] = field(default_factory=dict)
    owned: Mapping[str, Owned] = field(default_factory=dict)
    contents: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CreateRule:
    """Make a CRUSH rule for whole copies."""

    name: str
    rule: Rule


@dataclass(frozen=True, slots=True)
class CreateProfile:
    """Make an erasure code profile, in place of one of the same name that no pool uses."""

    name: str
    settings: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class CreatePool:
    """Make a pool: of `size` copies spread by `rule`, or by the erasure code profile."""

    pool: str
    rule: str = ""
    size: int = 0
    profile: str = ""
    pg_num: str = ""


@dataclass(frozen=True, slots=True)
class EnableApplication:
    """Say what a pool is for."""

    pool: str
    application: str


@dataclass(frozen=True, slots=True)
class SetSize:
    """Change the number of copies."""

    pool: str
    size: int


@dataclass(frozen=True, slots=True)
class UseRule:
    """Spread a pool by another rule, which moves its data, and remove the rule before where it was the pool's own."""

    pool: str
    rule: str
    before: str


@dataclass(frozen=True, slots=True)
class SetValue:
    """Change a setting of a pool and remember that it is ours."""

    pool: str
    name: str
    value: str


@dataclass(frozen=True, slots=True)
class UnsetValue:
    """Put a setting of ours back to `default` and forget it. `default` is empty where a setting has none."""

    pool: str
    name: str
    default: str


@dataclass(frozen=True, slots=True)
class DeletePool:
    """Delete a pool with all that is in it, and the CRUSH rule and erasure code profile that were its own.

    `forced`: it has images, and goes by `FORCE_ANNOTATION`. The handler asks for that consent once more.
    """

    pool: str
    rule: str
    profile: str
    forced: bool = False


def pool_name(pool: CephBlockPool) -> str:
    """The pool's name in Ceph."""
    return pool.spec.name or pool.metadata.name


def profile_name(name: str) -> str:
    """The name of a pool's erasure code profile; upstream's."""
    return f"{name}_ecprofile"


def application(spec: NamedBlockPoolSpec) -> str:
    """What the pool is for."""
    return spec.application or APPLICATIONS.get(spec.name, "rbd")


def is_erasure_coded(spec: NamedBlockPoolSpec) -> bool:
    """Whether the spec asks for chunks."""
    return spec.erasure_coded.data_chunks > 0 or spec.erasure_coded.coding_chunks > 0


def problems(spec: NamedBlockPoolSpec) -> tuple[str, ...]:
    """Why the spec cannot be carried out, whatever the cluster has."""
    found: list[str] = []
    replicated, coded = spec.replicated, spec.erasure_coded
    if is_erasure_coded(spec):
        if replicated.size > 0:
            found.append("spec has both replicated.size and erasureCoded: take one of them out")
        if coded.data_chunks < 2 or coded.coding_chunks < 1:
            chunks = f"erasureCoded has {coded.data_chunks} dataChunks and {coded.coding_chunks} codingChunks"
            found.append(f"{chunks}: at least 2 and 1 are needed")
    elif replicated.size == 0:
        found.append("spec has neither replicated.size nor erasureCoded: set one of them")
    elif replicated.size == 1 and replicated.require_safe_replica_size:
        found.append(
            "replicated.size is 1, which replicated.requireSafeReplicaSize refuses: raise the size or unset that"
        )
    return tuple(found)


def unserved(spec: Mapping[str, Any]) -> tuple[str, ...]:
    """The paths of the spec, as the user wrote it, that are set and not served."""
    return unhonoured(spec, POOL, NamedBlockPoolSpec)


def unserved_placement(spec: NamedBlockPoolSpec) -> tuple[str, ...]:
    """The fields that are set, are not served, and say where data goes: a pool made without them has to be emptied."""
    replicated, coded = spec.replicated, spec.erasure_coded
    found = {
        "replicated.hybridStorage": replicated.hybrid_storage is not None,
        "replicated.replicasPerFailureDomain": replicated.replicas_per_failure_domain > 1,
        "replicated.subFailureDomain": bool(replicated.sub_failure_domain),
        "erasureCoded.crushNumFailureDomains": coded.crush_num_failure_domains is not None,
        "erasureCoded.crushOSDsPerFailureDomain": coded.crush_osds_per_failure_domain is not None,
    }
    return tuple(path for path, is_set in found.items() if is_set)


def unserved_intents(spec: NamedBlockPoolSpec) -> tuple[str, ...]:
    """The fields that are set, are not served, and without which the pool is not what was asked for."""
    return (*unserved_placement(spec), *(("mirroring",) if spec.mirroring.enabled else ()))


def kept(pool: CephBlockPool, seen: PoolObservation) -> tuple[str, ...]:
    """What the pool has otherwise than the spec asks, and cannot or must not be changed, in words."""
    spec, state = pool.spec, seen.state
    if state is None:
        return ()
    if state.erasure != is_erasure_coded(spec):
        has = "erasure-coded" if state.erasure else "replicated"
        return (f"the pool is {has}, which cannot be changed: make another pool and move the data",)
    if state.erasure:
        wanted = profile_settings(spec)
        differ = [f"{k}={seen.profile[k]}, not {v}" for k, v in wanted.items() if seen.profile.get(k, v) != v]
        return (f"the erasure code of a pool cannot be changed: it has {'; '.join(differ)}",) if differ else ()
    rule = seen.rules.get(state.rule)
    if rule == wanted_rule(spec) or spec.enable_crush_updates:
        return ()
    asked = wanted_rule(spec)
    if rule is None:
        return (f"the pool's CRUSH rule {state.rule} is somebody else's; set enableCrushUpdates to leave it",)
    has = ", ".join(
        f"{name} {before or 'any'}, not {after or 'any'}"
        for name, before, after in (
            ("failureDomain", rule.failure_domain, asked.failure_domain),
            ("crushRoot", rule.root, asked.root),
            ("deviceClass", rule.device_class, asked.device_class),
        )
        if before != after
    )
    return (f"the pool has {has}; set enableCrushUpdates to change it, which moves the pool's data",)


def wanted_rule(spec: NamedBlockPoolSpec) -> Rule:
    """The CRUSH rule that the spec asks for."""
    return Rule(root=spec.crush_root, failure_domain=spec.failure_domain, device_class=spec.device_class)


def profile_settings(spec: NamedBlockPoolSpec) -> dict[str, str]:
    """The erasure code profile that the spec asks for."""
    coded = spec.erasure_coded
    settings = {
        "k": str(coded.data_chunks),
        "m": str(coded.coding_chunks),
        "crush-failure-domain": spec.failure_domain,
        "crush-root": spec.crush_root,
    }
    if coded.algorithm:
        settings["plugin"] = coded.algorithm
    if spec.device_class:
        settings["crush-device-class"] = spec.device_class
    if coded.stripe_unit is not None:
        settings["stripe_unit"] = str(_number(coded.stripe_unit))
    return settings


def wanted_values(spec: NamedBlockPoolSpec) -> dict[str, str]:
    """The settings that the spec asks for, by the names in `PoolState.values`."""
    values = {name: str(value) for name, value in spec.parameters.items() if name != "size"}
    if spec.compression_mode:
        values.setdefault("compression_mode", spec.compression_mode)
    if spec.replicated.target_size_ratio > 0:
        values["target_size_ratio"] = f"{spec.replicated.target_size_ratio:g}"
    if is_erasure_coded(spec):
        values["allow_ec_overwrites"] = "true"
    size = spec.quotas.max_size
    max_bytes = _number(size) if size is not None else spec.quotas.max_bytes
    for name, value in zip(QUOTAS, (max_bytes, spec.quotas.max_objects), strict=True):
        if value:
            values[name] = str(value)
    return values


def _number(text: int | str) -> int:
    return int(quantity(text) or 0)


def rule_name(name: str, wanted: Rule, rules: Mapping[str, Rule | None]) -> str:
    """The name of the rule for a pool: of one that fits, else one that is free."""
    parts = [name, wanted.failure_domain, *([wanted.device_class] if wanted.device_class else []), wanted.root]
    candidates = ["_".join(parts[:length]) for length in range(1, len(parts) + 1)]
    fitting = [c for c in candidates if rules.get(c) == wanted]
    free = [c for c in candidates if c not in rules]
    return next(iter([*fitting, *free]), "_".join(parts))


def analyze(pool: CephBlockPool, seen: PoolObservation) -> Plan:
    """The plan for a pool."""
    steps = tuple(_deletion(pool, seen) if pool.metadata.deletion_timestamp is not None else _steps(pool, seen))
    if any(step.consent for step in steps):
        return Plan(steps=steps, look_again=WHILE_BLOCKED)
    return Plan(steps=steps, look_again=WHILE_WAITING if steps else AT_REST)


def _steps(pool: CephBlockPool, seen: PoolObservation) -> Iterator[Step]:
    name, spec, state = pool_name(pool), pool.spec, seen.state
    subject = f"pool {name}"
    invalid = problems(spec)
    if invalid:
        yield Step(subject=subject, reason="the spec cannot be carried out", waits_for="; ".join(invalid))
        return
    for path in unserved_intents(spec):
        reason = "this operator does not serve it, and without it the pool is not what the spec asks for"
        yield Step(subject=f"spec.{path}", reason=reason, waits_for="it to be taken out of the spec")
    if state is None and unserved_placement(spec):
        return
    if seen.waits_for:
        yield Step(subject=subject, reason="to be compared with the cluster", waits_for=seen.waits_for)
        return
    missing_class = spec.device_class and spec.device_class not in seen.device_classes
    if state is None and missing_class:
        waits_for = f"an OSD of device class {spec.device_class}"
        yield Step(subject=subject, reason="its rule cannot be made", waits_for=waits_for)
        return
    if state is None:
        yield from _creation(name, spec, seen)
    elif state.erasure != is_erasure_coded(spec):
        return
    else:
        yield from _placement(name, spec, seen, state)
    yield from _settings(name, spec, seen)


def _creation(name: str, spec: NamedBlockPoolSpec, seen: PoolObservation) -> Iterator[Step]:
    subject = f"pool {name}"
    pg_num = str(spec.parameters.get("pg_num", ""))
    if is_erasure_coded(spec):
        settings = profile_settings(spec)
        profile = profile_name(name)
        if any(seen.profile.get(key) != value for key, value in settings.items()):
            action = CreateProfile(profile, settings)
            yield Step(subject=subject, action=action, reason="its erasure code is not known", waits_for=seen.hold)
        make = CreatePool(name, profile=profile, pg_num=pg_num)
        yield Step(subject=subject, action=make, reason="it does not exist", waits_for=seen.hold)
        return
    rule = rule_name(name, wanted_rule(spec), seen.rules)
    if rule not in seen.rules:
        new_rule = CreateRule(rule, wanted_rule(spec))
        yield Step(subject=subject, action=new_rule, reason="its CRUSH rule does not exist", waits_for=seen.hold)
    make = CreatePool(name, rule=rule, size=spec.replicated.size, pg_num=pg_num)
    yield Step(subject=subject, action=make, reason="it does not exist", waits_for=seen.hold)


def _placement(name: str, spec: NamedBlockPoolSpec, seen: PoolObservation, state: PoolState) -> Iterator[Step]:
    subject = f"pool {name}"
    if state.erasure:
        return
    size, wanted, moving = spec.replicated.size, wanted_rule(spec), f"{subject} rule"
    if seen.rules.get(state.rule) != wanted and spec.enable_crush_updates:
        rule = rule_name(name, wanted, seen.rules)
        if rule not in seen.rules:
            reason = "its CRUSH rule does not exist"
            yield Step(
                subject=subject, action=CreateRule(rule, wanted), reason=reason, lane=moving, waits_for=seen.hold
            )
        reason = f"failure domain, root or device class changed: rule {state.rule} does not fit"
        action = UseRule(name, rule, state.rule)
        yield Step(subject=subject, action=action, reason=reason, lane=moving, waits_for=seen.hold)
    if state.values.get("size") != size:
        reason = f"it has {state.values.get('size')} copies, wanted {size}"
        # Fewer copies are what a full cluster needs; more of them are data that is copied.
        waits_for = seen.hold if int(state.values.get("size") or 0) < size else ""
        yield Step(subject=subject, action=SetSize(name, size), reason=reason, waits_for=waits_for)


def _settings(name: str, spec: NamedBlockPoolSpec, seen: PoolObservation) -> Iterator[Step]:
    subject = f"pool {name}"
    purpose = application(spec)
    if seen.state is None or purpose not in seen.state.applications:
        reason = f"Ceph is to know that it is for {purpose}"
        yield Step(subject=subject, action=EnableApplication(name, purpose), reason=reason)
    present = seen.state.values if seen.state is not None else {}
    wanted = wanted_values(spec)
    for setting in sorted(
        wanted, key=lambda setting: IN_ORDER.index(setting) if setting in IN_ORDER else len(IN_ORDER)
    ):
        value, owned, found = wanted[setting], seen.owned.get(setting), str(present.get(setting, ""))
        unchanged = owned is not None and owned.asked == value
        if unchanged and owned is not None and (owned.stored == found or setting in FOLLOWED):
            continue
        reason = f"{setting} should be {value}" + (f" and is {found}" if found else "")
        lane = "" if seen.state is None else _lane(subject, setting)
        yield Step(subject=subject, action=SetValue(name, setting, value), reason=reason, lane=lane)
    for setting in seen.owned:
        if setting not in wanted:
            action = UnsetValue(name, setting, _default(setting, present, spec))
            yield Step(subject=subject, action=action, reason=f"{setting} left the spec", lane=_lane(subject, setting))


def _lane(subject: str, setting: str) -> str:
    """Settings that Ceph refuses hold up no others, once the pool is there."""
    return f"{subject} placement groups" if setting in IN_ORDER else f"{subject} {setting}"


def _default(setting: str, present: Mapping[str, Any], spec: NamedBlockPoolSpec) -> str:
    """What `osd pool set` takes to unset a setting, by the kind of value that it has; empty: it cannot be unset."""
    if setting == "min_size":
        return str(spec.replicated.size - spec.replicated.size // 2) if spec.replicated.size else ""
    if setting == "pg_autoscale_mode":
        return "on"
    if setting in FOLLOWED:
        return ""
    if setting in QUOTAS:
        return "0"
    value = present.get(setting)
    if isinstance(value, bool):
        return "false"
    return "0" if isinstance(value, int | float) else "unset"


def _deletion(pool: CephBlockPool, seen: PoolObservation) -> Iterator[Step]:
    name = pool_name(pool)
    subject = f"pool {name}"
    release = Step(subject=subject, action=LetGo(), reason="the CephBlockPool is being deleted")
    if seen.cluster_gone or pool.spec.name:
        # Without a cluster there is nothing to delete; and Ceph's own pools are not ours to delete.
        yield release
    elif seen.waits_for:
        yield Step(subject=subject, reason="the pool is to be deleted", waits_for=seen.waits_for)
    elif seen.state is None:
        yield release
    else:
        profile = seen.state.profile if seen.state.profile == profile_name(name) else ""
        consent = ""
        reason = "the CephBlockPool is being deleted"
        if seen.contents:
            reason = f"it has {some(seen.contents, MAX_NAMED)}"
            forced = pool.metadata.annotations.get(FORCE_ANNOTATION) == "true"
            consent = "" if forced else f'annotation {FORCE_ANNOTATION}: "true", which destroys their data'
        action = DeletePool(name, rule=seen.state.rule, profile=profile, forced=bool(seen.contents))
        yield Step(subject=subject, action=action, reason=reason, consent=consent)
        yield release
