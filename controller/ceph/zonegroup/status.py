"""`status` of a CephObjectZoneGroup. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from controller.ceph.multisite.status import blocked
from controller.ceph.rgw import tool
from controller.ceph.zonegroup.spec import problems
from controller.framework.status import Words, conditions, fields, stage_of

if TYPE_CHECKING:
    from controller.apis.ceph import CephObjectZoneGroup
    from controller.apis.ceph.object_multisite_status import CephObjectZoneGroupStatus
    from controller.ceph.zonegroup.observe import ZoneGroupObservation
    from controller.framework.kind import Look
    from controller.framework.plan import Outcome

WORDS = Words(well="The zone group is as the spec has it", leaving="The CephObjectZoneGroup is being deleted")


def show(look: Look[CephObjectZoneGroup], seen: ZoneGroupObservation, outcome: Outcome) -> CephObjectZoneGroupStatus:
    """See `controller.framework.kind.ControlLoop`."""
    group, present = look.obj, look.obj.status
    stage = stage_of(look, outcome, WORDS, invalid="; ".join(problems(group)))
    told = tool.answer(seen.ground.run)
    return msgspec.structs.replace(
        present,
        **fields(present, look, outcome, stage, conditions(stage, WORDS, blocked=blocked(seen.users))),
        id=told.get("id", present.id),
        is_master=told.get("isMaster", present.is_master),
    )
