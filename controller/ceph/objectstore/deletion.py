"""How a store goes: what uses it, what is in it, its gateways, its place, its pools, and its keys last. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from controller.ceph.access.config import UnsetConfig
from controller.ceph.objectstore.act import (
    MAX_NAMED,
    CloseStore,
    PurgePool,
    RemovePlace,
    RemovePool,
    RemoveUser,
    StopGateway,
)
from controller.ceph.objectstore.gateways import first_key, keys_of
from controller.ceph.objectstore.objects import store_labels
from controller.ceph.objectstore.spec import gateways, pools_of, removal_name, shares_pools
from controller.ceph.pools import analyze as pools
from controller.ceph.rgw import tool
from controller.ceph.rgw.names import entity_of, gateway_of, keyring_name, own_place
from controller.ceph.rgw.pools import APPLICATION, shared_pool_names
from controller.ceph.rgw.tool import REMOVE, Work
from controller.framework import jobs
from controller.framework.consent import FORCE_ANNOTATION, is_forced, is_stale
from controller.framework.kind import LetGo
from controller.framework.plan import Step
from controller.framework.text import some

if TYPE_CHECKING:
    from collections.abc import Iterator

    from controller.apis.ceph import CephObjectStore
    from controller.ceph.objectstore.observe import StoreObservation
    from controller.ceph.pods import Context

REASON = "the CephObjectStore is being deleted"


@dataclass(frozen=True, slots=True)
class _Permission:
    """By what a store goes.

    Attributes:
        reason: Why it goes.
        consent: The consent that it lacks; empty: none.
        forced: Whether it goes by consent.
        subject: The store, whose lane all steps are in.
    """

    reason: str
    consent: str
    forced: bool
    subject: str

    def step(self, action: object, subject: str) -> Step:
        """A step that destroys something."""
        return Step(
            subject=subject,
            action=action,
            reason=self.reason,
            consent=self.consent,
            lane=self.subject,
            deadline=120.0,
        )


def deletion(store: CephObjectStore, seen: StoreObservation) -> Iterator[Step]:
    """The steps by which a store goes, all in one lane."""
    subject = f"object store {store.metadata.name}"
    release = Step(subject=subject, action=LetGo(), reason=REASON)
    if seen.cluster_gone:
        yield release
        return
    if seen.waits_for or seen.context is None:
        waits_for = seen.waits_for or "the cluster to answer"
        yield Step(subject=subject, reason=REASON, waits_for=waits_for)
        return
    if seen.users:
        yield Step(subject=subject, reason=REASON, waits_for=f"{some(seen.users, MAX_NAMED)} to be deleted")
        return
    reason, consent, forced = _permission(store, seen)
    stops = tuple(
        StopGateway(key, found.metadata.name, found.metadata.uid)
        for key, found in sorted(seen.deployments.items())
        if found.metadata.deletion_timestamp is None
    )
    if stops:
        action = CloseStore(stops, forced)
        yield Step(subject=subject, action=action, reason=reason, consent=consent, deadline=120.0)
    running = sorted(key for key, found in seen.pods.items() if found)
    if running:
        yield Step(subject=subject, reason=REASON, waits_for=f"gateway {running[0]} to be gone")
        return
    if not store.spec.zone.name:
        allowed = _Permission(reason, consent, forced, subject)
        place = tuple(_place(store, seen.context, seen, allowed))
        yield from place
        if place:
            return
        yield from _data(store, seen, allowed)
    yield from _keys(store, seen, subject)
    yield release


def _permission(store: CephObjectStore, seen: StoreObservation) -> tuple[str, str, bool]:
    """Why the store goes, the consent that this lacks (empty: none), and whether it goes by consent."""
    keeps_data = store.spec.preserve_pools_on_delete or bool(store.spec.zone.name)
    contents = () if keeps_data else seen.contents
    old = is_stale(store.metadata, seen.now) and not keeps_data
    needs = bool(contents) or old
    forced = is_forced(store.metadata.annotations)
    reason = f"it has {some(contents, MAX_NAMED)}" if contents else REASON
    if old and not contents:
        reason = "its deletion was asked for more than a day ago, and something was in the way until now"
    consent = f'annotation {FORCE_ANNOTATION}: "true", which destroys all that is in it' if needs and not forced else ""
    return reason, consent, needs


def removal_work(store: CephObjectStore, context: Context) -> Work:
    """What removes realm, zone group and zone of a store that is in no CephObjectZone."""
    daemon = gateway_of(store.metadata.name, "a")
    return Work(
        name=removal_name(store),
        what=REMOVE,
        place=own_place(store.metadata.name),
        entity=entity_of(daemon),
        keyring=keyring_name(daemon),
        labels={**store_labels(context), "app": "rook-ceph-rgw-removal"},
        uid=store.metadata.uid,
    )


def _place(store: CephObjectStore, context: Context, seen: StoreObservation, allowed: _Permission) -> Iterator[Step]:
    """Realm, zone group and zone; no step where they are gone."""
    work = removal_work(store, context)
    if not seen.has_root or tool.is_done(seen.removal, work):
        return
    yield from first_key(store, context, seen)
    for step in tool.ensure(seen.removal, context, work, seen.image, subject=allowed.subject, reason=allowed.reason):
        action: object = step.action
        if isinstance(action, jobs.RunJob):
            action = RemovePlace(action.job, action.attempt, allowed.forced)
        yield replace(step, action=action, consent=allowed.consent if step.action is not None else "")


def _data(store: CephObjectStore, seen: StoreObservation, allowed: _Permission) -> Iterator[Step]:
    """What the store has in pools: its own pools whole, and of shared ones its namespaces."""
    if shares_pools(store) and not store.spec.shared_pools.preserve_rados_namespace_data_on_delete:
        for pool in shared_pool_names(store.spec.shared_pools):
            if pool not in seen.missing_pools and seen.remains.get(pool):
                action = PurgePool(pool, f"{store.metadata.name}.", allowed.forced)
                yield allowed.step(action, f"pool {pool}")
    if store.spec.preserve_pools_on_delete:
        return
    for asked in pools_of(store):
        state = seen.pools[asked.name].state
        if state is None or not state.applications <= {APPLICATION} or (asked.shared and seen.others):
            continue
        yield allowed.step(RemovePool(pools.deletion(asked.name, state), allowed.forced), f"pool {asked.name}")


def _keys(store: CephObjectStore, seen: StoreObservation, subject: str) -> Iterator[Step]:
    """Settings and cephx users of gateways; what is left of a store is found by their Secrets, which go with it."""
    for who, name in sorted(seen.config.owned):
        yield Step(subject=f"setting {who} {name}", action=UnsetConfig(who, name), reason=REASON, lane=subject)
    name = store.metadata.name
    known = {gateway_of(name, "a").id, *(daemon.id for daemon in gateways(store)), *keys_of(store, seen)}
    for key in sorted(known):
        action = RemoveUser(entity_of(gateway_of(name, key.removeprefix(f"{name}-"))))
        yield Step(subject=f"gateway {key}", action=action, reason=REASON, lane=subject)
