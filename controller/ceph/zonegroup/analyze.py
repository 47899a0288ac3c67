"""What a CephObjectZoneGroup asks for against what the cluster has: the plan between the two. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from controller.ceph.multisite.work import REMOVE_ZONE_GROUP, ZONE_GROUP, bring_about, removal, work_of
from controller.ceph.zonegroup.spec import place_of, problems
from controller.framework.plan import Plan, Step

if TYPE_CHECKING:
    from collections.abc import Iterator

    from controller.apis.ceph import CephObjectZoneGroup
    from controller.ceph.pods import Context
    from controller.ceph.rgw.tool import Work
    from controller.ceph.zonegroup.observe import ZoneGroupObservation

AT_REST, WHILE_WAITING = 60.0, 10.0
"""Seconds after which to look again at a zone group that is as it should be, and at one that waits for something."""


def analyze(group: CephObjectZoneGroup, seen: ZoneGroupObservation, image: str) -> Plan:
    """The plan for a zone group. `image`: the operator's."""
    if group.metadata.deletion_timestamp is None:
        steps = tuple(_steps(group, seen, image))
    else:
        subject = f"zone group {group.metadata.name}"
        steps = tuple(removal(seen.ground, seen.users, lambda c: _going(group, c), image, subject=subject))
    return Plan(steps=steps, look_again=WHILE_WAITING if steps else AT_REST)


def _steps(group: CephObjectZoneGroup, seen: ZoneGroupObservation, image: str) -> Iterator[Step]:
    subject, ground = f"zone group {group.metadata.name}", seen.ground
    invalid = problems(group)
    if invalid:
        yield Step(subject=subject, reason="the spec cannot be carried out", waits_for="; ".join(invalid))
        return
    waits_for = ground.waits_for or seen.waits_for
    if waits_for or ground.context is None:
        waits_for = waits_for or "the cluster to answer"
        yield Step(subject=subject, reason="to be compared with the cluster", waits_for=waits_for)
        return
    work = work_of(ground.context, ZONE_GROUP, place_of(group), {})
    undone = "" if ground.exists else "it is gone from Ceph"
    reason = "it is to be in its realm"
    yield from bring_about(ground, work, image, subject=subject, reason=reason, undone=undone)


def _going(group: CephObjectZoneGroup, context: Context) -> Work:
    return work_of(context, REMOVE_ZONE_GROUP, place_of(group), {})
