"""What is seen of a claim: of its class, its ObjectBucket, the object store, and what it has in its namespace."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from controller.ceph.bucketclaim.objects import Record
    from controller.ceph.bucketclaim.spec import Terms
    from controller.ceph.rgw.buckets import Bucket
    from controller.ceph.rgw.users import Quota
    from informers import JsonObject


class ChildState(Enum):
    """What there is of a claim's Secret or ConfigMap."""

    ABSENT = auto()
    OURS = auto()
    ANOTHERS = auto()
    """It is not the claim's."""
    FORBIDDEN = auto()
    """The operator may not look."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Child:
    """A claim's Secret or ConfigMap.

    Attributes:
        state: What there is of it.
        uid: Which it is.
        live: The ConfigMap; of a Secret nothing.
        key: Fingerprint of the key that the Secret has, if it is one of the user's; else empty.
    """

    state: ChildState = ChildState.ABSENT
    uid: str = ""
    live: JsonObject | None = None
    key: str = ""

    @property
    def is_ours(self) -> bool:
        """Whether it is there, and the claim's."""
        return self.state is ChildState.OURS


@dataclass(frozen=True, slots=True, kw_only=True)
class UserSeen:
    """A user, without its keys.

    Attributes:
        keys: Fingerprints of its keys.
        max_buckets: How many buckets it may have.
        quota: Its quota.
        is_privileged: Whether it may more than others.
    """

    keys: tuple[str, ...] = ()
    max_buckets: int = 0
    quota: Quota | None = None
    is_privileged: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimObservation:
    """What `analyze` decides by. It has no key.

    Attributes:
        now: Seconds since the epoch.
        allowed: The keys of additionalConfig that the operator allows.
        terms: What the claim's StorageClass says; None: there is none of ours.
        record: What its ObjectBucket notes; None: there is none.
        bucket_live: The ObjectBucket.
        bucket_uid: Which it is.
        taken_by: Whose an ObjectBucket of the claim's name is, in words; empty: the claim's, or there is none.
        was_bound: Whether the bucket was seen before.
        store_gone: Whether there is no such object store.
        waits_for: What has to happen before the store can be asked; nothing is known of what is in it then.
        endpoint: Where the store says that it is.
        name: The name of the bucket that the claim has, or is to have.
        bucket: The bucket; None: there is none.
        uid: The user that the claim is to have the key of.
        user: That user; None: there is none.
        own_user_exists: Whether there is a user that was made for the claim.
        owner_has_key: Whether the operator can act as the bucket's owner.
        policy: The bucket's policy, as far as it matters to the claim.
        lifecycle: The bucket's lifecycle, likewise.
        secret: The claim's Secret.
        config_map: The claim's ConfigMap.
    """

    now: float = 0.0
    allowed: frozenset[str] = frozenset()
    terms: Terms | None = None
    record: Record | None = None
    bucket_live: JsonObject | None = field(default=None, repr=False)
    bucket_uid: str = ""
    taken_by: str = ""
    was_bound: bool = False
    store_gone: bool = False
    waits_for: str = ""
    endpoint: str = ""
    name: str = ""
    bucket: Bucket | None = None
    uid: str = ""
    user: UserSeen | None = None
    own_user_exists: bool = False
    owner_has_key: bool = False
    policy: Mapping[str, Any] | None = None
    lifecycle: Mapping[str, Any] | None = None
    secret: Child = Child()
    config_map: Child = Child()
