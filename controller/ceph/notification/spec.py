"""What a CephBucketNotification's spec asks for, and which claims to buckets ask for it. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from controller.ceph.notification.config import Config

if TYPE_CHECKING:
    from collections.abc import Mapping

    from controller.apis.ceph import CephBucketNotification
    from controller.apis.ceph.bucket_notification import NotificationFilterRule

LABEL = "bucket-notification-"
"""What the label of an ObjectBucketClaim begins with, before the name of a CephBucketNotification; upstream's."""
DEFAULT_EVENTS = ("s3:ObjectCreated:*", "s3:ObjectRemoved:*")
"""What is told of where the spec does not say."""


def label_of(name: str) -> str:
    """The label by which a claim asks for the notification; its value is the name."""
    return f"{LABEL}{name}"


def named_by(labels: Mapping[str, str]) -> tuple[str, ...]:
    """The names of the notifications that a claim with these labels asks for."""
    return tuple(sorted(value for key, value in labels.items() if value and key == label_of(value)))


def problems(notification: CephBucketNotification) -> tuple[str, ...]:
    """Why the spec cannot be carried out, in words."""
    found = []
    if not notification.spec.topic:
        found.append("topic is empty: expected the name of a CephBucketTopic")
    rules = [rule.name for rule in notification.spec.filter.key_filters]
    twice = sorted({name for name in rules if rules.count(name) > 1})
    if twice:
        found.append(f"filter.keyFilters has {', '.join(twice)} more than once: expected each once at most")
    return tuple(found)


def wanted(notification: CephBucketNotification, arn: str) -> Config:
    """What each bucket should have.

    Args:
        notification: The CephBucketNotification, without problems.
        arn: Its topic's name in the store.
    """
    spec = notification.spec
    return Config(
        topic=arn,
        events=frozenset(spec.events or DEFAULT_EVENTS),
        keys=frozenset((rule.name, rule.value) for rule in spec.filter.key_filters),
        metadata=_rules(spec.filter.metadata_filters),
        tags=_rules(spec.filter.tag_filters),
    )


def _rules(given: tuple[NotificationFilterRule, ...]) -> frozenset[tuple[str, str]]:
    return frozenset((rule.name, rule.value) for rule in given)
