"""The actions of a claim's plan. None has a key."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from controller.ceph.bucketclaim.objects import Record
    from controller.ceph.rgw.users import Quota
    from informers import JsonObject, Resource


@dataclass(frozen=True, slots=True)
class NoteBucket:
    """Write an ObjectBucket. `bound`: all that it notes is there."""

    obj: JsonObject = field(repr=False)
    bound: bool = False


@dataclass(frozen=True, slots=True)
class MakeUser:
    """Make a user that may have so many buckets."""

    uid: str
    max_buckets: int


@dataclass(frozen=True, slots=True)
class LimitUser:
    """Let a user have so many buckets."""

    uid: str
    max_buckets: int


@dataclass(frozen=True, slots=True)
class CreateBucket:
    """Make a bucket of a user's."""

    uid: str
    bucket: str


@dataclass(frozen=True, slots=True)
class LinkBucket:
    """Give a bucket to another user, if it is still the one's that it was seen to be of."""

    uid: str
    bucket: str
    owner: str


@dataclass(frozen=True, slots=True)
class SetUserQuota:
    """Set the quota of a user."""

    uid: str
    quota: Quota


@dataclass(frozen=True, slots=True)
class SetBucketQuota:
    """Set the quota of a bucket."""

    bucket: str
    quota: Quota


@dataclass(frozen=True, slots=True)
class SetPolicy:
    """Give a bucket a policy; None: take it away."""

    bucket: str
    policy: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class SetLifecycle:
    """Give a bucket a lifecycle; None: take it away."""

    bucket: str
    lifecycle: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class AddKey:
    """Give a user one key more."""

    uid: str
    access: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class RemoveKey:
    """Take the key with this fingerprint from a user."""

    uid: str
    key: str


@dataclass(frozen=True, slots=True)
class WriteSecret:
    """Write a user's key into the claim's Secret.

    Attributes:
        uid: The user.
        key: Fingerprint of the key; empty: any but the one that is on its way out.
        record: What the claim has.
    """

    uid: str
    key: str
    record: Record = field(repr=False)


@dataclass(frozen=True, slots=True)
class NameBucket:
    """Write into the claim's spec what it has got."""

    fields: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class PurgeBucket:
    """Delete all that is in a bucket, which goes with its claim."""

    bucket: str
    id: str
    owner: str


@dataclass(frozen=True, slots=True)
class RemoveBucket:
    """Remove an empty bucket, which goes with its claim."""

    bucket: str
    id: str
    owner: str


@dataclass(frozen=True, slots=True)
class LockOut:
    """Leave a user with one key that nobody has seen, so that those that it had are of no use."""

    uid: str
    access: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class RemoveUser:
    """Remove a user that was made for the claim."""

    uid: str


@dataclass(frozen=True, slots=True)
class Release:
    """Delete what a claim had in Kubernetes; something of the same name that came later stays."""

    resource: Resource
    namespace: str
    name: str
    uid: str
