"""What a CephObjectZone asks for against what there is: the plan that brings one to the other. Pure."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

from controller.ceph.multisite.period import epoch_of
from controller.ceph.multisite.sync import CAUGHT_UP
from controller.ceph.multisite.work import (
    BEING_DELETED,
    PROMOTE,
    REMOVE_ZONE,
    ZONE,
    bring_about,
    held_back,
    letting_go,
    work_of,
)
from controller.ceph.pools import analyze as pools
from controller.ceph.rgw import tool
from controller.ceph.rgw.names import realm_secret
from controller.ceph.rgw.pools import APPLICATION
from controller.ceph.zone.act import MAX_NAMED, Promote, RemovePools
from controller.ceph.zone.spec import (
    LOSS_ANNOTATION,
    PROMOTE_ANNOTATION,
    endpoints_of,
    place_of,
    pools_of,
    problems,
    promotion_of,
    unserved_placement,
    wanted,
)
from controller.framework.consent import FORCE_ANNOTATION, is_forced
from controller.framework.jobs import RunJob
from controller.framework.plan import Plan, Step
from controller.framework.text import some

if TYPE_CHECKING:
    from collections.abc import Iterator

    from controller.apis.ceph import CephObjectZone
    from controller.ceph.multisite.period import Period
    from controller.ceph.pods import Context
    from controller.ceph.pools.act import DeletePool
    from controller.ceph.zone.observe import ZoneObservation

AT_REST, WHILE_WAITING = 60.0, 10.0
"""Seconds after which to look again at a zone that is as it should be, and at one that waits for something."""
SETTLED = 60.0
"""Seconds after the end of a Job within which gateways may still go by what was before."""


def analyze(zone: CephObjectZone, seen: ZoneObservation, image: str) -> Plan:
    """The plan for a zone. `image`: the operator's."""
    deleting = zone.metadata.deletion_timestamp is not None
    steps = tuple(_deletion(zone, seen, image) if deleting else _steps(zone, seen, image))
    return Plan(steps=steps, look_again=WHILE_WAITING if steps else AT_REST)


def kept(zone: CephObjectZone, seen: ZoneObservation) -> tuple[str, ...]:
    """What the zone has otherwise than the spec asks, and cannot or must not be changed, in words."""
    found = ((pool, seen.pools.get(pool.name)) for pool in pools_of(zone) if not pool.shared)
    return tuple(
        f"{pool.path}: {difference}"
        for pool, has in found
        if has is not None
        for difference in pools.kept(pool.spec, has)
    )


def _steps(zone: CephObjectZone, seen: ZoneObservation, image: str) -> Iterator[Step]:
    subject, context = f"zone {zone.metadata.name}", seen.ground.context
    held = _held(zone, seen)
    if held is not None or context is None:
        reason, waits_for = held or ("to be compared with the cluster", "the cluster to answer")
        yield Step(subject=subject, reason=reason, waits_for=waits_for)
        return
    lacking = [pool for pool in pools_of(zone) if seen.pools[pool.name].state is None]
    shortage = seen.budget.shortage([pool.spec for pool in lacking]) if seen.budget is not None else ""
    if shortage:
        yield Step(subject=subject, reason="its pools cannot be made", waits_for=f"room for them: {shortage}")
        return
    yield from _pools(zone, seen)
    if lacking:
        names = some([pool.name for pool in lacking], MAX_NAMED)
        yield Step(subject=subject, reason="it is to be in its zone group", waits_for=f"its pools: {names}")
        return
    endpoints = endpoints_of(zone, seen.stores)
    work = work_of(
        context,
        ZONE,
        place_of(zone, seen.realm),
        wanted(zone, endpoints, seen.keys.version),
        credentials=realm_secret(seen.realm),
    )
    reason = "it is to be in its zone group as the spec has it"
    undone = _undone(zone, seen, endpoints)
    yield from bring_about(seen.ground, work, image, subject=subject, reason=reason, undone=undone)
    yield from _promotion(zone, seen, context, endpoints, image)


def _held(zone: CephObjectZone, seen: ZoneObservation) -> tuple[str, str] | None:
    """Why nothing can be done yet, and what has to happen; None: something can."""
    invalid = problems(zone)
    if invalid:
        return "the spec cannot be carried out", "; ".join(invalid)
    waits_for = seen.ground.waits_for or seen.waits_for
    if waits_for:
        return "to be compared with the cluster", waits_for
    unserved = unserved_placement(zone)
    if unserved and not seen.ground.exists:
        reason = f"this operator does not serve {', '.join(unserved)}, which says where data goes"
        return reason, "it to be taken out of the spec"
    secret = realm_secret(seen.realm)
    if not seen.keys.present or seen.keys.missing:
        return "it speaks to other zones by the realm's keys", f"Secret {secret} with {seen.keys.missing or 'the keys'}"
    if seen.missing:
        return "spec.sharedPools names pools that are not there", f"pool {', '.join(seen.missing)} to be made"
    return None


def _pools(zone: CephObjectZone, seen: ZoneObservation) -> Iterator[Step]:
    for pool in pools_of(zone):
        found = seen.pools[pool.name]
        if pool.shared and found.state is not None:
            continue
        strangers = found.state.applications - {APPLICATION} if found.state is not None else frozenset()
        if strangers and found.state is not None and APPLICATION not in found.state.applications:
            reason = f"there is one for {' and '.join(sorted(strangers))}"
            yield Step(subject=f"pool {pool.name}", reason=reason, waits_for="the CephObjectZone to get another name")
        else:
            yield from pools.steps(pool.name, pool.spec, found, APPLICATION)


