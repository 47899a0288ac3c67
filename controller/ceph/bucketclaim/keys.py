"""Which key a claim's Secret has, and how it is rotated: the new one first, the old one out only when it is due. Pure.

A rotation is named by the text of the claim's annotation, and so is its key, so that a try that is repeated makes no
second one. The ObjectBucket notes by which text the key is; the key before it is of use for a time.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

from controller.ceph.bucketclaim.actions import AddKey, RemoveKey
from controller.ceph.bucketclaim.spec import KEEP_OLD, kept_for, key_id, rotation
from controller.ceph.rgw.buckets import fingerprint
from controller.framework.plan import Step
from controller.framework.status import timestamp

if TYPE_CHECKING:
    from controller.apis.objectbucket import ObjectBucketClaim
    from controller.ceph.bucketclaim.objects import Record
    from controller.ceph.bucketclaim.observation import ClaimObservation

LANE = "keys"


@dataclass(frozen=True, slots=True)
class Turn:
    """What becomes of the keys at a look.

    Attributes:
        record: What is to be noted then.
        before: What is done before that.
        after: What is left to wait for.
    """

    record: Record
    before: tuple[Step, ...] = ()
    after: tuple[Step, ...] = ()


def current_key(claim: ObjectBucketClaim, seen: ClaimObservation, record: Record) -> str:
    """Fingerprint of the key that the Secret is to have; empty: any that is not on its way out."""
    keys = seen.user.keys if seen.user is not None else ()
    named = fingerprint(key_id(claim.metadata.uid, record.rotation))
    if record.rotation and named in keys:
        return named
    stays = [key for key in keys if key != record.previous]
    return seen.secret.key if seen.secret.key in stays else next(iter(stays), "")


def turn(claim: ObjectBucketClaim, seen: ClaimObservation, record: Record) -> Turn:
    """What becomes of the keys of the user that was made for a claim."""
    if seen.record is None or seen.user is None or record.owner:
        return Turn(record)
    before: list[Step] = []
    if record.previous:
        if record.previous in seen.user.keys and seen.now < _due(claim, record):
            return _waits(claim, record)
        if record.previous in seen.user.keys:
            reason = f"its key was rotated at {record.rotated_at}, and the one before it is not of use any more"
            before.append(_step(record, RemoveKey(record.user, record.previous), reason))
        record = replace(record, previous="")
    text = rotation(claim)
    if text and text != record.rotation:
        access, present = key_id(claim.metadata.uid, text), current_key(claim, seen, record)
        if fingerprint(access) not in seen.user.keys:
            before.append(_step(record, AddKey(record.user, access), "its key is to be rotated"))
        record = replace(record, rotation=text, previous=present, rotated_at=timestamp(seen.now))
    return Turn(record, tuple(before))


def next_key(claim: ObjectBucketClaim, seen: ClaimObservation, record: Record) -> str:
    """`current_key` as it is once the steps of a turn that ended with `record` are done."""
    noted = seen.record
    if noted is not None and record.rotation != noted.rotation:
        return fingerprint(key_id(claim.metadata.uid, record.rotation))
    return current_key(claim, seen, record)


def _due(claim: ObjectBucketClaim, record: Record) -> float:
    try:
        return datetime.fromisoformat(record.rotated_at).timestamp() + kept_for(claim)
    except ValueError:
        return 0.0


def _waits(claim: ObjectBucketClaim, record: Record) -> Turn:
    text = rotation(claim)
    if not text or text == record.rotation:
        return Turn(record)
    until = f"{timestamp(_due(claim, record))}, until when the key before it is of use; or annotation {KEEP_OLD}: 0s"
    reason = "its key is to be rotated once more"
    return Turn(record, after=(Step(subject=f"user {record.user}", reason=reason, waits_for=until, lane=LANE),))


def _step(record: Record, action: object, reason: str) -> Step:
    return Step(subject=f"user {record.user}", action=action, reason=reason, lane=f"bucket {record.bucket}")
