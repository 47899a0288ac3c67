"""Pools in a Ceph cluster: what is asked before a plan is made, and how the actions of a plan are carried out."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import structlog

from controller.ceph.access.rados import CephError
from controller.ceph.access.threads import Lane
from controller.ceph.crush import parse_rule
from controller.ceph.pool.analyze import (
    FOLLOWED,
    QUOTAS,
    CreatePool,
    CreateProfile,
    CreateRule,
    DeletePool,
    EnableApplication,
    Owned,
    PoolObservation,
    PoolState,
    SetSize,
    SetValue,
    UnsetValue,
    UseRule,
    is_erasure_coded,
    pool_name,
    profile_name,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from controller.apis.ceph import CephBlockPool
    from controller.ceph.access.rados import Cluster, RadosCluster
    from controller.framework.plan import Handler
    from informers import JsonObject

log = structlog.get_logger(__name__)

OWNED_PREFIX = "rook/pool/"
BOOKKEEPING = ("rbd_", "csi.", "journal.", "journal_data.")
"""How the names of objects begin that are of no value without images: RBD's own, and those of Ceph's CSI driver."""
LISTING_TIMEOUT = 60.0
"""Seconds that it may take to see what is in a pool."""


async def observe(ceph: Cluster, pool: CephBlockPool) -> PoolObservation:
    """What the cluster says of a pool.

    Raises:
        CephError: It does not answer.
    """
    name = pool_name(pool)
    details = await ceph.mon("osd pool ls", detail="detail")
    rules = {dump["rule_name"]: dump for dump in await ceph.mon("osd crush rule dump")}
    detail = next((d for d in details if d["pool_name"] == name), None)
    profile: Mapping[str, str] = {}
    if is_erasure_coded(pool.spec):
        with suppress(CephError):  # there is none of the name
            profile = await ceph.mon("osd erasure-code-profile get", name=profile_name(name))
    return PoolObservation(
        state=None if detail is None else await _state(ceph, detail, rules.values()),
        rules={rule: parse_rule(dump) for rule, dump in rules.items()},
        device_classes=frozenset(await ceph.mon("osd crush class ls") or ()),
        profile=profile,
        owned=await read_owned(ceph, name),
    )


async def _state(ceph: Cluster, detail: Mapping[str, Any], rules: Iterable[Mapping[str, Any]]) -> PoolState:
    rule = next((r["rule_name"] for r in rules if r["rule_id"] == detail["crush_rule"]), "")
    return PoolState(
        pool_id=detail["pool_id"],
        erasure=bool(detail["erasure_code_profile"]),
        rule=rule,
        profile=detail["erasure_code_profile"],
        applications=frozenset(detail["application_metadata"]),
        values=await _values(ceph, detail),
    )


async def _values(ceph: Cluster, detail: Mapping[str, Any]) -> dict[str, Any]:
    values = await ceph.mon("osd pool get", pool=detail["pool_name"], var="all")
    # While placement groups are split or merged, the present number is on its way to this one.
    targets = {"pg_num": detail["pg_num_target"], "pgp_num": detail["pg_placement_num_target"]}
    return {**values, **targets, **{quota: detail[quota] for quota in QUOTAS}}


async def read_owned(ceph: Cluster, name: str) -> dict[str, Owned]:
    """The settings of a pool that are ours. Asked for all pools at once: the answer serves the others' looks too."""
    prefix = _record_key(name, "")
    records = await ceph.mon("config-key dump", key=OWNED_PREFIX) or {}
    return {
        key.removeprefix(prefix): Owned(*json.loads(text)) for key, text in records.items() if key.startswith(prefix)
    }


def _record_key(name: str, setting: str) -> str:
    """One key for each setting, so that settings can be changed side by side. Names of pools have no slash."""
    return f"{OWNED_PREFIX}{name}/{setting}"


async def contents_of(cluster: RadosCluster, name: str) -> tuple[str, ...]:
    """What of value is in a pool: images, those in the trash, and data of images that another pool lists.

    Raises:
        CephError: The cluster does not answer in time.
    """
    return await cluster.use(lambda handle: _contents(handle, name), lane=Lane.IMAGES, seconds=LISTING_TIMEOUT)


def _contents(handle: Any, name: str) -> tuple[str, ...]:
    import rados  # system libraries of the operator's image, absent where only plans are computed
    import rbd

    found: list[str] = []
    with handle.open_ioctx(name) as pool:
        for namespace in ("", *rbd.RBD().namespace_list(pool)):
            pool.set_namespace(namespace)
            prefix = f"{namespace}/" if namespace else ""
            found += [f"image {prefix}{image}" for image in rbd.RBD().list(pool)]
            found += [f"image {prefix}{entry['name']} in the trash" for entry in rbd.RBD().trash_list(pool)]
        pool.set_namespace(rados.LIBRADOS_ALL_NSPACES)
        if not found:
            found += valuables(item.key for item in pool.list_objects())
    return tuple(found)


def valuables(objects: Iterable[str]) -> tuple[str, ...]:
    """What of value is in a pool that lists no image, in words, by the names of its objects; the first find counts."""
    for name in objects:
        if name.startswith("rbd_data."):
            return ("data of images that another pool lists",)
        if not name.startswith(BOOKKEEPING):
            return (f"objects that are not an image's, such as {name}",)
    return ()


def handlers(ceph: Cluster) -> dict[type, Handler]:
    """How the actions of a pool's plan are carried out."""
    return {**_creating(ceph), **_changing(ceph), **_deleting(ceph)}


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
        if action.size == 1:
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
        record = [action.value, await _stored(ceph, action.pool, action.name)]
        await ceph.mon("config-key set", key=_record_key(action.pool, action.name), val=json.dumps(record))

    async def unset_value(action: UnsetValue) -> None:
        if action.default:
            await _change(ceph, action.pool, action.name, action.default)
        await ceph.mon("config-key rm", key=_record_key(action.pool, action.name))

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


def _deleting(ceph: Cluster) -> dict[type, Handler]:
    async def delete_pool(action: DeletePool) -> None:
        pool = action.pool
        await ceph.mon("osd pool delete", pool=pool, pool2=pool, yes_i_really_really_mean_it=True)
        await _remove_own_rule(ceph, pool, action.rule)
        if action.profile:
            await ceph.mon("osd erasure-code-profile rm", name=action.profile)
        for setting in await read_owned(ceph, pool):
            await ceph.mon("config-key rm", key=_record_key(pool, setting))

    return {DeletePool: delete_pool}


async def _remove_own_rule(ceph: Cluster, pool: str, rule: str) -> None:
    """Removes a rule that was made for the pool and that nothing uses any more."""
    if rule == pool or rule.startswith(f"{pool}_"):
        try:
            await ceph.mon("osd crush rule rm", name=rule)
        except CephError as error:
            log.info("CRUSH rule stays", rule=rule, pool=pool, reason=error.message)
