"""What a CephBucketNotification asks for against what buckets have: the plan between the two. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from controller.ceph.notification.act import PutNotification, RemoveNotification
from controller.ceph.notification.spec import problems
from controller.framework.kind import LetGo
from controller.framework.plan import Plan, Step

if TYPE_CHECKING:
    from collections.abc import Iterator

    from controller.apis.ceph import CephBucketNotification
    from controller.ceph.notification.observe import NotificationObservation, Target

AT_REST, WHILE_WAITING = 300.0, 10.0
"""Seconds after which to look again at buckets that have what they should, and while something is waited for."""
REMOVAL = "removal"
"""The lane of what has to be done before the object is let go."""


def analyze(notification: CephBucketNotification, seen: NotificationObservation) -> Plan:
    """The plan for a notification."""
    deleting = notification.metadata.deletion_timestamp is not None
    steps = tuple(_deletion(notification, seen) if deleting else _steps(notification, seen))
    return Plan(steps=steps, look_again=WHILE_WAITING if steps else AT_REST)


def _steps(notification: CephBucketNotification, seen: NotificationObservation) -> Iterator[Step]:
    name = notification.metadata.name
    for target in seen.targets:
        if not target.asked_for:
            yield from _without(name, target, reason="its claim does not ask for it any more")
    if wrong := problems(notification):
        reason = "the spec cannot be carried out"
        yield Step(subject=f"notification {name}", reason=reason, waits_for="; ".join(wrong))
        return
    if seen.waits_for or seen.wanted is None:
        waits = seen.waits_for or "its topic"
        yield Step(subject=f"notification {name}", reason="to be given to buckets", waits_for=waits)
        return
    for target in seen.targets:
        if not target.asked_for:
            continue
        subject = f"claim {target.claim}"
        if target.waits_for or target.bucket is None:
            yield Step(subject=subject, reason="to be compared with its bucket", waits_for=target.waits_for)
        elif target.has != seen.wanted:
            reason = "its bucket does not have it" if target.has is None else "its bucket has it otherwise"
            action = PutNotification(target.bucket, name, seen.wanted)
            yield Step(subject=subject, action=action, reason=reason)


def _without(name: str, target: Target, *, reason: str, lane: str = "") -> Iterator[Step]:
    subject = f"claim {target.claim}"
    if target.waits_for:
        yield Step(subject=subject, reason=reason, waits_for=target.waits_for, lane=lane)
    elif target.bucket is not None and target.has is not None:
        yield Step(subject=subject, action=RemoveNotification(target.bucket, name), reason=reason, lane=lane)


def _deletion(notification: CephBucketNotification, seen: NotificationObservation) -> Iterator[Step]:
    name, reason = notification.metadata.name, "the CephBucketNotification is being deleted"
    for target in seen.targets:
        yield from _without(name, target, reason=reason, lane=REMOVAL)
    yield Step(subject=f"notification {name}", action=LetGo(), reason=reason, lane=REMOVAL)
