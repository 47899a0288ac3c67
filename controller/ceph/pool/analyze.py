"""What a CephBlockPool asks for against what the Ceph cluster has: the plan that brings one to the other. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from controller.ceph.mirroring import analyze as mirroring
from controller.ceph.mirroring.place import Mode, Place
from controller.ceph.mirroring.wanted import of_pool
from controller.ceph.pool.act import MAX_NAMED
from controller.ceph.pool.spec import application, pool_name, problems
from controller.ceph.pools import analyze as pools
from controller.ceph.pools.spec import unserved_placement
from controller.framework.consent import FORCE_ANNOTATION, is_forced
from controller.framework.kind import LetGo
from controller.framework.plan import AT_REST, Step, polled
from controller.framework.text import some

if TYPE_CHECKING:
    from collections.abc import Iterator

    from controller.apis.ceph import CephBlockPool
    from controller.ceph.pool.observe import BlockPoolObservation
    from controller.framework.plan import Plan

WHILE_WAITING = 5.0
"""Seconds after which to look again at a pool that waits for something other than consent."""


def analyze(pool: CephBlockPool, seen: BlockPoolObservation) -> Plan:
    """The plan for a pool."""
    steps = tuple(_deletion(pool, seen) if pool.metadata.deletion_timestamp is not None else _steps(pool, seen))
    wanted = of_pool(pool.spec)
    at_rest = AT_REST if wanted.mode is Mode.DISABLED or not wanted.watched else min(AT_REST, wanted.interval)
    return polled(steps, at_rest=at_rest, while_waiting=WHILE_WAITING)


def _steps(pool: CephBlockPool, seen: BlockPoolObservation) -> Iterator[Step]:
    name, spec = pool_name(pool), pool.spec
    subject = f"pool {name}"
    invalid = problems(spec)
    if invalid:
        yield Step(subject=subject, reason="the spec cannot be carried out", waits_for="; ".join(invalid))
        return
    for path in unserved_placement(spec):
        reason = "this operator does not serve it, and without it the pool is not what the spec asks for"
        yield Step(subject=f"spec.{path}", reason=reason, waits_for="it to be taken out of the spec")
    if seen.state is None and unserved_placement(spec):
        return
    if seen.waits_for:
        yield Step(subject=subject, reason="to be compared with the cluster", waits_for=seen.waits_for)
        return
    yield from pools.steps(name, spec, seen, application(spec))
    if seen.state is not None:
        yield from _mirroring(pool, seen)


def _mirroring(pool: CephBlockPool, seen: BlockPoolObservation) -> Iterator[Step]:
    place, wanted, meta = Place(pool_name(pool)), of_pool(pool.spec), pool.metadata
    if seen.mirror_hold:
        yield Step(subject=f"mirroring of {place.name}", reason="the spec asks for it", waits_for=seen.mirror_hold)
        return
    yield from mirroring.steps(place, wanted, seen.mirror)
    yield from mirroring.token(wanted, seen.mirror, meta.namespace, meta.name, key_type=seen.key_type)
    yield from mirroring.peers(place, wanted, seen.mirror)


def _deletion(pool: CephBlockPool, seen: BlockPoolObservation) -> Iterator[Step]:
    name = pool_name(pool)
    subject = f"pool {name}"
    release = Step(subject=subject, action=LetGo(), reason="the CephBlockPool is being deleted")
    if seen.cluster_gone or pool.spec.name:
        # Without a cluster there is nothing to delete; and Ceph's own pools are not ours to delete.
        yield release
    elif seen.waits_for:
        yield Step(subject=subject, reason="the pool is to be deleted", waits_for=seen.waits_for)
    elif seen.users:
        waits_for = f"what uses it to be deleted: {some(seen.users, MAX_NAMED)}"
        yield Step(subject=subject, reason="the pool is to be deleted", waits_for=waits_for)
    elif seen.state is None:
        yield release
    else:
        consent = ""
        reason = "the CephBlockPool is being deleted"
        if seen.contents:
            reason = f"it has {some(seen.contents, MAX_NAMED)}"
            forced = is_forced(pool.metadata.annotations)
            consent = "" if forced else f'annotation {FORCE_ANNOTATION}: "true", which destroys their data'
        yield from mirroring.leaving(Place(name), seen.mirror, reason, lane=subject, consent=consent)
        action = replace(pools.deletion(name, seen.state), forced=bool(seen.contents))
        yield Step(subject=subject, action=action, reason=reason, consent=consent)
        yield release
