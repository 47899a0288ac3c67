"""What a CephBlockPool asks for against what the Ceph cluster has: the plan that brings one to the other. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from controller.ceph.pool.act import MAX_NAMED
from controller.ceph.pool.spec import application, pool_name, unserved_intents
from controller.ceph.pools import analyze as pools
from controller.ceph.pools.spec import problems, unserved_placement
from controller.framework.consent import FORCE_ANNOTATION, is_forced
from controller.framework.kind import LetGo
from controller.framework.plan import Plan, Step
from controller.framework.text import some

if TYPE_CHECKING:
    from collections.abc import Iterator

    from controller.apis.ceph import CephBlockPool
    from controller.ceph.pools.observe import PoolObservation

AT_REST, WHILE_BLOCKED, WHILE_WAITING = 60.0, 20.0, 5.0
"""Seconds after which to look again at a pool that is as it should be, at one whose deletion is held back by what is in
it, which is listed each time, and at one that waits for something else."""


def analyze(pool: CephBlockPool, seen: PoolObservation) -> Plan:
    """The plan for a pool."""
    steps = tuple(_deletion(pool, seen) if pool.metadata.deletion_timestamp is not None else _steps(pool, seen))
    if any(step.consent for step in steps):
        return Plan(steps=steps, look_again=WHILE_BLOCKED)
    return Plan(steps=steps, look_again=WHILE_WAITING if steps else AT_REST)


def _steps(pool: CephBlockPool, seen: PoolObservation) -> Iterator[Step]:
    name, spec = pool_name(pool), pool.spec
    subject = f"pool {name}"
    invalid = problems(spec)
    if invalid:
        yield Step(subject=subject, reason="the spec cannot be carried out", waits_for="; ".join(invalid))
        return
    for path in unserved_intents(spec):
        reason = "this operator does not serve it, and without it the pool is not what the spec asks for"
        yield Step(subject=f"spec.{path}", reason=reason, waits_for="it to be taken out of the spec")
    if seen.state is None and unserved_placement(spec):
        return
    if seen.waits_for:
        yield Step(subject=subject, reason="to be compared with the cluster", waits_for=seen.waits_for)
        return
    yield from pools.steps(name, spec, seen, application(spec))


def _deletion(pool: CephBlockPool, seen: PoolObservation) -> Iterator[Step]:
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
        action = replace(pools.deletion(name, seen.state), forced=bool(seen.contents))
        yield Step(subject=subject, action=action, reason=reason, consent=consent)
        yield release
