"""`status` of a CephBucketTopic. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from controller.ceph.topic.act import CreateTopic
from controller.ceph.topic.analyze import blocked, invalid
from controller.framework import honoured
from controller.framework.plan import StepState
from controller.framework.status import Words, conditions, fields, stage_of

if TYPE_CHECKING:
    from controller.apis.ceph import BucketTopicStatus, CephBucketTopic
    from controller.ceph.topic.observe import TopicObservation
    from controller.framework.kind import Look
    from controller.framework.plan import Outcome

WORDS = Words(well="The topic is as the spec has it", leaving="The CephBucketTopic is being deleted")


def show(look: Look[CephBucketTopic], seen: TopicObservation, outcome: Outcome) -> BucketTopicStatus:
    """See `controller.framework.kind.ControlLoop`."""
    topic, present = look.obj, look.obj.status
    wrong = invalid(topic, seen)
    stage = stage_of(look, outcome, WORDS, invalid="; ".join(wrong))
    held = blocked(seen)
    found = (
        *conditions(stage, WORDS, blocked=f"it is used by {held}" if held else ""),
        honoured.condition((), (), topic.metadata.generation),
    )
    given = any(isinstance(r.step.action, CreateTopic) and r.state is StepState.DONE for r in outcome.results)
    shown = msgspec.structs.replace(
        present,
        **fields(present, look, outcome, stage, found),
        secrets=seen.wanted.read,
        digest=seen.wanted.digest if given else present.digest,
    )
    # What is there, or was given what the spec says a moment ago, is the object's.
    is_own = given or (seen.present and not wrong)
    return msgspec.structs.replace(shown, arn=seen.arn) if is_own else shown
