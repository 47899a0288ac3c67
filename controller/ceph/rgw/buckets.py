"""Buckets of an object store, by the gateways' Admin Ops API (https://docs.ceph.com/en/latest/radosgw/adminops/)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from controller.ceph.rgw.admin import AdminError
from controller.ceph.rgw.users import Quota

if TYPE_CHECKING:
    from collections.abc import Mapping

    from controller.ceph.rgw.admin import Admin
    from controller.ceph.rgw.users import Query, User

NO_BUCKETS = -1
"""As a user's limit of buckets: it makes none. Zero is no limit at all."""
NO_QUOTA = Quota()

_ABSENT = ("NoSuchBucket", "NoSuchKey")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """A bucket of an object store.

    Attributes:
        owner: The user or account that owns it.
        id: Which of its name it is.
        objects: How many objects it has, with all versions and parts of uploads.
        quota: Its quota.
    """

    owner: str
    id: str = ""
    objects: int = 0
    quota: Quota = NO_QUOTA


async def find(admin: Admin, name: str) -> Bucket | None:
    """A bucket; None: there is none.

    Raises:
        AdminError: The gateways refuse to say.
    """
    try:
        found = await admin.get("bucket", bucket=name, stats=True)
    except AdminError as error:
        if error.is_not_found or error.code in _ABSENT:
            return None
        raise
    objects = sum(int(part.get("num_objects") or 0) for part in (found.get("usage") or {}).values())
    return Bucket(owner=found["owner"], id=found.get("id", ""), objects=objects, quota=_quota(found["bucket_quota"]))


async def set_quota(admin: Admin, uid: str, name: str, quota: Quota) -> None:
    """Limits what may be in a bucket, which a user owns."""
    limits: Query = {"enabled": quota.enabled, "max-objects": quota.max_objects, "max-size": quota.max_size}
    await admin.put("bucket", quota="", uid=uid, bucket=name, **limits)


async def link(admin: Admin, uid: str, bucket: Bucket, name: str) -> None:
    """Gives a bucket to another user. Objects that are in it stay those of who wrote them."""
    which: Query = {"bucket-id": bucket.id} if bucket.id else {}
    await admin.put("bucket", uid=uid, bucket=name, **which)


async def remove(admin: Admin, name: str) -> None:
    """Removes a bucket, if nothing is in it; one that is not there is no error."""
    try:
        await admin.delete("bucket", bucket=name)
    except AdminError as error:
        if not (error.is_not_found or error.code in _ABSENT):
            raise


def fingerprint(access_key: str) -> str:
    """By what a key is told apart where it is not to be shown."""
    return hashlib.sha256(access_key.encode()).hexdigest()[:16]


def fingerprints(user: User | None) -> tuple[str, ...]:
    """Those of a user's keys."""
    return tuple(fingerprint(key.access) for key in user.keys) if user is not None else ()


def _quota(found: Mapping[str, Any]) -> Quota:
    if not found.get("enabled"):
        return NO_QUOTA
    return Quota(max(int(found["max_size"]), -1), max(int(found["max_objects"]), -1))
