"""What a claim has in Kubernetes: its ObjectBucket, which notes what was made, its Secret and its ConfigMap. Pure.

The ObjectBucket is the record of a claim: it is made before anything in the object store is, and tells afterwards what
the claim had made, even if its StorageClass is gone. Names and keys are upstream's.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from controller.apis.objectbucket import OBJECT_BUCKET, OBJECT_BUCKET_CLAIM
from controller.ceph.bucketclaim.spec import (
    DELETE,
    STORE_NAME,
    STORE_NAMESPACE,
    StoreKey,
    bucket_object_name,
    own_user,
)
from controller.framework.workload import Owner

if TYPE_CHECKING:
    from collections.abc import Mapping

    from controller.apis.objectbucket import ObjectBucket, ObjectBucketClaim
    from controller.ceph.rgw.users import Key
    from informers import JsonObject

FINALIZER = "objectbucket.io/finalizer"
"""Of claims; an earlier operator gave it to what claims have, too."""
LABEL = "bucket-provisioner"
"""The label of what claims have; upstream's."""
ACCESS_KEY, SECRET_KEY = "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"
USER, BUCKET_OWNER, ORIGIN = "cephUser", "bucketOwner", "bucketOrigin"
"""Keys of an ObjectBucket's additionalState, beside those of a StorageClass."""
CLAIM, EXISTING = "claim", "existing"
"""Origins: the bucket was made for the claim, and goes with it; or it was there before."""
ROTATION, PREVIOUS, ROTATED_AT = "rook.io/key-rotation", "rook.io/previous-key", "rook.io/rotated-at"
"""Annotations of an ObjectBucket: what the key was rotated by, and when; and the fingerprint of the one before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What an ObjectBucket notes of a claim.

    Attributes:
        store: The object store; None: an earlier operator did not note it.
        bucket: The bucket.
        user: The user that the claim's Secret has the key of.
        owner: The user that the claim named as owner; empty: none.
        origin: `CLAIM`, `EXISTING`; empty: an earlier operator did not note it.
        storage_class: The claim's StorageClass.
        provisioner: Its provisioner, as a label.
        reclaim: What becomes of the bucket when the claim is deleted.
        host: Host of the store, as programs are told it.
        port: Its port.
        config: The additionalConfig that the bucket has.
        rotation: By which text the key is.
        previous: Fingerprint of the key before it, if that is of use yet.
        rotated_at: When the key was rotated: RFC 3339.
    """

    store: StoreKey | None
    bucket: str
    user: str
    owner: str = ""
    origin: str = ""
    storage_class: str = ""
    provisioner: str = ""
    reclaim: str = DELETE
    host: str = ""
    port: int = 0
    config: Mapping[str, Any] = field(default_factory=dict)
    rotation: str = ""
    previous: str = ""
    rotated_at: str = ""


def record_of(found: ObjectBucket) -> Record:
    """What an ObjectBucket notes."""
    spec, state, noted = found.spec, found.spec.additional_state, found.metadata.annotations
    where = StoreKey(state.get(STORE_NAMESPACE, ""), state.get(STORE_NAME, ""))
    return Record(
        store=where if where.name and where.namespace else None,
        bucket=spec.endpoint.bucket_name,
        user=state.get(USER, ""),
        owner=state.get(BUCKET_OWNER, ""),
        origin=state.get(ORIGIN, ""),
        storage_class=spec.storage_class_name,
        provisioner=found.metadata.labels.get(LABEL, ""),
        reclaim=spec.reclaim_policy or DELETE,
        host=spec.endpoint.bucket_host,
        port=spec.endpoint.bucket_port,
        config=spec.endpoint.additional_config,
        rotation=noted.get(ROTATION, ""),
        previous=noted.get(PREVIOUS, ""),
        rotated_at=noted.get(ROTATED_AT, ""),
    )


def belongs(found: ObjectBucket, claim: ObjectBucketClaim) -> bool:
    """Whether an ObjectBucket is of a claim: of this very one, or of one of its name that the claim takes over.

    A claim that was restored from a backup has another uid, and says which ObjectBucket it had.
    """
    reference, meta = found.spec.claim_ref, claim.metadata
    same_name = (reference.namespace, reference.name) == (meta.namespace, meta.name)
    return same_name and (reference.uid == meta.uid or claim.spec.object_bucket_name == found.metadata.name)


def made_user(claim: ObjectBucketClaim, record: Record | None) -> str:
    """The user that was or is to be made for a claim; an earlier operator may have called it otherwise."""
    return record.user if record is not None and record.user and not record.owner else own_user(claim)


def label_of(provisioner: str) -> str:
    """A provisioner as the value of `LABEL`."""
    return provisioner.replace("/", "-")


def address(endpoint: str) -> tuple[str, int]:
    """Host and port of a URL, or of a host with a port."""
    parts = urlsplit(endpoint if "//" in endpoint else f"//{endpoint}")
    return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)


def object_bucket(claim: ObjectBucketClaim, record: Record) -> JsonObject:
    """The ObjectBucket that notes `record`. It is in no namespace, so that it has no owner there."""
    meta = claim.metadata
    rotated = {ROTATION: record.rotation, PREVIOUS: record.previous, ROTATED_AT: record.rotated_at}
    noted = {key: value for key, value in rotated.items() if value}
    state = {USER: record.user, BUCKET_OWNER: record.owner, ORIGIN: record.origin}
    if record.store is not None:
        state |= {STORE_NAME: record.store.name, STORE_NAMESPACE: record.store.namespace}
    return {
        "apiVersion": OBJECT_BUCKET.api_version,
        "kind": OBJECT_BUCKET.kind,
        "metadata": {
            "name": bucket_object_name(claim),
            "labels": {LABEL: record.provisioner},
            **({"annotations": noted} if noted else {}),
        },
        "spec": {
            "storageClassName": record.storage_class,
            "reclaimPolicy": record.reclaim,
            "endpoint": {
                "bucketHost": record.host,
                "bucketPort": record.port,
                "bucketName": record.bucket,
                "region": "",
                "subRegion": "",
                # An API server keeps no empty map whose last key is taken out, and would have it applied for ever.
                **({"additionalConfig": dict(record.config)} if record.config else {}),
            },
            "additionalState": {key: value for key, value in state.items() if value},
            "claimRef": {
                "apiVersion": OBJECT_BUCKET_CLAIM.api_version,
                "kind": OBJECT_BUCKET_CLAIM.kind,
                "namespace": meta.namespace,
                "name": meta.name,
                "uid": meta.uid,
            },
        },
    }


def config_map(claim: ObjectBucketClaim, record: Record) -> JsonObject:
    """The ConfigMap that tells programs where their bucket is."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": _metadata(claim, record),
        "data": {
            "BUCKET_NAME": record.bucket,
            "BUCKET_HOST": record.host,
            "BUCKET_PORT": str(record.port),
            "BUCKET_REGION": "",
            "BUCKET_SUBREGION": "",
        },
    }


def key_secret(claim: ObjectBucketClaim, record: Record, key: Key) -> JsonObject:
    """The Secret with the key of the claim's user."""
    data = {ACCESS_KEY: key.access, SECRET_KEY: key.secret}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "Opaque",
        "metadata": _metadata(claim, record),
        "data": {name: base64.b64encode(text.encode()).decode() for name, text in data.items()},
    }


def _metadata(claim: ObjectBucketClaim, record: Record) -> JsonObject:
    owner = Owner.of(OBJECT_BUCKET_CLAIM, claim.metadata)
    return owner.metadata(claim.metadata.name, {LABEL: record.provisioner})
