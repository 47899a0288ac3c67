"""What the Admin Ops API says of users and buckets, and how it is told: one function for each call.

https://docs.ceph.com/en/latest/radosgw/adminops/
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from controller.ceph.bucketclaim.spec import NO_QUOTA, Quota, fingerprint
from controller.ceph.rgw.admin import AdminError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from controller.ceph.rgw.admin import Admin

NO_BUCKETS = -1
"""As a user's limit of buckets: it makes none. Zero is no limit at all."""
_ABSENT = ("NoSuchBucket", "NoSuchKey", "NoSuchUser")


@dataclass(frozen=True, slots=True)
class Key:
    """The key of a user in S3."""

    access: str
    secret: str = field(repr=False)

    @property
    def fingerprint(self) -> str:
        """See `controller.ceph.bucketclaim.spec.fingerprint`."""
        return fingerprint(self.access)


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """A user of an object store.

    Attributes:
        keys: Its keys.
        max_buckets: How many buckets it may have.
        quota: Its quota.
        is_privileged: Whether it may more than other users: it administers the store, or gateways are its peers.
    """

    keys: tuple[Key, ...] = field(default=(), repr=False)
    max_buckets: int = 0
    quota: Quota = NO_QUOTA
    is_privileged: bool = False

    @property
    def fingerprints(self) -> tuple[str, ...]:
        """Which keys it has."""
        return tuple(key.fingerprint for key in self.keys)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """A bucket of an object store.

    Attributes:
        owner: The user or account that owns it.
        id: Which of its name it is.
        objects: How many objects it has, with all versions.
        quota: Its quota.
    """

    owner: str
    id: str = ""
    objects: int = 0
    quota: Quota = NO_QUOTA


async def find_user(admin: Admin, uid: str) -> User | None:
    """A user; None: there is none.

    Raises:
        AdminError: The store does not answer, or otherwise.
    """
    try:
        found = await admin.get("user", uid=uid)
    except AdminError as error:
        if error.is_not_found or error.code in _ABSENT:
            return None
        raise
    return _user(found)


async def find_bucket(admin: Admin, name: str) -> Bucket | None:
    """A bucket; None: there is none.

    Raises:
        AdminError: The store does not answer, or otherwise.
    """
    try:
        found = await admin.get("bucket", bucket=name, stats=True)
    except AdminError as error:
        if error.is_not_found or error.code in _ABSENT:
            return None
        raise
    usage = found.get("usage") or {}
    objects = sum(int(part.get("num_objects") or 0) for part in usage.values())
    return Bucket(owner=found["owner"], id=found.get("id", ""), objects=objects, quota=_quota(found["bucket_quota"]))


async def make_user(admin: Admin, uid: str, *, max_buckets: int) -> None:
    """Makes a user, with a key of the store's choice."""
    await admin.put("user", uid=uid, **_query({"display-name": uid, "max-buckets": max_buckets}))


async def limit_user(admin: Admin, uid: str, *, max_buckets: int) -> None:
    """Sets how many buckets a user may have."""
    await admin.post("user", uid=uid, **_query({"max-buckets": max_buckets}))


async def set_user_quota(admin: Admin, uid: str, quota: Quota) -> None:
    """Sets the quota of a user."""
    await admin.put("user", quota="", uid=uid, **{"quota-type": "user"}, **_parameters(quota))


async def set_bucket_quota(admin: Admin, uid: str, bucket: str, quota: Quota) -> None:
    """Sets the quota of a bucket, which a user owns."""
    await admin.put("bucket", quota="", uid=uid, bucket=bucket, **_parameters(quota))


async def link_bucket(admin: Admin, uid: str, bucket: Bucket, name: str) -> None:
    """Gives a bucket to another user."""
    await admin.put("bucket", uid=uid, bucket=name, **({"bucket-id": bucket.id} if bucket.id else {}))


async def remove_bucket(admin: Admin, name: str) -> None:
    """Removes a bucket, if nothing is in it."""
    await _gone(admin, "bucket", bucket=name)


async def add_key(admin: Admin, uid: str, access: str) -> None:
    """Gives a user one key more, with a secret of the store's choice. It is no error if it has it."""
    user = await find_user(admin, uid)
    if user is not None and access not in (key.access for key in user.keys):
        await admin.put("user", key="", uid=uid, **_query({"access-key": access, "generate-key": True}))


async def remove_key(admin: Admin, uid: str, access: str) -> None:
    """Takes a key from a user."""
    await _gone(admin, "user", key="", uid=uid, **{"access-key": access})


async def remove_user(admin: Admin, uid: str) -> None:
    """Removes a user, if it owns no bucket."""
    await _gone(admin, "user", uid=uid)


async def _gone(admin: Admin, path: str, **query: str | int | bool) -> None:
    try:
        await admin.delete(path, **query)
    except AdminError as error:
        if not (error.is_not_found or error.code in _ABSENT):
            raise


def _user(found: Mapping[str, Any]) -> User:
    keys = [Key(key["access_key"], key["secret_key"]) for key in found.get("keys", ())]
    return User(
        keys=tuple(keys),
        max_buckets=int(found.get("max_buckets", 0)),
        quota=_quota(found.get("user_quota") or {}),
        is_privileged=bool(found.get("caps")) or str(found.get("system", "")).lower() == "true",
    )


def _quota(found: Mapping[str, Any]) -> Quota:
    if not found.get("enabled"):
        return NO_QUOTA
    return Quota(max(int(found["max_objects"]), -1), max(int(found["max_size"]), -1))


def _query(named: Mapping[str, str | int | bool]) -> dict[str, str | int | bool]:
    """Parameters whose names have hyphens."""
    return dict(named)


def _parameters(quota: Quota) -> dict[str, str | int | bool]:
    return {"enabled": quota.is_set, "max-objects": quota.objects, "max-size": quota.size}
