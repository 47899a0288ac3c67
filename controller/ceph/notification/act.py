"""What can be done to a notification of a bucket, and how."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from controller.apis.ceph import CEPH_BUCKET_NOTIFICATION
from controller.ceph.notification import config
from controller.ceph.notification.config import NotificationError
from controller.runtime import resource_of

if TYPE_CHECKING:
    from controller.ceph.notification.buckets import Bucket, Buckets
    from controller.ceph.notification.config import Config
    from controller.ceph.rgw.signed import Requests
    from controller.framework.plan import Handler

NOTIFICATIONS = resource_of(CEPH_BUCKET_NOTIFICATION)


@dataclass(frozen=True, slots=True)
class PutNotification:
    """Give a bucket the notification, or change it."""

    bucket: Bucket
    name: str
    config: Config


@dataclass(frozen=True, slots=True)
class RemoveNotification:
    """Take the notification from a bucket."""

    bucket: Bucket
    name: str


def handlers(buckets: Buckets) -> dict[type, Handler]:
    """How the actions of a notification's plan are carried out.

    Args:
        buckets: The buckets of claims.
    """

    async def owner(bucket: Bucket) -> Requests:
        way = buckets.way(bucket)
        if way.admin is None:
            raise ValueError(f"it waits for {way.waits_for}")
        return await buckets.as_owner(bucket, way)

    async def put(action: PutNotification) -> None:
        try:
            await config.put(await owner(action.bucket), action.bucket.name, action.name, action.config)
        except NotificationError as error:
            if error.code != "InvalidArgument":
                raise
            events = ", ".join(sorted(action.config.events))
            why = f"this release of Ceph may not know one of the events {events}"
            raise NotificationError(error.code, why) from error

    async def remove(action: RemoveNotification) -> None:
        await config.remove(await owner(action.bucket), action.bucket.name, action.name)

    return {PutNotification: put, RemoveNotification: remove}
