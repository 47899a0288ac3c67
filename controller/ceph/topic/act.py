"""What can be done to a topic, and how."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from controller.apis.ceph import CEPH_BUCKET_TOPIC
from controller.ceph.topic import sns
from controller.ceph.topic.sns import SnsError
from controller.ceph.topic.spec import has_password
from controller.framework.consent import read_deleted
from controller.runtime import resource_of

if TYPE_CHECKING:
    from controller.apis.ceph import CephBucketTopic
    from controller.ceph.rgw.signed import Requests
    from controller.ceph.topic.observe import TopicObservation
    from controller.framework.plan import Handler
    from informers import Client

TOPICS = resource_of(CEPH_BUCKET_TOPIC)


@dataclass(frozen=True, slots=True)
class CreateTopic:
    """Make a topic, or give it what its spec says."""

    name: str


@dataclass(frozen=True, slots=True)
class RemoveTopic:
    """Remove a topic, with the notifications that it keeps."""

    arn: str


def handlers(topic: CephBucketTopic, seen: TopicObservation, client: Client, requests: Requests) -> dict[type, Handler]:
    """How the actions of a topic's plan are carried out.

    Args:
        topic: The CephBucketTopic.
        seen: What the plan was decided by.
        client: Asks the API server whether it is still to go.
        requests: What asks the gateways as the operator's user, who owns all topics.
    """

    async def create(action: CreateTopic) -> None:
        try:
            await sns.create(requests, action.name, seen.wanted.attributes)
        except SnsError as error:
            if not has_password(seen.wanted):
                raise
            why = "gateways take the user and password of an endpoint over TLS alone: expected a store with securePort"
            raise SnsError(f"{error}; {why}") from error

    async def remove(action: RemoveTopic) -> None:
        await read_deleted(client, TOPICS, topic)
        await sns.delete(requests, action.arn)

    return {CreateTopic: create, RemoveTopic: remove}
