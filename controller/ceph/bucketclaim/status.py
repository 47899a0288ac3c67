"""`status` of an ObjectBucketClaim. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from controller.ceph.bucketclaim.analyze import kept
from controller.ceph.bucketclaim.spec import idle, problems
from controller.framework import honoured
from controller.framework.status import DELETING, READY, Words, conditions, fields, stage_of

if TYPE_CHECKING:
    from controller.apis.objectbucket import ObjectBucketClaim, ObjectBucketClaimStatus
    from controller.ceph.bucketclaim.observation import ClaimObservation
    from controller.framework.kind import Look
    from controller.framework.plan import Outcome

PENDING, BOUND, RELEASED = "Pending", "Bound", "Released"
"""Phases; upstream's."""
WORDS = Words(well="The claim has its bucket", leaving="The claim is being deleted", ready="Bound")


def show(look: Look[ObjectBucketClaim], seen: ClaimObservation, outcome: Outcome) -> ObjectBucketClaimStatus:
    """See `controller.framework.kind.ControlLoop`.

    A claim that was bound stays so while something of it is mended: programs work on.
    """
    claim, present = look.obj, look.obj.status
    stage = stage_of(look, outcome, WORDS, invalid="; ".join(problems(claim, seen.terms, seen.allowed)))
    told = honoured.differing((*kept(claim, seen), *idle(claim)), (), claim.metadata.generation)
    shown = fields(present, look, outcome, stage, (*conditions(stage, WORDS), told))
    if stage.phase == DELETING:
        phase = RELEASED
    else:
        phase = BOUND if stage.phase == READY or present.phase == BOUND else PENDING
    return msgspec.structs.replace(present, **{**shown, "phase": phase})
