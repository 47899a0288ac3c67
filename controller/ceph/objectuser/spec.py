"""What a CephObjectStoreUser's spec asks for, in the gateways' terms; and what of it means nothing. Pure."""

from __future__ import annotations

import hashlib
import re
from math import floor
from typing import TYPE_CHECKING

import msgspec

from controller.ceph.rgw.users import OPERATIONS, UNLIMITED, Quota, User, permissions
from controller.framework.duration import duration_or, duration_problem
from controller.runtime.quantities import quantity

if TYPE_CHECKING:
    from collections.abc import Mapping

    from controller.apis.ceph import CephObjectStoreUser
    from controller.apis.ceph.object_user import ObjectUserCapSpec, ObjectUserQuotaSpec
    from controller.apis.meta import ObjectMeta

MAX_BUCKETS = 1000
"""Buckets that a user may have where its spec does not say."""
ROTATE = "rook.io/rotate-keys"
"""The annotation by which a user gets another key: each value that it was not given before asks for one."""
GRACE = "rook.io/keep-old-keys"
"""The annotation with how long the key before is of use after a rotation."""
DEFAULT_GRACE = 24 * 3600.0
"""Seconds for which it is, where that annotation does not say: programs have to be started again meanwhile."""

_RESERVED = re.compile(r"rgw-admin-ops-user|dashboard-admin|obc-.*|.*-system-user|rook-ceph-internal-s3-user-checker.*")
"""Users of the operator and of the dashboard, of claims to buckets, and those by which zones are kept the same."""
_SAME = {"user": "users", "bucket": "buckets", "userInfoWithoutKeys": "user-info-without-keys"}
"""Capabilities that Ceph calls otherwise than specs may."""


def store_of(user: CephObjectStoreUser) -> tuple[str, str]:
    """The namespace and the name of the CephObjectStore."""
    return user.spec.cluster_namespace or user.metadata.namespace, user.spec.store


def secret_name(user: CephObjectStoreUser) -> str:
    """The Secret with the user's key; upstream's name."""
    return f"rook-ceph-object-user-{user.spec.store}-{user.metadata.name}"


def is_reserved(name: str) -> bool:
    """Whether a user of this name is the operator's or Ceph's own."""
    return _RESERVED.fullmatch(name) is not None


def problems(user: CephObjectStoreUser) -> tuple[str, ...]:
    """Why the spec cannot be carried out, in words."""
    spec, name = user.spec, user.metadata.name
    found = []
    if is_reserved(name):
        found.append(f"metadata.name is {name}, a user of the operator's or of Ceph's: expected another name")
    if not spec.store:
        found.append("store is empty: expected the name of a CephObjectStore")
    if spec.quotas.max_size is not None and not _is_size(spec.quotas.max_size):
        found.append(f"quotas.maxSize is {spec.quotas.max_size!r}: expected a quantity such as 10Gi")
    for index, key in enumerate(spec.keys):
        for field, ref in (("accessKeyRef", key.access_key_ref), ("secretKeyRef", key.secret_key_ref)):
            if ref is None or not ref.name or not ref.key:
                found.append(f"keys[{index}].{field} is not set: expected name and key of a Secret's value")
    return tuple(found)


def warnings(user: CephObjectStoreUser) -> tuple[str, ...]:
    """Annotations that mean nothing, and what counts instead."""
    annotations = user.metadata.annotations
    found = duration_problem(f"annotation {GRACE}", annotations.get(GRACE, ""), DEFAULT_GRACE)
    if user.spec.keys and annotations.get(ROTATE):
        return (f"annotation {ROTATE}: keys has the user's keys, and is changed to rotate them", *filter(None, [found]))
    return (found,) if found else ()


def wanted(user: CephObjectStoreUser, account: str) -> User:
    """The user as the gateways should have it, without its keys.

    Args:
        user: Its object, without problems.
        account: The account that its spec names; empty: none.
    """
    spec, name = user.spec, user.metadata.name
    given = spec.op_mask
    return User(
        uid=name,
        display_name=spec.display_name or name,
        max_buckets=_max_buckets(spec.quotas),
        operations=frozenset(OPERATIONS if given is None else given),
        caps=_caps(spec.capabilities),
        quota=_quota(spec.quotas),
        account=account,
    )


def requested_rotation(user: CephObjectStoreUser) -> str:
    """What asks for another key, as `status.keyRotation.requested` notes it; empty: nothing."""
    return "" if user.spec.keys else user.metadata.annotations.get(ROTATE, "")


def grace(user: CephObjectStoreUser) -> float:
    """Seconds for which a key that was replaced is of use."""
    return duration_or(user.metadata.annotations.get(GRACE, ""), DEFAULT_GRACE)


def made_access_key(meta: ObjectMeta, requested: str) -> str:
    """The access key of the key that a rotation makes: a rotation that is carried out twice makes the same one.

    It identifies a key, and opens nothing: the secret that belongs to it is random.
    """
    return hashlib.sha256(f"{meta.uid}/{requested}".encode()).hexdigest()[:20].upper()


def digest(access: str) -> str:
    """How statuses name an access key."""
    return hashlib.sha256(access.encode()).hexdigest()[:16]


def _is_size(text: int | str) -> bool:
    found = quantity(text)
    return found is not None and found >= 0


def _max_buckets(quotas: ObjectUserQuotaSpec) -> int:
    asked = quotas.max_buckets
    # Gateways keep one number for all below zero.
    return MAX_BUCKETS if asked is None else max(asked, UNLIMITED)


def _quota(quotas: ObjectUserQuotaSpec) -> Quota:
    size = None if quotas.max_size is None else quantity(quotas.max_size)
    objects = quotas.max_objects
    return Quota(
        max_size=UNLIMITED if size is None else floor(size),
        max_objects=UNLIMITED if objects is None or objects < 0 else objects,
    )


def _caps(spec: ObjectUserCapSpec) -> Mapping[str, frozenset[str]]:
    found: dict[str, frozenset[str]] = {}
    for field in msgspec.structs.fields(spec):
        text = getattr(spec, field.name)
        if text:
            name = _SAME.get(field.encode_name, field.encode_name)
            found[name] = found.get(name, frozenset()) | permissions(text)
    return found
