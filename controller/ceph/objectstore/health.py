"""Whether a store serves S3, found out as its users would: an object is put, read and deleted in a bucket of our own.

The last answer is remembered for a while, so that not every look at a store asks its gateways.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError

from controller.ceph.access.threads import Lane, Threads
from controller.ceph.rgw.contents import checker_bucket
from controller.framework.text import brief
from workqueue import loop_clock

if TYPE_CHECKING:
    from collections.abc import Callable

    from controller.apis.ceph import CephObjectStore
    from controller.ceph.rgw.stores import Stores

EVERY = 60.0
"""Seconds for which it holds that a store serves; upstream's."""
AFTER_FAILURE = 5.0
"""Seconds for which it holds that it does not."""
DEADLINE = 40.0
"""Seconds that a check may take."""
KEY = "rookHealthCheckTestObject"
"""The object; upstream's."""
BODY = b"Test Rook Object Data"


@dataclass(frozen=True, slots=True)
class Checked:
    """What came of a check.

    Attributes:
        trouble: Why S3 is not served, in words; empty: it is.
    """

    trouble: str = ""


@dataclass(slots=True)
class _Known:
    checked: Checked
    until: float
    client: Any
    keys: tuple[str, ...]


class HealthChecks:
    """Checks stores, each after a while.

    Args:
        stores: Ways to them.
        clock: Seconds that only move forward.
    """

    def __init__(self, stores: Stores, clock: Callable[[], float] | None = None) -> None:
        self._stores = stores
        self._clock = clock if clock is not None else loop_clock()
        self._known: dict[str, _Known] = {}
        self._threads: dict[str, Threads] = {}

    async def check(self, store: CephObjectStore) -> Checked | None:
        """What came of the last check, or of one now; None: the store is not set up yet."""
        uid = store.metadata.uid
        way = self._stores.reach(store.metadata.namespace, store.metadata.name)
        keys = self._stores.keys(store)
        if way.admin is None or keys is None:
            return None
        known, asked_by = self._known.get(uid), (way.endpoint, *keys)
        if known is not None and known.keys == asked_by and self._clock() < known.until:
            return known.checked
        client = known.client if known is not None and known.keys == asked_by else self._stores.s3(way, *keys)
        bucket = "" if store.spec.zone.name else checker_bucket(store)
        threads = self._threads.setdefault(uid, Threads())
        try:
            trouble = await threads.run(Lane.GATEWAYS, lambda: _ask(client, bucket), seconds=DEADLINE)
        except OSError as error:
            trouble = brief(error)
        pause = AFTER_FAILURE if trouble else EVERY
        self._known[uid] = _Known(Checked(trouble), self._clock() + pause, client, asked_by)
        return Checked(trouble)

    def forget(self, kept: frozenset[str]) -> None:
        """Forgets all stores but those with these uids."""
        for uid in set(self._known) - kept:
            del self._known[uid]
            self._threads.pop(uid, None)


def _ask(client: Any, bucket: str) -> str:
    """Why S3 is not served, in words; empty: it is. Without a bucket of our own, buckets are listed alone."""
    try:
        if not bucket:
            client.list_buckets()
            return ""
        try:
            client.put_object(Bucket=bucket, Key=KEY, Body=BODY)
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") != "NoSuchBucket":
                raise
            client.create_bucket(Bucket=bucket)
            client.put_object(Bucket=bucket, Key=KEY, Body=BODY)
        found = client.get_object(Bucket=bucket, Key=KEY)["Body"].read()
        if found != BODY:
            return f"object {KEY} of bucket {bucket} is not what was put there"
        client.delete_object(Bucket=bucket, Key=KEY)
    except (BotoCoreError, ClientError, HTTPClientError, OSError) as error:
        return brief(error)
    return ""
