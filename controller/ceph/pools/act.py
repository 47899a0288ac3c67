"""What can be done to a pool, and how: the cluster's commands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from controller.ceph.access.rados import CephError
from controller.ceph.access.records import Records
from controller.ceph.pools.crush_rule import is_own
from controller.ceph.pools.observe import OWNED_PREFIX, read_owned
from controller.ceph.pools.spec import QUOTAS
from controller.framework.owned import Owned

if TYPE_CHECKING:
    from collections.abc import Mapping

    from controller.ceph.access.rados import Cluster
    from controller.ceph.crush import Rule
    from controller.framework.plan import Handler
    from informers import JsonObject

log = structlog.get_logger(__name__)

FOLLOWED = frozenset({"pg_num", "pgp_num"})
"""Parameters that the autoscaler moves on: set when the spec changes, and not put back."""


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

    `forced`: it has something of value, and goes by consent. The kind's handler asks for that consent once more.
    """

    pool: str
    rule: str
    profile: str
    forced: bool = False


def handlers(ceph: Cluster) -> dict[type, Handler]:
    """How a pool is made and changed. Its deletion is the kind's to permit: see `deletion`."""
    return {**_creating(ceph), **_changing(ceph)}


def deletion(ceph: Cluster) -> Handler:
    """How a pool is deleted, once whoever calls it has made sure of the consent."""

    async def delete_pool(action: DeletePool) -> None:
        pool = action.pool
        await ceph.mon("osd pool delete", pool=pool, pool2=pool, yes_i_really_really_mean_it=True)
        await _remove_own_rule(ceph, pool, action.rule)
        if action.profile:
            await ceph.mon("osd erasure-code-profile rm", name=action.profile)
        for setting in await read_owned(ceph, pool):
            await Records(ceph, OWNED_PREFIX).remove((pool, setting))

    return delete_pool


def _creating(ceph: Cluster) -> dict[type, Handler]:
    async def create_rule(action: CreateRule) -> None:
        rule = action.rule
        classes = {"class": rule.device_class} if rule.device_class else {}
        root, level = rule.root, rule.failure_domain
        await ceph.mon("osd crush rule create-replicated", name=action.name, root=root, type=level, **classes)

    async def create_profile(action: CreateProfile) -> None:
        settings = [f"{key}={value}" for key, value in action.settings.items()]
        # "force" replaces one of the name; Ceph refuses that for a profile that a pool uses.
        sure = {"force": True, "yes_i_really_mean_it": True}
        await ceph.mon("osd erasure-code-profile set", name=action.name, profile=settings, **sure)

    async def create_pool(action: CreatePool) -> None:
        arguments: JsonObject = {"pool": action.pool}
        if action.pg_num:
            arguments["pg_num"] = int(action.pg_num)
        if action.profile:
            arguments |= {"pool_type": "erasure", "erasure_code_profile": action.profile}
        else:
            arguments |= {"pool_type": "replicated", "rule": action.rule, "size": action.size}
        # Ceph makes no pool whose name begins with a dot, and reports no error, unless it is told twice.
        if action.size == 1 or action.pool.startswith("."):
            arguments["yes_i_really_mean_it"] = True
        await ceph.mon("osd pool create", **arguments)

    async def enable_application(action: EnableApplication) -> None:
        arguments = {"pool": action.pool, "app": action.application, "yes_i_really_mean_it": True}
        await ceph.mon("osd pool application enable", **arguments)

    return {
        CreateRule: create_rule,
        CreateProfile: create_profile,
        CreatePool: create_pool,
        EnableApplication: enable_application,
    }


def _changing(ceph: Cluster) -> dict[type, Handler]:
    async def set_size(action: SetSize) -> None:
        sure = {"yes_i_really_mean_it": True} if action.size == 1 else {}
        await ceph.mon("osd pool set", pool=action.pool, var="size", val=str(action.size), **sure)

    async def use_rule(action: UseRule) -> None:
        await ceph.mon("osd pool set", pool=action.pool, var="crush_rule", val=action.rule)
        await _remove_own_rule(ceph, action.pool, action.before)

    async def set_value(action: SetValue) -> None:
        await _change(ceph, action.pool, action.name, action.value)
        record = Owned(action.value, await _stored(ceph, action.pool, action.name))
        await Records(ceph, OWNED_PREFIX).write((action.pool, action.name), record)

    async def unset_value(action: UnsetValue) -> None:
        if action.default:
            await _change(ceph, action.pool, action.name, action.default)
        await Records(ceph, OWNED_PREFIX).remove((action.pool, action.name))

    return {SetSize: set_size, UseRule: use_rule, SetValue: set_value, UnsetValue: unset_value}


async def _change(ceph: Cluster, pool: str, name: str, value: str) -> None:
    if name in QUOTAS:
        await ceph.mon("osd pool set-quota", pool=pool, field=name.removeprefix("quota_"), val=value)
        return
    sure = {"yes_i_really_mean_it": True} if name in FOLLOWED else {}
    await ceph.mon("osd pool set", pool=pool, var=name, val=value, **sure)


async def _stored(ceph: Cluster, pool: str, name: str) -> str:
    """What the mons made of a value that was set; empty where nobody compares it, as the autoscaler moves it on."""
    if name in FOLLOWED:
        return ""
    if name in QUOTAS:
        return str((await ceph.mon("osd pool get-quota", pool=pool))[name])
    return str((await ceph.mon("osd pool get", pool=pool, var="all")).get(name, ""))


async def _remove_own_rule(ceph: Cluster, pool: str, rule: str) -> None:
    """Removes a rule that was made for the pool and that nothing uses any more."""
    if is_own(rule, pool):
        try:
            await ceph.mon("osd crush rule rm", name=rule)
        except CephError as error:
            log.info("CRUSH rule stays", rule=rule, pool=pool, reason=error.message)
