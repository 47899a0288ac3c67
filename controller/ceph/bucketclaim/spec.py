"""What a claim and its StorageClass ask for, in the object store's terms; and what of it means nothing. Pure.

Names of parameters, users and settings are upstream's:
https://rook.io/docs/rook/latest/Storage-Configuration/Object-Storage-RGW/ceph-object-bucket-claim/
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import dataclass, field
from math import ceil
from typing import TYPE_CHECKING, Any

from controller.ceph.rgw.buckets import NO_QUOTA
from controller.ceph.rgw.users import UNLIMITED, Quota
from controller.framework.duration import duration_or, duration_problem
from controller.runtime.quantities import quantity

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from controller.apis.objectbucket import ObjectBucketClaim
    from controller.runtime.kube import StorageClass

PROVISIONER = "ceph.rook.io/bucket"
"""What the provisioner of a StorageClass of ours is, with a namespace or the operator's prefix and a dot before it."""
STORE_NAME, STORE_NAMESPACE, BUCKET_NAME, ENDPOINT = "objectStoreName", "objectStoreNamespace", "bucketName", "endpoint"
"""Parameters of a StorageClass."""
MAX_OBJECTS, MAX_SIZE = "maxObjects", "maxSize"
BUCKET_MAX_OBJECTS, BUCKET_MAX_SIZE = "bucketMaxObjects", "bucketMaxSize"
POLICY, LIFECYCLE, OWNER = "bucketPolicy", "bucketLifecycle", "bucketOwner"
"""Keys of a claim's additionalConfig."""
KEYS = (MAX_OBJECTS, MAX_SIZE, BUCKET_MAX_OBJECTS, BUCKET_MAX_SIZE, POLICY, LIFECYCLE, OWNER)
ROTATE, KEEP_OLD = "rook.io/rotate-keys", "rook.io/keep-old-keys"
"""Annotations of a claim: another text has its key rotated; and for how long the key before it is of use."""
KEPT_FOR = 86400.0
"""Seconds for which a key is of use after its rotation, where the claim does not say."""
DELETE, RETAIN = "Delete", "Retain"
"""Reclaim policies."""

_PREFIX = "obc-"
_RESERVED = re.compile(r"rgw-admin-ops-user|dashboard-admin|.*-system-user|rook-ceph-internal-s3-user-checker.*")
"""Users of the operator, of the dashboard, and those by which zones are kept the same."""
_LONGEST_NAME, _UID = 63, 36


@dataclass(frozen=True, slots=True)
class StoreKey:
    """Which CephObjectStore."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a StorageClass says.

    Attributes:
        store: The object store.
        existing: The bucket that its claims share; empty: each has one of its own.
        reclaim: What becomes of a bucket when its claim is deleted.
        endpoint: Where programs are told that the store is; empty: where the store says.
        provisioner: The class's.
    """

    store: StoreKey
    existing: str = ""
    reclaim: str = DELETE
    endpoint: str = ""
    provisioner: str = PROVISIONER


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a claim's additionalConfig asks for.

    Attributes:
        user_quota: Of the claim's user.
        bucket_quota: Of the bucket.
        policy: The bucket's policy; None: the claim has none.
        lifecycle: The bucket's lifecycle, as boto3 takes it; None: the claim has none.
        owner: Who is to own the bucket; empty: a user that is made for the claim.
    """

    user_quota: Quota = NO_QUOTA
    bucket_quota: Quota = NO_QUOTA
    policy: Mapping[str, Any] | None = None
    lifecycle: Mapping[str, Any] | None = None
    owner: str = ""


@dataclass(slots=True)
class _Reader:
    """Reads additionalConfig, and notes what means nothing."""

    config: Mapping[str, Any]
    found: list[str] = field(default_factory=list)

    def text(self, key: str) -> str:
        value = self.config.get(key)
        return "" if value is None else str(value).strip()

    def number(self, key: str) -> int:
        text = self.text(key)
        value = quantity(text) if text else UNLIMITED
        if value is None:
            self._told(key, f'is {text!r}: expected a quantity, such as "1000" or "2Gi"')
            return UNLIMITED
        return max(ceil(value), UNLIMITED)

    def document(self, key: str) -> Mapping[str, Any] | None:
        text = self.text(key)
        if not text:
            return None
        try:
            value = json.loads(text)
        except ValueError as error:
            self._told(key, f"is no JSON: {error}")
            return None
        if not isinstance(value, dict):
            self._told(key, f"is a JSON {type(value).__name__}: expected an object")
            return None
        return value

    def _told(self, key: str, problem: str) -> None:
        self.found.append(f"additionalConfig.{key} {problem}")


def is_provisioner(name: str, *, serves: Callable[[str], bool], prefixes: frozenset[str]) -> bool:
    """Whether a StorageClass with this provisioner is this operator's.

    Args:
        name: The provisioner.
        serves: Whether the operator serves a namespace.
        prefixes: The operator's namespace, and what else it was told to answer to.
    """
    prefix, dot, suffix = name.partition(".")
    if name == PROVISIONER:
        return True
    return bool(dot) and suffix == PROVISIONER and (prefix in prefixes or serves(prefix))


def terms_of(found: StorageClass, operator_namespace: str) -> Terms:
    """What a StorageClass of ours says."""
    parameters = found.parameters
    prefix = found.provisioner.partition(".")[0]
    default = operator_namespace if found.provisioner == PROVISIONER else prefix
    return Terms(
        store=StoreKey(parameters.get(STORE_NAMESPACE) or default, parameters.get(STORE_NAME, "")),
        existing=parameters.get(BUCKET_NAME, ""),
        reclaim=found.reclaim_policy or DELETE,
        endpoint=parameters.get(ENDPOINT, ""),
        provisioner=found.provisioner,
    )


def own_user(claim: ObjectBucketClaim) -> str:
    """The user that is made for a claim; another claim of the same name has another one."""
    meta = claim.metadata
    return f"{_PREFIX}{meta.namespace}-{meta.name}-{meta.uid}"


def bucket_object_name(claim: ObjectBucketClaim) -> str:
    """The name of a claim's ObjectBucket."""
    return f"{_PREFIX}{claim.metadata.namespace}-{claim.metadata.name}"


