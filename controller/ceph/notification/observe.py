"""What buckets have of a notification."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import anyio

from controller.ceph.notification import config
from controller.ceph.notification.config import NO_BUCKET, Config, NotificationError
from controller.ceph.notification.spec import problems, wanted
from controller.ceph.rgw.admin import AdminError
from controller.ceph.rgw.signed import UnreachableError

if TYPE_CHECKING:
    from controller.apis.ceph import CephBucketNotification, CephBucketTopic
    from controller.ceph.notification.buckets import Bucket, Buckets
    from informers import Informer

AT_ONCE = 4
"""Buckets that are asked of at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A claim's bucket.

    Attributes:
        claim: The claim.
        bucket: Its bucket; None: it has none, or none any more.
        asked_for: Whether the claim asks for the notification.
        waits_for: What has to happen before the bucket can be asked.
        has: What it has; None: nothing.
    """

    claim: str
    bucket: Bucket | None = None
    asked_for: bool = True
    waits_for: str = ""
    has: Config | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NotificationObservation:
    """What `analyze` decides by.

    Attributes:
        waits_for: What has to happen before it is known what buckets should have.
        wanted: What they should have; None: that is not known.
        targets: The buckets of the claims that ask for it, or did.
    """

    waits_for: str = ""
    wanted: Config | None = None
    targets: tuple[Target, ...] = ()


class Observer:
    """Observes notifications.

    Args:
        topics: The cache of CephBucketTopics.
        buckets: The buckets of claims.
    """

    def __init__(self, topics: Informer[CephBucketTopic], buckets: Buckets) -> None:
        self._topics, self._buckets = topics, buckets

    async def observe(self, notification: CephBucketNotification, _: float) -> NotificationObservation:
        """What buckets have of a notification, and should have."""
        meta = notification.metadata
        deleting = meta.deletion_timestamp is not None
        asking = () if deleting else self._buckets.asking(meta.namespace, meta.name)
        former = [name for name in notification.status.buckets if name not in asking]
        topic = self._topics.get(meta.namespace, notification.spec.topic)
        targets = [Target(claim=claim, asked_for=claim in asking) for claim in (*asking, *former)]
        found: dict[str, Target] = {}
        limit = anyio.Semaphore(AT_ONCE)

        async def look(target: Target) -> None:
            async with limit:
                found[target.claim] = await self._target(meta.namespace, meta.name, target, topic)

        async with anyio.create_task_group() as tasks:
            for target in targets:
                tasks.start_soon(look, target)
        seen = NotificationObservation(targets=tuple(found[target.claim] for target in targets))
        if topic is None or topic.status.phase != "Ready" or not topic.status.arn:
            return replace(seen, waits_for=f"CephBucketTopic {notification.spec.topic} to be Ready")
        return replace(seen, wanted=None if problems(notification) else wanted(notification, topic.status.arn))

    async def _target(self, namespace: str, name: str, target: Target, topic: CephBucketTopic | None) -> Target:
        bucket = self._buckets.of(namespace, target.claim)
        if bucket is None:
            waits = f"ObjectBucketClaim {target.claim} to be Bound to a bucket" if target.asked_for else ""
            return replace(target, waits_for=waits)
        place = (topic.spec.object_store_namespace, topic.spec.object_store_name) if topic is not None else None
        if target.asked_for and place is not None and place != (bucket.namespace, bucket.store):
            other = f"its bucket is in CephObjectStore {bucket.namespace}/{bucket.store}"
            return replace(target, waits_for=f"a topic of the store of the claim: {other}")
        way = self._buckets.way(bucket)
        if way.store is None and not target.asked_for:
            return target
        if way.admin is None:
            return replace(target, bucket=bucket, waits_for=way.waits_for)
        try:
            has = await config.find(await self._buckets.as_owner(bucket, way), bucket.name, name)
        except NotificationError as error:
            if error.code == NO_BUCKET and not target.asked_for:
                return target
            return replace(target, bucket=bucket, waits_for=f"bucket {bucket.name} to be asked: {error}")
        except (AdminError, UnreachableError) as error:
            if isinstance(error, AdminError) and error.is_not_found and not target.asked_for:
                return target
            return replace(target, bucket=bucket, waits_for=f"CephObjectStore {bucket.store} to answer: {error}")
        return replace(target, bucket=bucket, has=has)
