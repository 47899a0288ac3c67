"""The `objectbucket.io/v1alpha1` kinds: claims to buckets, and the buckets, with upstream's fields.

https://github.com/kube-object-storage/lib-bucket-provisioner
"""

from controller.apis.objectbucket.bucket import (
    OBJECT_BUCKET,
    BucketEndpoint,
    ClaimReference,
    ObjectBucket,
    ObjectBucketSpec,
    ObjectBucketStatus,
)
from controller.apis.objectbucket.claim import (
    OBJECT_BUCKET_CLAIM,
    ObjectBucketClaim,
    ObjectBucketClaimSpec,
    ObjectBucketClaimStatus,
)

__all__ = [
    "OBJECT_BUCKET",
    "OBJECT_BUCKET_CLAIM",
    "BucketEndpoint",
    "ClaimReference",
    "ObjectBucket",
    "ObjectBucketClaim",
    "ObjectBucketClaimSpec",
    "ObjectBucketClaimStatus",
    "ObjectBucketSpec",
    "ObjectBucketStatus",
]