def _undone(zone: CephObjectZone, seen: ZoneObservation, endpoints: tuple[str, ...]) -> str:
    """How what the zone's Job did was undone by somebody else, in words; empty: it was not."""
    if not seen.ground.exists:
        return "it is gone from Ceph"
    if seen.period is None or not _is_settled(seen):
        return ""
    own = seen.period.zone(zone.metadata.name)
    if own is None:
        return "it is gone from the realm's period"
    if endpoints and own.endpoints != endpoints:
        return f"other zones know it by {', '.join(own.endpoints) or 'no endpoint'}, not by {', '.join(endpoints)}"
    return ""


def _is_settled(seen: ZoneObservation) -> bool:
    job = seen.ground.run.job
    ended = [c.last_transition_time for c in job.status.conditions if c.type == "Complete"] if job is not None else []
    times = (datetime.fromisoformat(time).timestamp() for time in ended if time)
    return seen.ground.now - max(times, default=0.0) > SETTLED


def _promotion(
    zone: CephObjectZone, seen: ZoneObservation, context: Context, endpoints: tuple[str, ...], image: str
) -> Iterator[Step]:
    asked, period, name = promotion_of(zone), seen.period, zone.metadata.name
    if asked is None:
        return
    subject, reason = f"master of realm {seen.realm}", f"zone {name} is asked to take over from {asked.over}"
    if period is None:
        yield Step(subject=subject, reason=reason, waits_for="a gateway of the zone to tell who is master")
        return
    epoch = epoch_of(asked.over) or 0
    if period.master == name or epoch < period.epoch:
        return
    if asked.over != period.term:
        waits_for = f"annotation {PROMOTE_ANNOTATION} to be {period.term}, or to be taken away"
        yield Step(subject=subject, reason=f"{reason}, and the master is {period.term}", waits_for=waits_for)
        return
    lacks = _lacks(seen, period)
    lossy = bool(lacks)
    consent = f'annotation {LOSS_ANNOTATION}: "{period.term}"' if lacks and not asked.lossy else ""
    given = {"over": asked.over, "lossy": lossy, "endpoints": list(endpoints)}
    work = work_of(context, PROMOTE, place_of(zone, seen.realm), given, act=PROMOTE)
    if lacks:
        reason = f"{reason}; {lacks}"
    steps = tool.ensure(seen.promoting, context, work, image, subject=subject, reason=reason)
    for step in steps:
        if isinstance(step.action, RunJob):
            action = Promote(asked.over, lossy, step.action.job, step.action.attempt)
            yield replace(step, action=action, consent=consent)
        else:
            yield step
    if not steps:
        yield Step(subject=subject, reason=reason, waits_for="the gateways of the zone to go by it")


def _lacks(seen: ZoneObservation, period: Period) -> str:
    """What is lost with the present master, in words; empty: nothing that is known of."""
    found = seen.replication.metadata if seen.replication is not None else None
    if found is not None and found.state == CAUGHT_UP:
        return ""
    lost = f"changes of users and buckets that were made in zone {period.master} and have not come here are lost"
    if found is None or found.message:
        why = found.message if found is not None else "it has not been asked yet"
        return f"{lost}: nobody can tell which ({why})"
    since = f", of {found.oldest} and later" if found.oldest else ""
    return f"{lost}: {found.state}, {found.behind_shards} parts of its log are ahead{since}"


def _deletion(zone: CephObjectZone, seen: ZoneObservation, image: str) -> Iterator[Step]:
    ground, subject = seen.ground, f"zone {zone.metadata.name}"
    held = tuple(held_back(ground, seen.users, subject=subject))
    yield from held
    if held:
        return
    going = () if zone.spec.preserve_pools_on_delete else tuple(_going(zone, seen))
    forced = is_forced(zone.metadata.annotations)
    if going and seen.contents and not forced:
        reason = f"it has {some(seen.contents, MAX_NAMED)}, and its pools are to go"
        consent = f'annotation {FORCE_ANNOTATION}: "true", which destroys all that is in it'
        yield Step(subject=subject, action=RemovePools(going), reason=reason, consent=consent)
        return
    if ground.context is not None and ground.exists:
        place, secret = place_of(zone, seen.realm), realm_secret(seen.realm)
        work = work_of(ground.context, REMOVE_ZONE, place, {}, credentials=secret)
        steps = tuple(bring_about(ground, work, image, subject=subject, reason=BEING_DELETED))
        yield from steps
        if steps:
            return
    if going:
        action = RemovePools(going, forced=bool(seen.contents))
        yield Step(subject=subject, action=action, reason=BEING_DELETED, deadline=120.0)
    yield from letting_go(ground, subject=subject)


def _going(zone: CephObjectZone, seen: ZoneObservation) -> Iterator[DeletePool]:
    """The pools that can be nobody else's."""
    for pool in pools_of(zone):
        found = seen.pools.get(pool.name)
        state = found.state if found is not None else None
        if state is not None and not pool.shared and state.applications <= {APPLICATION}:
            yield pools.deletion(pool.name, state)
