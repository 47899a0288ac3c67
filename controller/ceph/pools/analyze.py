"""What a pool's spec asks for against what the Ceph cluster has: the steps that bring one to the other. Pure.

What we set of a pool is remembered. So a parameter that leaves the spec is unset, one that somebody changed is put
back, and what somebody else set is left alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from controller.ceph.pools.act import (
    FOLLOWED,
    CreatePool,
    CreateProfile,
    CreateRule,
    DeletePool,
    EnableApplication,
    SetSize,
    SetValue,
    UnsetValue,
    UseRule,
)
from controller.ceph.pools.crush_rule import differences, rule_name, wanted_rule
from controller.ceph.pools.spec import QUOTAS, is_erasure_coded, profile_name, profile_settings, wanted_values
from controller.framework.owned import compare
from controller.framework.plan import Step

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from controller.apis.ceph import PoolSpec
    from controller.ceph.pools.observe import PoolObservation, PoolState

IN_ORDER = ("pg_autoscale_mode", "pg_num", "pgp_num", "pg_num_min", "pg_num_max")
"""Parameters that Ceph checks against each other, in the order in which they can be set."""


def kept(spec: PoolSpec, seen: PoolObservation) -> tuple[str, ...]:
    """What the pool has otherwise than the spec asks, and cannot or must not be changed, in words."""
    state = seen.state
    if state is None:
        return ()
    if state.erasure != is_erasure_coded(spec):
        has = "erasure-coded" if state.erasure else "replicated"
        return (f"the pool is {has}, which cannot be changed: make another pool and move the data",)
    if state.erasure:
        wanted = profile_settings(spec)
        differ = [f"{k}={seen.profile[k]}, not {v}" for k, v in wanted.items() if seen.profile.get(k, v) != v]
        return (f"the erasure code of a pool cannot be changed: it has {'; '.join(differ)}",) if differ else ()
    if spec.enable_crush_updates:
        return ()
    differs = differences(state.rule, seen.rules.get(state.rule), wanted_rule(spec))
    return (differs,) if differs else ()


def steps(name: str, spec: PoolSpec, seen: PoolObservation, purpose: str) -> Iterator[Step]:
    """The steps that make a pool, or bring it to its spec.

    Args:
        name: The pool's name in Ceph.
        spec: What is asked for; one without `problems`.
        seen: What the cluster has, which could be asked.
        purpose: What Ceph is told that the pool is for.
    """
    subject, state = f"pool {name}", seen.state
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
    yield from _settings(name, spec, seen, purpose)


def _creation(name: str, spec: PoolSpec, seen: PoolObservation) -> Iterator[Step]:
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


def _placement(name: str, spec: PoolSpec, seen: PoolObservation, state: PoolState) -> Iterator[Step]:
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


def _settings(name: str, spec: PoolSpec, seen: PoolObservation, purpose: str) -> Iterator[Step]:
    subject = f"pool {name}"
    if seen.state is None or purpose not in seen.state.applications:
        reason = f"Ceph is to know that it is for {purpose}"
        yield Step(subject=subject, action=EnableApplication(name, purpose), reason=reason)
    present = seen.state.values if seen.state is not None else {}
    wanted = wanted_values(spec)
    live = {setting: str(present.get(setting, "")) for setting in wanted}
    changes = compare(wanted, live, seen.owned, followed=FOLLOWED)
    for setting in sorted(
        changes.set, key=lambda setting: IN_ORDER.index(setting) if setting in IN_ORDER else len(IN_ORDER)
    ):
        value, found = wanted[setting], live[setting]
        reason = f"{setting} should be {value}" + (f" and is {found}" if found else "")
        lane = "" if seen.state is None else _lane(subject, setting)
        yield Step(subject=subject, action=SetValue(name, setting, value), reason=reason, lane=lane)
    for setting in changes.unset:
        action = UnsetValue(name, setting, _default(setting, present, spec))
        yield Step(subject=subject, action=action, reason=f"{setting} left the spec", lane=_lane(subject, setting))


def _lane(subject: str, setting: str) -> str:
    """Settings that Ceph refuses hold up no others, once the pool is there."""
    return f"{subject} placement groups" if setting in IN_ORDER else f"{subject} {setting}"


def _default(setting: str, present: Mapping[str, Any], spec: PoolSpec) -> str:
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


def deletion(name: str, state: PoolState) -> DeletePool:
    """The action that deletes a pool with the erasure code profile that was its own."""
    profile = state.profile if state.profile == profile_name(name) else ""
    return DeletePool(name, rule=state.rule, profile=profile)
