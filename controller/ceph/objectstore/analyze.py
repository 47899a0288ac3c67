"""What a CephObjectStore asks for against what there is: the plan that brings one to the other. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from controller.ceph.objectstore import gateways
from controller.ceph.objectstore.act import CreateAdminKeys
from controller.ceph.objectstore.deletion import deletion
from controller.ceph.objectstore.objects import store_labels
from controller.ceph.objectstore.spec import (
    instances,
    pools_of,
    problems,
    setup_name,
    unserved_intents,
    unserved_placement,
    wanted,
)
from controller.ceph.pools import analyze as pools
from controller.ceph.rgw import tool
from controller.ceph.rgw.names import ADMIN_USER, admin_secret, entity_of, gateway_of, keyring_name, own_place
from controller.ceph.rgw.pools import APPLICATION
from controller.ceph.rgw.tool import CONVERGE, Work
from controller.framework.plan import Step, polled
from controller.runtime.kube import SECRET

if TYPE_CHECKING:
    from collections.abc import Iterator

    from controller.apis.ceph import CephObjectStore
    from controller.ceph.objectstore.observe import StoreObservation
    from controller.ceph.pods import Context, Release
    from controller.ceph.pools.observe import PoolObservation
    from controller.ceph.rgw.pools import StorePool
    from controller.framework.plan import Plan

ADMIN_CAPS = {"buckets": "*", "users": "*", "usage": "read", "metadata": "*", "zone": "read"}
"""What the operator's own user may do in a store: upstream's, and writing users' keys, which go by their metadata."""
ACCOUNTS_SINCE = 19
"""The Ceph release from which on there are accounts, which that user may manage."""


def analyze(store: CephObjectStore, seen: StoreObservation) -> Plan:
    """The plan for a store."""
    deleting = store.metadata.deletion_timestamp is not None
    steps = tuple(deletion(store, seen) if deleting else _steps(store, seen))
    return polled(steps)


def kept(store: CephObjectStore, seen: StoreObservation) -> tuple[str, ...]:
    """What the store has otherwise than the spec asks, and cannot or must not be changed, in words."""
    return tuple(_kept(store, seen))


def _kept(store: CephObjectStore, seen: StoreObservation) -> Iterator[str]:
    for pool in pools_of(store):
        found = seen.pools.get(pool.name)
        if found is not None and not pool.shared:
            yield from (f"{pool.path} (pool {pool.name}): {difference}" for difference in pools.kept(pool.spec, found))


def setup_work(store: CephObjectStore, context: Context) -> Work:
    """What makes realm, zone group, zone and the operator's own user of a store that is in no CephObjectZone."""
    name, daemon = store.metadata.name, gateway_of(store.metadata.name, "a")
    user = {"uid": ADMIN_USER, "displayName": "RGW Admin Ops User", "caps": _admin_caps(context.release)}
    return Work(
        name=setup_name(store),
        what=CONVERGE,
        place=own_place(name),
        wanted={**wanted(store), "user": user},
        entity=entity_of(daemon),
        keyring=keyring_name(daemon),
        credentials=admin_secret(name),
        labels={**store_labels(context), "app": "rook-ceph-rgw-setup"},
        uid=store.metadata.uid,
    )


def _admin_caps(release: Release) -> dict[str, str]:
    return {**ADMIN_CAPS, **({"accounts": "*"} if release.version.major >= ACCOUNTS_SINCE else {})}


def is_set_up(store: CephObjectStore, seen: StoreObservation) -> bool:
    """Whether Ceph has the store's zone as the spec asks."""
    if store.spec.zone.name:
        return seen.place is not None and not seen.place_waits_for
    return seen.context is not None and tool.is_done(seen.setup, setup_work(store, seen.context))


def _steps(store: CephObjectStore, seen: StoreObservation) -> Iterator[Step]:
    subject = f"object store {store.metadata.name}"
    invalid = problems(store)
    if invalid:
        yield Step(subject=subject, reason="the spec cannot be carried out", waits_for="; ".join(invalid))
        return
    for path in unserved_intents(store):
        reason = "this operator does not serve it, and without it the store is not what the spec asks for"
        yield Step(subject=f"spec.{path}", reason=reason, waits_for="it to be taken out of the spec")
    if unserved_placement(store) and any(found.state is None for found in seen.pools.values()):
        return
    if seen.waits_for or seen.context is None:
        waits_for = seen.waits_for or "the cluster to answer"
        yield Step(subject=subject, reason="to be compared with the cluster", waits_for=waits_for)
        return
    pool_steps = tuple(_pools(store, seen))
    yield from pool_steps
    yield from gateways.keys(store, seen.context, seen)
    yield from gateways.network(store, seen.context, seen)
    yield from _place(store, seen.context, seen, subject)
    if _is_known(store, seen) and not seen.missing_secrets and seen.place is not None:
        yield from gateways.configuration(store, seen)
        yield from gateways.rollout(store, seen.context, seen, seen.place)
        yield from gateways.surplus(store, seen)
    elif seen.missing_secrets:
        waits_for = f"{' and '.join(seen.missing_secrets)} to exist"
        yield Step(subject="gateways", reason="the spec refers to what is not there", waits_for=waits_for)
    yield from _health(store, seen, subject)


