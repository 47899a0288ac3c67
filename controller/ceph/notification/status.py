"""`status` of a CephBucketNotification. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from controller.ceph.notification.spec import problems
from controller.framework import honoured
from controller.framework.status import Words, conditions, fields, stage_of

if TYPE_CHECKING:
    from controller.apis.ceph import BucketNotificationStatus, CephBucketNotification
    from controller.ceph.notification.observe import NotificationObservation
    from controller.framework.kind import Look
    from controller.framework.plan import Outcome

WORDS = Words(
    well="The buckets of all claims that ask for it have it", leaving="The CephBucketNotification is being deleted"
)


def show(
    look: Look[CephBucketNotification], seen: NotificationObservation, outcome: Outcome
) -> BucketNotificationStatus:
    """See `controller.framework.kind.ControlLoop`."""
    notification, present = look.obj, look.obj.status
    stage = stage_of(look, outcome, WORDS, invalid="; ".join(problems(notification)))
    found = (*conditions(stage, WORDS), honoured.condition((), (), notification.metadata.generation))
    # Also those that it is about to be taken from, and those that may get it: it is taken back from no others.
    noted = tuple(sorted(t.claim for t in seen.targets if t.asked_for or t.has is not None or t.waits_for))
    return msgspec.structs.replace(present, **fields(present, look, outcome, stage, found), buckets=noted)
