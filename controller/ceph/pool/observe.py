"""What the cluster says of a pool, of what is in it, and of the settings of it that are ours.

Those are remembered in the cluster itself, below the config-key `rook/pool/`, as the value asked for and the value that
the mons made of it.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import structlog

from controller.ceph.access.health import HEALTH_ERR, obstacles
from controller.ceph.access.rados import CephError
from controller.ceph.access.records import Records
from controller.ceph.access.threads import Lane
from controller.ceph.crush import Rule, parse_rule
from controller.ceph.pool.spec import QUOTAS, is_erasure_coded, pool_name, profile_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from controller.apis.ceph import CephBlockPool, CephCluster
    from controller.ceph.access.rados import Cluster, Connections, RadosCluster
    from controller.framework.owned import Owned
    from informers import Informer

log = structlog.get_logger(__name__)

OWNED_PREFIX = "rook/pool/"
BOOKKEEPING = ("rbd_", "csi.", "journal.", "journal_data.")
"""How the names of objects begin that are of no value without images: RBD's own, and those of Ceph's CSI driver."""
LISTING_TIMEOUT = 60.0
"""Seconds that it may take to see what is in a pool."""


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


class Observer:
    """Observes pools.

    Args:
        clusters: The cache of CephClusters.
        connections: Ways to the clusters.
    """

    def __init__(self, clusters: Informer[CephCluster], connections: Connections) -> None:
        self._clusters, self._connections = clusters, connections

    async def observe(self, pool: CephBlockPool, _: float) -> PoolObservation:
        """What the cluster says of a pool, or why it cannot be asked."""
        namespace = pool.metadata.namespace
        clusters = self._clusters.list(namespace)
        if not clusters:
            return PoolObservation(waits_for=f"a CephCluster in namespace {namespace}", cluster_gone=True)
        cluster, ceph = clusters[0], self._connections.get(namespace)
        health, name = cluster.status.ceph.health, f"CephCluster {cluster.metadata.name}"
        if ceph is None or not health:
            return PoolObservation(waits_for=f"{name} to answer")
        codes = ", ".join(obstacles(cluster.status.ceph))
        try:
            seen = await observe(ceph, pool)
            if codes:
                seen = replace(seen, hold=f"{name} to leave {HEALTH_ERR} ({codes})")
            if pool.metadata.deletion_timestamp is not None and seen.state is not None and not pool.spec.name:
                seen = replace(seen, contents=await contents_of(ceph, pool_name(pool)))
        except CephError as error:
            log.info("Cluster does not answer", pool=pool.metadata.name, namespace=namespace, error=str(error))
            return PoolObservation(waits_for=f"{name} to answer")
        return seen


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
    records = await Records(ceph, OWNED_PREFIX).read()
    return {setting: owned for (pool, setting), owned in records.items() if pool == name}


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
