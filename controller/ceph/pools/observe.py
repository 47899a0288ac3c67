"""What the cluster says of a pool, and of the settings of it that are ours.

Those are remembered in the cluster itself, below the config-key `rook/pool/`, as the value asked for and the value that
the mons made of it.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from controller.ceph.access.rados import CephError
from controller.ceph.access.records import Records
from controller.ceph.crush import Rule, parse_rule
from controller.ceph.pools.spec import QUOTAS, is_erasure_coded, profile_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from controller.apis.ceph import PoolSpec
    from controller.ceph.access.rados import Cluster
    from controller.framework.owned import Owned

OWNED_PREFIX = "rook/pool/"


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
        contents: What is in the pool, in words; asked only where it matters.
        users: The objects that use the pool, in words; asked only while it is being deleted.
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
    users: tuple[str, ...] = ()


async def observe(ceph: Cluster, name: str, spec: PoolSpec) -> PoolObservation:
    """What the cluster says of the pool `name`, as far as `spec` asks for it.

    Raises:
        CephError: It does not answer.
    """
    details = await ceph.mon("osd pool ls", detail="detail")
    rules = {dump["rule_name"]: dump for dump in await ceph.mon("osd crush rule dump")}
    detail = next((d for d in details if d["pool_name"] == name), None)
    profile: Mapping[str, str] = {}
    if is_erasure_coded(spec):
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
    records = await Records(ceph, OWNED_PREFIX).read()
    return {setting: owned for (pool, setting), owned in records.items() if pool == name}
