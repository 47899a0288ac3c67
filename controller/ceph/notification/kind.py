"""CephBucketNotification: what `controller.framework.kind` runs for each, and what brings about a look."""

from __future__ import annotations

from typing import TYPE_CHECKING

from controller.apis.ceph import CEPH_BUCKET_TOPIC, CephBucketNotification, CephBucketTopic
from controller.apis.objectbucket import OBJECT_BUCKET, OBJECT_BUCKET_CLAIM, ObjectBucket, ObjectBucketClaim
from controller.ceph.notification.act import NOTIFICATIONS, handlers
from controller.ceph.notification.analyze import analyze
from controller.ceph.notification.buckets import Buckets
from controller.ceph.notification.observe import Observer
from controller.ceph.notification.spec import named_by
from controller.ceph.notification.status import show
from controller.framework.changes import changed
from controller.framework.deletion import of_named
from controller.framework.kind import ControlLoop, controller_of
from controller.runtime import Request, resource_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from controller.ceph.notification.observe import NotificationObservation
    from controller.ceph.rgw.stores import Stores
    from controller.framework.deletion import Dependent
    from controller.framework.plan import Handler
    from controller.framework.settings import Settings
    from controller.runtime import Manager
    from controller.runtime.kube import HasMetadata
    from informers import InformerFactory

TOPICS, CLAIMS = resource_of(CEPH_BUCKET_TOPIC), resource_of(OBJECT_BUCKET_CLAIM)
BUCKETS = resource_of(OBJECT_BUCKET)
FINALIZER = "cephbucketnotification.ceph.rook.io"

BY_TOPIC = "topic"
"""The index of CephBucketNotifications by namespace and name of their topic."""


def of_topic(informers: InformerFactory) -> Dependent[HasMetadata]:
    """Notifications as what uses the topic that they name."""
    kind = CephBucketNotification
    return of_named(informers.informer(NOTIFICATIONS, kind), kind, lambda notification: notification.spec.topic)


def register(manager: Manager, settings: Settings, stores: Stores) -> None:
    """Has `manager` reconcile CephBucketNotifications.

    Args:
        manager: The process.
        settings: The operator's settings.
        stores: Ways to the object stores.
    """
    informers = manager.informers
    notifications = informers.informer(NOTIFICATIONS, CephBucketNotification)
    notifications.add_index(BY_TOPIC, lambda n: (f"{n.metadata.namespace}/{n.spec.topic}",))
    topics = informers.informer(TOPICS, CephBucketTopic)
    claims = informers.informer(CLAIMS, ObjectBucketClaim)
    buckets = Buckets(claims, informers.informer(BUCKETS, ObjectBucket), stores)

    def ways(_: CephBucketNotification, __: NotificationObservation) -> Mapping[type, Handler]:
        return handlers(buckets)

    loop = ControlLoop(
        resource=NOTIFICATIONS,
        finalizer=FINALIZER,
        observe=Observer(topics, buckets).observe,
        analyze=analyze,
        handlers=ways,
        show=show,
    )
    controller = controller_of(manager, loop, notifications, workers=settings.workers)

    def asked_for(claim: ObjectBucketClaim) -> Iterable[Request]:
        """Those that the claim asks for; of a claim that is changed, those that it asked for as well."""
        return [Request(claim.metadata.namespace, name) for name in named_by(claim.metadata.labels)]

    def of(topic: CephBucketTopic) -> Iterable[Request]:
        meta = topic.metadata
        return [Request(*key) for key in notifications.keys_by_index(BY_TOPIC, f"{meta.namespace}/{meta.name}")]

    controller.watch(claims, asked_for, predicate=changed(_claim))
    controller.watch(topics, of, predicate=changed(_topic))
    manager.add(controller)


def _claim(claim: ObjectBucketClaim) -> tuple[object, ...]:
    meta = claim.metadata
    return named_by(meta.labels), claim.spec.object_bucket_name, claim.status.phase, meta.deletion_timestamp


def _topic(topic: CephBucketTopic) -> tuple[str, str]:
    return topic.status.phase, topic.status.arn
