"""The kinds of COSI, as far as its drivers read and write them: `objectstorage.k8s.io/v1alpha1`.

Their CRDs and the controller that makes Buckets of BucketClaims come from COSI itself:
https://container-object-storage-interface.sigs.k8s.io/
"""

from __future__ import annotations

from msgspec import field

from controller.apis.meta import ApiStruct, ObjectMeta
from informers import Resource

GROUP, VERSION = "objectstorage.k8s.io", "v1alpha1"
CLAIMS = Resource(group=GROUP, version=VERSION, kind="BucketClaim", plural="bucketclaims")
BUCKETS = Resource(group=GROUP, version=VERSION, kind="Bucket", plural="buckets", namespaced=False)
ACCESSES = Resource(group=GROUP, version=VERSION, kind="BucketAccess", plural="bucketaccesses")
ACCESS_CLASSES = Resource(
    group=GROUP, version=VERSION, kind="BucketAccessClass", plural="bucketaccessclasses", namespaced=False
)
CLAIM_FINALIZER = "cosi.objectstorage.k8s.io/bucketclaim-protection"
"""Of a claim, by COSI's controller; whoever serves the claim's bucket takes it away when that is gone."""
BUCKET_FINALIZER = "cosi.objectstorage.k8s.io/bucket-protection"
IN_USE_FINALIZER = "cosi.objectstorage.k8s.io/bucketaccess-bucket-protection"
"""Of a bucket that somebody has access to, by COSI's sidecar of other drivers."""
ACCESS_FINALIZER = "cosi.objectstorage.k8s.io/bucketaccess-protection"
SECRET_FINALIZER = "cosi.objectstorage.k8s.io/secret-protection"  # noqa: S105  # a name
DELETE = "Delete"
KEY = "key"
"""How programs prove themselves; the only way that is served."""


class BucketClaimStatus(ApiStruct, frozen=True, kw_only=True):
    """What a claim has got."""

    bucket_ready: bool = False
    bucket_name: str = ""


class BucketClaim(ApiStruct, frozen=True, kw_only=True):
    """A claim to a bucket."""

    metadata: ObjectMeta = ObjectMeta()
    status: BucketClaimStatus = BucketClaimStatus()


class ClaimRef(ApiStruct, frozen=True, kw_only=True):
    """The claim that a bucket is for."""

    namespace: str = ""
    name: str = ""
    uid: str = ""


class BucketSpec(ApiStruct, frozen=True, kw_only=True):
    """What a bucket is to be."""

    driver_name: str = ""
    bucket_class_name: str = ""
    bucket_claim: ClaimRef | None = None
    parameters: dict[str, str] = field(default_factory=dict)
    deletion_policy: str = ""
    existing_bucket_id: str = field(name="existingBucketID", default="")


class BucketStatus(ApiStruct, frozen=True, kw_only=True, omit_defaults=False):
    """What a bucket is."""

    bucket_ready: bool = False
    bucket_id: str = field(name="bucketID", default="")


class Bucket(ApiStruct, frozen=True, kw_only=True):
    """A bucket."""

    metadata: ObjectMeta = ObjectMeta()
    spec: BucketSpec = BucketSpec()
    status: BucketStatus = BucketStatus()


class BucketAccessSpec(ApiStruct, frozen=True, kw_only=True):
    """Who wants to use which bucket."""

    bucket_claim_name: str = ""
    bucket_access_class_name: str = ""
    credentials_secret_name: str = ""
    protocol: str = ""


class BucketAccessStatus(ApiStruct, frozen=True, kw_only=True, omit_defaults=False):
    """Whether it may be used."""

    account_id: str = field(name="accountID", default="")
    access_granted: bool = False


class BucketAccess(ApiStruct, frozen=True, kw_only=True):
    """Access to a bucket."""

    metadata: ObjectMeta = ObjectMeta()
    spec: BucketAccessSpec = BucketAccessSpec()
    status: BucketAccessStatus = BucketAccessStatus()


class BucketAccessClass(ApiStruct, frozen=True, kw_only=True):
    """How access is given."""

    metadata: ObjectMeta = ObjectMeta()
    driver_name: str = ""
    authentication_type: str = ""
