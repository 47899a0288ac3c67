"""What the gateways say of a topic."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import structlog

from controller.ceph.rgw.signed import UnreachableError
from controller.ceph.topic import sns
from controller.ceph.topic.sns import SnsError
from controller.ceph.topic.spec import Wanted, store_of, wanted

if TYPE_CHECKING:
    from controller.apis.ceph import CephBucketTopic
    from controller.ceph.rgw.signed import Requests
    from controller.ceph.rgw.stores import Stores
    from controller.ceph.rgw.taken import InStores
    from controller.framework.deletion import Dependents
    from controller.runtime.kube import Secret
    from informers import Informer

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicObservation:
    """What `analyze` decides by.

    Attributes:
        waits_for: What has to happen before the gateways can be asked; nothing is known of the topic then.
        gone: Whether there is no store that the topic could be in.
        taken_by: Which other object has the topic of this name; empty: none.
        wanted: What it should have.
        arn: Its name in the store, as it is or would be.
        present: Whether it is there.
        foreign: Whether it is there with another endpoint, and nothing tells that it was made for this object.
        differs: Whether it has something else than it was last given.
        dependents: The CephBucketNotifications that name it; known only while it is being deleted.
    """

    waits_for: str = ""
    gone: bool = False
    taken_by: str = ""
    wanted: Wanted
    arn: str = ""
    present: bool = False
    foreign: bool = False
    differs: bool = False
    dependents: tuple[str, ...] = ()


class Observer:
    """Observes topics.

    Args:
        stores: Ways to the stores.
        names: The topics that there are, by their name in the store.
        secrets: The cache of Secrets.
        dependents: What uses a topic.
    """

    def __init__(
        self,
        stores: Stores,
        names: InStores[CephBucketTopic],
        secrets: Informer[Secret],
        dependents: Dependents[CephBucketTopic],
    ) -> None:
        self._stores, self._names, self._secrets, self._dependents = stores, names, secrets, dependents

    async def observe(self, topic: CephBucketTopic, _: float) -> TopicObservation:
        """What the gateways say of a topic, or why they cannot be asked."""
        known = TopicObservation(
            wanted=wanted(topic, self._secrets),
            taken_by=self._names.taken_by(topic),
            dependents=self._dependents.known(topic),
        )
        way = self._stores.reach(*store_of(topic))
        requests = self._stores.as_operator(way)
        if way.store is None or requests is None:
            return replace(known, waits_for=way.waits_for, gone=way.store is None)
        zone_group = way.store.status.info.get("zoneGroup") or way.store.metadata.name
        try:
            return await observe(requests, topic, zone_group, known)
        except (SnsError, UnreachableError) as error:
            name = topic.spec.object_store_name
            log.info("Gateways do not answer", topic=topic.metadata.name, store=name, error=str(error))
            return replace(known, waits_for=f"CephObjectStore {name} to answer: {error}")


async def observe(
    requests: Requests, topic: CephBucketTopic, zone_group: str, known: TopicObservation
) -> TopicObservation:
    """What the gateways say of a topic, beside what is known already.

    Raises:
        SnsError: They refuse to say.
        UnreachableError: None answers.
    """
    noted = topic.status.arn
    arn = noted or f"arn:aws:sns:{zone_group}::{topic.metadata.name}"
    found = await sns.find(requests, arn)
    if found is None:
        return replace(known, arn=arn)
    same_endpoint = found.endpoint == known.wanted.endpoint
    differs = not same_endpoint or found.opaque_data != topic.spec.opaque_data
    return replace(known, arn=arn, present=True, foreign=not noted and not same_endpoint, differs=differs)
