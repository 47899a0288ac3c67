"""The buckets of claims: where each is, and requests to its store as the bucket's owner."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from controller.ceph.notification.config import NO_BUCKET, NotificationError
from controller.ceph.notification.spec import label_of, named_by
from controller.ceph.rgw import users

if TYPE_CHECKING:
    from controller.apis.objectbucket import ObjectBucket, ObjectBucketClaim
    from controller.ceph.rgw.signed import Requests
    from controller.ceph.rgw.stores import Stores, Way
    from informers import Informer

BY_NOTIFICATION = "bucket-notification"
"""The index of ObjectBucketClaims by namespace and name of the notifications that they ask for."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """A bucket: the namespace and the name of its CephObjectStore, and its own name."""

    namespace: str
    store: str
    name: str


class Buckets:
    """Finds the buckets of claims. There is one for the informers, whose index it adds.

    Args:
        claims: The cache of ObjectBucketClaims.
        buckets: The cache of ObjectBuckets.
        stores: Ways to the stores.
    """

    def __init__(self, claims: Informer[ObjectBucketClaim], buckets: Informer[ObjectBucket], stores: Stores) -> None:
        self.claims, self.buckets, self._stores = claims, buckets, stores
        claims.add_index(
            BY_NOTIFICATION,
            lambda claim: tuple(f"{claim.metadata.namespace}/{name}" for name in named_by(claim.metadata.labels)),
        )

    def asking(self, namespace: str, notification: str) -> tuple[str, ...]:
        """The names of the claims that ask for a notification, and are not being deleted."""
        found = self.claims.keys_by_index(BY_NOTIFICATION, f"{namespace}/{notification}")
        claims = (self.claims.get(*key) for key in found)
        kept = (claim for claim in claims if claim is not None and claim.metadata.deletion_timestamp is None)
        return tuple(sorted(c.metadata.name for c in kept if label_of(notification) in c.metadata.labels))

    def of(self, namespace: str, claim: str) -> Bucket | None:
        """The bucket that a claim is bound to; None: it is bound to none of an object store of ours, or is gone."""
        found = self.claims.get(namespace, claim)
        name = found.spec.object_bucket_name if found is not None else ""
        bucket = self.buckets.get("", name) if name else None
        if found is None or bucket is None or bucket.spec.claim_ref.uid not in ("", found.metadata.uid):
            return None
        reference, state = bucket.spec.claim_ref, bucket.spec.additional_state
        # A claim's spec is its user's to write: the bucket says whose it is.
        if (reference.namespace, reference.name) != (namespace, claim):
            return None
        store, where = state.get("objectStoreName", ""), state.get("objectStoreNamespace", "")
        its_name = bucket.spec.endpoint.bucket_name
        return Bucket(where, store, its_name) if where and store and its_name else None

    def way(self, bucket: Bucket) -> Way:
        """The way to a bucket's store."""
        return self._stores.reach(bucket.namespace, bucket.store)

    async def as_owner(self, bucket: Bucket, way: Way) -> Requests:
        """What sends requests as the bucket's owner.

        Raises:
            NotificationError: There is no such bucket, or its owner has no key.
            AdminError: The gateways refuse to say who it is.
        """
        assert way.admin is not None  # noqa: S101 -- asked of a store that can be asked
        owner = str((await way.admin.get("bucket", bucket=bucket.name) or {}).get("owner", ""))
        if not owner:
            raise NotificationError(NO_BUCKET, bucket.name)
        found = await users.find(way.admin, owner)
        if found is None or not found.keys:
            raise NotificationError("NoKey", f"the owner {owner} of bucket {bucket.name} is no user with a key")
        return self._stores.requests(way, found.keys[0].access, found.keys[0].secret)
