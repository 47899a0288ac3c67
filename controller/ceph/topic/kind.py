"""CephBucketTopic: what `controller.framework.kind` runs for each topic, and what brings about a look."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from controller.apis.ceph import CEPH_OBJECT_STORE, CephBucketTopic, CephObjectStore
from controller.ceph.rgw.stores import reached_otherwise
from controller.ceph.rgw.taken import InStores
from controller.ceph.topic.act import TOPICS, handlers
from controller.ceph.topic.analyze import analyze
from controller.ceph.topic.observe import Observer
from controller.ceph.topic.spec import secrets_named, store_of
from controller.ceph.topic.status import show
from controller.framework.changes import appeared_or_went
from controller.framework.deletion import Dependents, watch_users
from controller.framework.kind import ControlLoop, controller_of
from controller.runtime import Request, in_namespace, resource_of
from controller.runtime.kube import SECRET, Secret

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from controller.ceph.rgw.stores import Stores
    from controller.ceph.topic.observe import TopicObservation
    from controller.framework.deletion import Dependent
    from controller.framework.plan import Handler
    from controller.framework.settings import Settings
    from controller.runtime import Manager

STORES = resource_of(CEPH_OBJECT_STORE)
FINALIZER = "cephbuckettopic.ceph.rook.io"

BY_SECRET = "secrets"  # noqa: S105  the name of an index
"""The index of CephBucketTopics by the Secrets that they read."""


def register(
    manager: Manager, settings: Settings, stores: Stores, *, dependents: Sequence[Dependent[CephBucketTopic]] = ()
) -> None:
    """Has `manager` reconcile CephBucketTopics.

    Args:
        manager: The process.
        settings: The operator's settings.
        stores: Ways to the object stores.
        dependents: What uses a topic.
    """
    objects = manager.informers.informer(TOPICS, CephBucketTopic)
    objects.add_index(
        BY_SECRET, lambda topic: tuple(f"{topic.metadata.namespace}/{name}" for name in secrets_named(topic))
    )
    topics = InStores(objects, store_of)
    secrets = manager.informers.informer(SECRET, Secret)

    def ways(topic: CephBucketTopic, seen: TopicObservation) -> Mapping[type, Handler]:
        """None while there is no way to the store: nothing is planned then."""
        requests = stores.as_operator(stores.reach(*store_of(topic)))
        return {} if requests is None else handlers(topic, seen, manager.client, requests)

    loop = ControlLoop(
        resource=TOPICS,
        finalizer=FINALIZER,
        observe=Observer(stores, topics, secrets, Dependents(dependents)).observe,
        analyze=analyze,
        handlers=ways,
        show=show,
    )
    controller = controller_of(manager, loop, objects, workers=settings.workers)

    def reading(secret: Secret) -> Iterable[Request]:
        meta = secret.metadata
        return itertools.starmap(Request, objects.keys_by_index(BY_SECRET, f"{meta.namespace}/{meta.name}"))

    controller.watch(secrets, reading)
    controller.watch(objects, topics.alike, predicate=appeared_or_went)
    controller.watch(manager.informers.informer(STORES, CephObjectStore), topics.of_store, predicate=reached_otherwise)
    watch_users(controller, dependents, in_namespace(objects))
    manager.add(controller)
