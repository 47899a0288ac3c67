"""What a CephBucketTopic asks for against what the gateways have: the plan between the two. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from controller.ceph.topic.act import CreateTopic, RemoveTopic
from controller.ceph.topic.spec import problems
from controller.framework.kind import LetGo
from controller.framework.plan import Plan, Step
from controller.framework.text import some

if TYPE_CHECKING:
    from collections.abc import Iterator

    from controller.apis.ceph import CephBucketTopic
    from controller.ceph.topic.observe import TopicObservation

AT_REST, WHILE_WAITING = 60.0, 10.0
"""Seconds after which to look again at a topic that is as it should be, and at one that waits for something."""
MAX_NAMED = 10
"""Notifications that are named."""


def analyze(topic: CephBucketTopic, seen: TopicObservation) -> Plan:
    """The plan for a topic."""
    deleting = topic.metadata.deletion_timestamp is not None
    steps = tuple(_deletion(topic, seen) if deleting else _steps(topic, seen))
    return Plan(steps=steps, look_again=WHILE_WAITING if steps else AT_REST)


def invalid(topic: CephBucketTopic, seen: TopicObservation) -> tuple[str, ...]:
    """Why the spec cannot be carried out, in words."""
    found = [*problems(topic), *seen.wanted.lacking]
    if seen.taken_by:
        found.append(f"CephBucketTopic {seen.taken_by} has the topic of this name in the store: expected another name")
    elif seen.foreign:
        found.append(
            f"topic {topic.metadata.name} is in the store with another endpoint, and was not made for this object: "
            "expected another name, or that it is deleted"
        )
    return tuple(found)


def blocked(seen: TopicObservation) -> str:
    """What the deletion is held back by, in words; empty: by nothing."""
    return some(seen.dependents, MAX_NAMED)


def _steps(topic: CephBucketTopic, seen: TopicObservation) -> Iterator[Step]:
    name = topic.metadata.name
    subject = f"topic {name}"
    if wrong := invalid(topic, seen):
        yield Step(subject=subject, reason="the spec cannot be carried out", waits_for="; ".join(wrong))
    elif seen.waits_for:
        yield Step(subject=subject, reason="to be compared with the store", waits_for=seen.waits_for)
    elif not seen.present:
        yield Step(subject=subject, action=CreateTopic(name), reason="it does not exist")
    elif seen.differs or topic.status.digest != seen.wanted.digest:
        yield Step(subject=subject, action=CreateTopic(name), reason="it does not have what its spec says")


def _deletion(topic: CephBucketTopic, seen: TopicObservation) -> Iterator[Step]:
    subject, reason = f"topic {topic.metadata.name}", "the CephBucketTopic is being deleted"
    if seen.gone or not topic.status.arn or seen.taken_by:
        # Without a store there is no topic; and one that was not made for this object is not its to remove.
        pass
    elif held := blocked(seen):
        yield Step(subject=subject, reason=reason, waits_for=f"what uses it to be deleted: {held}")
        return
    elif seen.waits_for:
        yield Step(subject=subject, reason=reason, waits_for=seen.waits_for)
        return
    elif seen.present:
        yield Step(subject=subject, action=RemoveTopic(seen.arn), reason=reason)
    yield Step(subject=subject, action=LetGo(), reason=reason)
