"""Works on users and buckets of one object store: by its admin API, and by S3 as whoever owns a bucket."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from controller.ceph.access.threads import Lane
from controller.ceph.rgw import buckets, users
from controller.ceph.rgw.s3 import S3Bucket
from controller.framework.plan import UnderWayError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from controller.ceph.access.threads import Threads
    from controller.ceph.rgw.admin import Admin
    from controller.ceph.rgw.buckets import Bucket
    from controller.ceph.rgw.stores import Stores, Way
    from controller.ceph.rgw.users import Key, User

PURGE = 40.0
"""Seconds for which a bucket is emptied at a time."""
SLOW = 55.0
"""Seconds that requests of one action may take."""


@dataclass(frozen=True, slots=True)
class Work:
    """What is done in a store.

    Attributes:
        stores: Makes clients for S3.
        threads: Where S3 is asked.
        way: To the store.
    """

    stores: Stores
    threads: Threads
    way: Way | None

    @property
    def admin(self) -> Admin:
        """The store's admin API.

        Raises:
            ConnectionError: There is no way to the store any more.
        """
        if self.way is None or self.way.admin is None:
            raise ConnectionError("the object store cannot be asked any more")
        return self.way.admin

    async def bucket(self, name: str) -> Bucket:
        """A bucket. Raises LookupError if there is none."""
        found = await buckets.find(self.admin, name)
        if found is None:
            raise LookupError(f"bucket {name} is not there any more")
        return found

    async def user(self, uid: str) -> User:
        """A user. Raises LookupError if there is none."""
        user = await users.find(self.admin, uid)
        if user is None:
            raise LookupError(f"user {uid} is not there any more")
        return user

    async def make_user(self, uid: str, *, max_buckets: int) -> None:
        """Makes a user where there is none, with a key of the store's choice."""
        if await users.find(self.admin, uid) is None:
            await users.create(self.admin, users.User(uid=uid, display_name=uid, max_buckets=max_buckets))

    async def with_key(self, uid: str, access: str) -> None:
        """Gives a user this key, if it does not have it."""
        if access not in (key.access for key in (await self.user(uid)).keys):
            await users.add_key(self.admin, uid, access)

    async def create(self, uid: str, name: str) -> None:
        """Makes a bucket of a user's where there is none."""
        if await buckets.find(self.admin, name) is None:
            bucket = await self._as(uid, name)
            await self._run(bucket.create)

    async def set_policy(self, name: str, policy: Mapping[str, Any] | None) -> None:
        """Gives a bucket a policy; None: takes it away."""
        bucket = await self._as_owner(name)
        await self._run(partial(bucket.set_policy, policy))

    async def set_lifecycle(self, name: str, lifecycle: Mapping[str, Any] | None) -> None:
        """Gives a bucket a lifecycle; None: takes it away."""
        bucket = await self._as_owner(name)
        await self._run(partial(bucket.set_lifecycle, lifecycle))

    async def purge(self, uid: str, name: str) -> None:
        """Deletes what is in a bucket of a user's.

        Raises:
            UnderWayError: There is more of it than can be deleted in `PURGE` seconds.
            BucketError: Some of it cannot be deleted.
        """
        bucket = await self._as(uid, name)
        if not await self._run(partial(bucket.purge, PURGE)):
            found = await buckets.find(self.admin, name)
            left = found.objects if found is not None else 0
            raise UnderWayError(f"{left} objects in bucket {name} to be deleted")

    async def _as_owner(self, name: str) -> S3Bucket:
        return await self._as((await self.bucket(name)).owner, name)

    async def _as(self, uid: str, name: str) -> S3Bucket:
        """A bucket as a user sees it."""
        key = first_key((await self.user(uid)).keys, uid)
        assert self.way is not None  # noqa: S101  there is a user only where there is a way
        return S3Bucket(partial(self.stores.s3, self.way, key.access, key.secret), name)

    async def _run[T](self, function: Callable[[], T]) -> T:
        return await self.threads.run(Lane.GATEWAYS, function, seconds=SLOW)


def first_key(keys: Sequence[Key], uid: str) -> Key:
    """The first of a user's keys. Raises LookupError if it has none."""
    if not keys:
        raise LookupError(f"user {uid} has no key for S3: give it one")
    return keys[0]