def _is_known(store: CephObjectStore, seen: StoreObservation) -> bool:
    """Whether gateways can serve: the zone is there, be it as the spec asks by now or as it asked before."""
    return is_set_up(store, seen) or (not store.spec.zone.name and bool(store.status.info.get("zone")))


def _pools(store: CephObjectStore, seen: StoreObservation) -> Iterator[Step]:
    for name in seen.missing_pools:
        waits_for = f"pool {name}, as of a CephBlockPool, to exist"
        yield Step(subject=f"pool {name}", reason="spec.sharedPools names it", waits_for=waits_for)
    asked = pools_of(store)
    missing = [pool for pool in asked if seen.pools[pool.name].state is None]
    shortage = seen.budget.shortage(pool.spec for pool in missing) if seen.budget is not None else ""
    if shortage:
        reason = f"{len(missing)} pools are missing"
        yield Step(subject="pools", reason=reason, waits_for=f"room for placement groups: {shortage}")
        return
    for pool in asked:
        found = seen.pools[pool.name]
        strangers = _strangers(found)
        if strangers:
            waits_for = "it to be renamed, or the store to get another name"
            yield Step(subject=f"pool {pool.name}", reason=f"there is one for {strangers}", waits_for=waits_for)
        elif not pool.shared or found.state is None or not found.state.applications:
            yield from pools.steps(pool.name, pool.spec, found, APPLICATION)


def _strangers(found: PoolObservation) -> str:
    """What a pool of a store's pool's name is for that is not a store's; empty: it is one's, or may become it."""
    state = found.state
    if state is None or not state.applications or APPLICATION in state.applications:
        return ""
    return " and ".join(sorted(state.applications))


def _place(store: CephObjectStore, context: Context, seen: StoreObservation, subject: str) -> Iterator[Step]:
    """Realm, zone group and zone, and the operator's own user."""
    if store.spec.zone.name:
        if seen.place_waits_for or seen.place is None:
            waits_for = seen.place_waits_for or f"CephObjectZone {store.spec.zone.name} to be made"
            yield Step(subject=subject, reason="its gateways serve a zone", waits_for=waits_for)
        return
    name = admin_secret(store.metadata.name)
    if (SECRET.kind, name) not in seen.live:
        reason = f"Secret {name} does not exist"
        yield Step(subject="admin user", action=CreateAdminKeys(name), reason=reason)
        return
    lacking = _lacking(pools_of(store), seen)
    if lacking or gateways_lack_key(store, seen):
        waits_for = lacking or f"the key of gateway {gateway_of(store.metadata.name, 'a').id}"
        if not is_set_up(store, seen):
            yield Step(subject=subject, reason="its zone is not set up", waits_for=waits_for)
        return
    reason = "realm, zone group, zone and the operator's user are to be as the spec asks"
    yield from tool.ensure(seen.setup, context, setup_work(store, context), seen.image, subject=subject, reason=reason)


def gateways_lack_key(store: CephObjectStore, seen: StoreObservation) -> bool:
    """Whether the key is missing with which Jobs work."""
    return (SECRET.kind, keyring_name(gateway_of(store.metadata.name, "a"))) not in seen.live


def _lacking(asked: tuple[StorePool, ...], seen: StoreObservation) -> str:
    missing = [pool.name for pool in asked if seen.pools[pool.name].state is None] or [*seen.missing_pools]
    return f"pool {missing[0]}" if missing else ""


def _health(store: CephObjectStore, seen: StoreObservation, subject: str) -> Iterator[Step]:
    if instances(store) and seen.checked is not None and seen.checked.trouble:
        waits_for = f"its gateways to put, get and delete an object: {seen.checked.trouble}"
        yield Step(subject=subject, reason="it does not serve S3", waits_for=waits_for)
