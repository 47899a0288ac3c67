"""`ObjectBucketClaim`: a bucket for a program, with a Secret and a ConfigMap by which it is used."""

from typing import Annotated

from msgspec import field

from controller.apis.meta import (
    Column,
    Condition,
    Int64,
    JsonObject,
    Kind,
    Nullable,
    ObjectMeta,
    Schema,
    SpecStruct,
)
from controller.apis.plan import PlanStatus

_ANY = Schema(preserve_unknown=True)


class ObjectBucketClaimSpec(SpecStruct, frozen=True, kw_only=True):
    """What the user wants of a bucket."""

    storage_class_name: str = ""
    """The StorageClass: which object store, and what becomes of the bucket when the claim is deleted."""
    bucket_name: str = ""
    """The bucket's name. The operator writes it here when it is generated."""
    generate_bucket_name: str = ""
    """What the bucket's name begins with; the rest is generated."""
    additional_config: Nullable[Annotated[JsonObject, _ANY]] = field(default_factory=dict)
    """Quotas and more: maxObjects and maxSize; and bucketMaxObjects, bucketMaxSize, bucketPolicy, bucketLifecycle and
    bucketOwner where the operator allows them."""
    object_bucket_name: str = ""
    """The ObjectBucket of the claim. The operator writes it here."""


class ObjectBucketClaimStatus(SpecStruct, frozen=True, kw_only=True):
    """State of a claim to a bucket."""

    observed_generation: Int64 = 0
    """The metadata.generation that this status is of."""
    phase: str = ""
    """Pending, Bound, or Released while the claim is being deleted."""
    conditions: Annotated[tuple[Condition, ...], Schema(list_type="map", list_map_keys=("type",))] = ()
    """Aspects of the claim's state."""
    plan: PlanStatus = PlanStatus()
    """What is about to be done."""


class ObjectBucketClaim(SpecStruct, frozen=True, kw_only=True, omit_defaults=False):
    """A claim to a bucket of an object store."""

    api_version: str = "objectbucket.io/v1alpha1"
    kind: str = "ObjectBucketClaim"
    metadata: ObjectMeta = ObjectMeta()
    spec: Annotated[ObjectBucketClaimSpec, Schema(required=True)] = ObjectBucketClaimSpec()
    status: Annotated[ObjectBucketClaimStatus, _ANY] = ObjectBucketClaimStatus()


OBJECT_BUCKET_CLAIM = Kind(
    "objectbucket.io",
    "v1alpha1",
    "ObjectBucketClaim",
    "objectbucketclaims",
    short_names=("obc", "obcs"),
    columns=(
        Column("Storage-Class", ".spec.storageClassName", description="StorageClass"),
        Column("Phase", ".status.phase", description="Phase"),
        Column("Bucket", ".spec.bucketName", priority=1, description="The bucket's name"),
        Column("Age", ".metadata.creationTimestamp", "date"),
    ),
)
