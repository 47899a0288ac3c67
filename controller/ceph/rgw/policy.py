"""Policies and lifecycles of buckets as data: what a claim's user may do, and whether two say the same. Pure."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from informers import JsonObject

VERSION = "2012-10-17"
"""Of the language of policies."""

ACTIONS = tuple(
    f"s3:{name}"
    for name in (
        "AbortMultipartUpload",
        "DeleteObject",
        "DeleteObjectVersion",
        "GetBucketAcl",
        "GetBucketCORS",
        "GetBucketLocation",
        "GetBucketLogging",
        "GetBucketNotification",
        "GetBucketTagging",
        "GetBucketVersioning",
        "GetBucketWebsite",
        "GetObject",
        "GetObjectAcl",
        "GetObjectTorrent",
        "GetObjectVersion",
        "GetObjectVersionAcl",
        "GetObjectVersionTorrent",
        "ListAllMyBuckets",
        "ListBucket",
        "ListBucketMultipartUploads",
        "ListBucketVersions",
        "ListMultipartUploadParts",
        "PutBucketTagging",
        "PutBucketVersioning",
        "PutBucketWebsite",
        "PutLifecycleConfiguration",
        "PutObject",
        "PutObjectAcl",
        "PutObjectVersionAcl",
        "PutReplicationConfiguration",
        "RestoreObject",
    )
)
"""What the user of a claim may do in a bucket that another user owns; upstream's list."""


def grant(user: str, bucket: str) -> JsonObject:
    """The statement that lets a user work in a bucket; its Sid is the user, as upstream's is."""
    return {
        "Sid": user,
        "Effect": "Allow",
        "Principal": {"AWS": [f"arn:aws:iam:::user/{user}"]},
        "Action": list(ACTIONS),
        "Resource": [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"],
    }


def granted(policy: Mapping[str, Any] | None, user: str, bucket: str) -> JsonObject:
    """A policy with the grant of a user, and all else that it had."""
    return {
        "Version": VERSION,
        **(policy or {}),
        "Statement": [*_statements(policy, without=user), grant(user, bucket)],
    }


def revoked(policy: Mapping[str, Any], user: str) -> JsonObject | None:
    """A policy without the statement of a user; None: nothing is left of it."""
    left = _statements(policy, without=user)
    return {**policy, "Statement": left} if left else None


def only(policy: Mapping[str, Any] | None, user: str) -> JsonObject | None:
    """A policy with nothing but the statement of a user; None: it has none."""
    own = [statement for statement in _all(policy) if statement.get("Sid") == user]
    return {**(policy or {}), "Statement": own} if own else None


def is_granted(policy: Mapping[str, Any] | None, user: str, bucket: str) -> bool:
    """Whether a policy has the grant of a user."""
    return any(same_policy(s, grant(user, bucket)) for s in _all(policy))


def is_named(policy: Mapping[str, Any] | None, user: str) -> bool:
    """Whether a policy has a statement of a user."""
    return any(statement.get("Sid") == user for statement in _all(policy))


def same_policy(one: Mapping[str, Any] | None, other: Mapping[str, Any] | None) -> bool:
    """Whether two policies, or statements, say the same. A list of one may be written as that one."""
    return bool(_plain(one) == _plain(other))


def same_lifecycle(one: Mapping[str, Any] | None, other: Mapping[str, Any] | None) -> bool:
    """Whether two lifecycles say the same, of which a gateway gives back one in its own form.

    It gives rules without an ID one, has a prefix with or without a filter, and knows no order of rules.
    """
    named = {rule.get("ID") for rule in _rules(one)} & {rule.get("ID") for rule in _rules(other)}
    return _normal(one, named) == _normal(other, named)


def _all(policy: Mapping[str, Any] | None) -> list[JsonObject]:
    found = (policy or {}).get("Statement", [])
    return [found] if isinstance(found, dict) else list(found)


def _statements(policy: Mapping[str, Any] | None, *, without: str) -> list[JsonObject]:
    return [statement for statement in _all(policy) if statement.get("Sid") != without]


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(child) for key, child in value.items()}
    if isinstance(value, list):
        return _plain(value[0]) if len(value) == 1 else sorted((_plain(child) for child in value), key=repr)
    return value


def _rules(lifecycle: Mapping[str, Any] | None) -> list[JsonObject]:
    return list((lifecycle or {}).get("Rules", []))


def _normal(lifecycle: Mapping[str, Any] | None, named: set[Any]) -> list[Any]:
    return sorted((_rule(rule, named) for rule in _rules(lifecycle)), key=repr)


def _rule(rule: JsonObject, named: set[Any]) -> Any:
    both = rule.get("Filter") or {}
    both = {**both, **both.get("And", {})}
    tags = [*both.get("Tags", []), *([both["Tag"]] if both.get("Tag") else [])]
    rest = {key: value for key, value in rule.items() if key not in ("ID", "Filter", "Prefix")}
    return _timed(
        {
            **rest,
            "ID": rule.get("ID") if rule.get("ID") in named else None,
            "Prefix": both.get("Prefix") or rule.get("Prefix") or "",
            "Tags": sorted(tags, key=repr),
            "Sizes": {key: both[key] for key in ("ObjectSizeGreaterThan", "ObjectSizeLessThan") if key in both},
        }
    )


def _timed(value: Any) -> Any:
    """A value whose times are text of one form, and whose keys have an order."""
    if isinstance(value, dict):
        return {key: _timed(child) for key, child in sorted(value.items()) if child not in (None, "", [], {})}
    if isinstance(value, list):
        return [_timed(child) for child in value]
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    if isinstance(value, str) and len(value) >= len("2027-01-01") and value[4:5] == "-":
        try:
            found = datetime.fromisoformat(value)
        except ValueError:
            return value
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC).isoformat()
    return value