def bucket_name(claim: ObjectBucketClaim, terms: Terms) -> str:
    """The bucket that a claim asks for. A generated name is the same each time. Empty: it asks for none."""
    spec = claim.spec
    if terms.existing or spec.bucket_name:
        return terms.existing or spec.bucket_name
    prefix = spec.generate_bucket_name[: _LONGEST_NAME - _UID - 1]
    return f"{prefix}-{claim.metadata.uid}" if prefix else ""


def wanted(claim: ObjectBucketClaim) -> Wanted:
    """What the claim's additionalConfig asks for, as far as it means anything; see `problems`."""
    return _read(_Reader(claim.spec.additional_config))


def _read(reader: _Reader) -> Wanted:
    return Wanted(
        user_quota=Quota(reader.number(MAX_SIZE), reader.number(MAX_OBJECTS)),
        bucket_quota=Quota(reader.number(BUCKET_MAX_SIZE), reader.number(BUCKET_MAX_OBJECTS)),
        policy=reader.document(POLICY),
        lifecycle=reader.document(LIFECYCLE),
        owner=reader.text(OWNER),
    )


def problems(claim: ObjectBucketClaim, terms: Terms | None, allowed: frozenset[str]) -> tuple[str, ...]:
    """Why the spec cannot be carried out, in words.

    Args:
        claim: The claim.
        terms: What its StorageClass says; None: there is none.
        allowed: The keys of additionalConfig that the operator allows.
    """
    reader = _Reader(claim.spec.additional_config)
    asked = _read(reader)
    found = []
    if terms is not None and not terms.store.name:
        found.append(f"StorageClass {claim.spec.storage_class_name} has no parameter {STORE_NAME}")
    if terms is not None and not bucket_name(claim, terms):
        found.append("bucketName and generateBucketName are empty: expected one of them")
    refused = [key for key in KEYS if reader.text(key) and key not in allowed]
    if refused:
        names = ", ".join(f"additionalConfig.{key}" for key in refused)
        some = f"it allows {', '.join(sorted(allowed))}" if allowed else "it allows none"
        found.append(f"{names}: not allowed by the operator's obcAllowAdditionalConfigFields; {some}")
    if _RESERVED.fullmatch(asked.owner) or (asked.owner.startswith(_PREFIX) and asked.owner != own_user(claim)):
        found.append(
            f"additionalConfig.{OWNER} is {asked.owner}, a user of the operator or of another claim: "
            "expected a CephObjectStoreUser"
        )
    if asked.lifecycle is not None and not isinstance(asked.lifecycle.get("Rules"), list):
        reader.found.append(f"additionalConfig.{LIFECYCLE} has no list Rules")
    return (*found, *reader.found)


def idle(claim: ObjectBucketClaim) -> tuple[str, ...]:
    """What of the spec changes nothing: each with its path, and why."""
    config, asked = claim.spec.additional_config, wanted(claim)
    found = [f"additionalConfig.{key}: it is not known" for key in config if key not in KEYS]
    if asked.owner and asked.user_quota.enabled:
        found.append(f"additionalConfig.{MAX_OBJECTS}, {MAX_SIZE}: {OWNER} is set, whose quota is its own")
    if asked.owner and rotation(claim):
        found.append(f"annotation {ROTATE}: {OWNER} is set, whose keys are its own")
    told = duration_problem(f"annotation {KEEP_OLD}", claim.metadata.annotations.get(KEEP_OLD, ""), KEPT_FOR)
    return (*found, told) if told else tuple(found)


def rotation(claim: ObjectBucketClaim) -> str:
    """By which text the claim's key is to be; empty: it is not rotated."""
    return claim.metadata.annotations.get(ROTATE, "")


def kept_for(claim: ObjectBucketClaim) -> float:
    """Seconds for which a key is of use after its rotation."""
    return duration_or(claim.metadata.annotations.get(KEEP_OLD, ""), KEPT_FOR)


def key_id(uid: str, text: str) -> str:
    """The access key that a claim's user gets for a text: the same each time, and nobody else's."""
    digest = hashlib.sha256(f"{uid}/{text}".encode()).digest()
    return base64.b32encode(digest).decode()[:20]
