"""`ObjectBucket`: a bucket of an object store that a claim has, as the operator notes it."""

from typing import Annotated

from msgspec import field

from controller.apis.meta import Column, Int32, JsonObject, Kind, Nullable, ObjectMeta, Schema, SpecStruct

_ANY = Schema(preserve_unknown=True)


class BucketEndpoint(SpecStruct, frozen=True, kw_only=True):
    """Where a bucket is."""

    bucket_host: str = ""
    """Host name of the object store."""
    bucket_port: Int32 = 0
    """Its port."""
    bucket_name: str = ""
    """The bucket's name."""
    region: str = ""
    """Its region; empty: the store has none."""
    sub_region: str = ""
    """Its part of the region; empty: there is none."""
    additional_config: Nullable[Annotated[JsonObject, _ANY]] = field(default_factory=dict)
    """What of the claim's additionalConfig the bucket has."""


class ClaimReference(SpecStruct, frozen=True, kw_only=True):
    """The claim that has a bucket."""

    api_version: str = ""
    """objectbucket.io/v1alpha1."""
    kind: str = ""
    """ObjectBucketClaim."""
    namespace: str = ""
    """The claim's namespace."""
    name: str = ""
    """The claim's name."""
    uid: str = ""
    """Which of that name it is."""


class ObjectBucketSpec(SpecStruct, frozen=True, kw_only=True):
    """What is known of a bucket."""

    storage_class_name: str = ""
    """The StorageClass that it was claimed by."""
    endpoint: Nullable[BucketEndpoint] = BucketEndpoint()
    """Where it is."""
    authentication: Nullable[JsonObject] = field(default_factory=dict)
    """Nothing: keys are in the claim's Secret."""
    additional_state: Nullable[Annotated[dict[str, str], _ANY]] = field(default_factory=dict)
    """Facts by name: cephUser, who uses it; objectStoreName and objectStoreNamespace; bucketOwner, where the claim
    names one; and bucketOrigin, "claim" if the claim had it made and "existing" if not."""
    reclaim_policy: str = ""
    """Delete: the bucket goes with its claim, and with all that is in it. Retain: it stays. It may be changed."""
    claim_ref: Nullable[Annotated[ClaimReference, _ANY]] = ClaimReference()
    """The claim."""


class ObjectBucketStatus(SpecStruct, frozen=True, kw_only=True):
    """State of a bucket."""

    phase: str = ""
    """Bound."""


class ObjectBucket(SpecStruct, frozen=True, kw_only=True, omit_defaults=False):
    """A bucket of an object store that a claim has."""

    api_version: str = "objectbucket.io/v1alpha1"
    kind: str = "ObjectBucket"
    metadata: ObjectMeta = ObjectMeta()
    spec: Annotated[ObjectBucketSpec, Schema(required=True)] = ObjectBucketSpec()
    status: Annotated[ObjectBucketStatus, _ANY] = ObjectBucketStatus()


OBJECT_BUCKET = Kind(
    "objectbucket.io",
    "v1alpha1",
    "ObjectBucket",
    "objectbuckets",
    short_names=("ob", "obs"),
    namespaced=False,
    columns=(
        Column("Storage-Class", ".spec.storageClassName", description="StorageClass"),
        Column("Claim-Namespace", ".spec.claimRef.namespace", description="The claim's namespace"),
        Column("Claim-Name", ".spec.claimRef.name", description="The claim's name"),
        Column("Reclaim-Policy", ".spec.reclaimPolicy", description="What becomes of the bucket"),
        Column("Phase", ".status.phase", description="Phase"),
        Column("Age", ".metadata.creationTimestamp", "date"),
    ),
)
