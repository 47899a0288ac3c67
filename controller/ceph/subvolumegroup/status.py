"""`status` of a CephFilesystemSubVolumeGroup. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from controller.ceph.subvolumegroup.act import PinGroup
from controller.ceph.subvolumegroup.analyze import MAX_NAMED, kept, told_pinning
from controller.ceph.subvolumegroup.spec import unserved
from controller.framework import honoured
from controller.framework.plan import StepState
from controller.framework.status import Words, conditions, fields, stage_of
from controller.framework.text import some

if TYPE_CHECKING:
    from controller.apis.ceph import CephFilesystemSubVolumeGroup, SubVolumeGroupStatus
    from controller.ceph.subvolumegroup.observe import GroupObservation
    from controller.framework.kind import Look
    from controller.framework.plan import Outcome

WORDS = Words(well="The group is as the spec has it", leaving="The CephFilesystemSubVolumeGroup is being deleted")


def show(look: Look[CephFilesystemSubVolumeGroup], seen: GroupObservation, outcome: Outcome) -> SubVolumeGroupStatus:
    """See `controller.framework.kind.ControlLoop`."""
    group, present = look.obj, look.obj.status
    stage = stage_of(look, outcome, WORDS)
    blocked = f"it has {some(seen.subvolumes, MAX_NAMED)}" if seen.subvolumes else ""
    told = honoured.differing(kept(group, seen), unserved(look.spec), group.metadata.generation)
    found = (*conditions(stage, WORDS, blocked=blocked), told)
    info = dict(present.info or {})
    pinned = any(isinstance(r.step.action, PinGroup) and r.state is StepState.DONE for r in outcome.results)
    if pinned:
        info["pinning"] = told_pinning(group)
    return msgspec.structs.replace(present, **fields(present, look, outcome, stage, found), info=info)
