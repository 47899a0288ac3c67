"""What becomes of a claim that is deleted: of its bucket, its user, and what it had in Kubernetes. Pure.

What the ObjectBucket notes decides, and not the StorageClass, which may be gone. A bucket that was made for the claim
goes with it if the policy is Delete; what was there before the claim stays, and so does what nobody knows about.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from controller.apis.objectbucket import OBJECT_BUCKET
from controller.ceph.bucketclaim.actions import LockOut, PurgeBucket, Release, RemoveBucket, RemoveUser, SetPolicy
from controller.ceph.bucketclaim.objects import CLAIM, Record, made_user
from controller.ceph.bucketclaim.spec import DELETE, POLICY, RETAIN, bucket_object_name, key_id
from controller.ceph.rgw.buckets import fingerprint
from controller.ceph.rgw.policy import is_named, revoked
from controller.framework.consent import FORCE_ANNOTATION, is_forced, is_stale
from controller.framework.kind import LetGo
from controller.framework.plan import Step
from controller.runtime import resource_of
from controller.runtime.kube import CONFIG_MAP, SECRET

if TYPE_CHECKING:
    from collections.abc import Iterator

    from controller.apis.meta import ObjectMeta
    from controller.apis.objectbucket import ObjectBucketClaim
    from controller.ceph.bucketclaim.observation import ClaimObservation

BUCKETS = resource_of(OBJECT_BUCKET)
ABANDON = "rook.io/abandon-bucket"
"""With the value "true" on a claim that is deleted: what it has in a store that does not answer stays there."""
RETAINED = "retained"
"""By which text the key is that is left to a user whose bucket stays."""
_REASON = "the claim is being deleted"


def lacks_consent(meta: ObjectMeta, now: float) -> bool:
    """Whether a deletion is so old that it has yet to be said again that data goes with it."""
    return is_stale(meta, now) and not is_forced(meta.annotations)


def deletion(claim: ObjectBucketClaim, seen: ClaimObservation) -> Iterator[Step]:
    """The steps of a claim that is being deleted."""
    abandoned = claim.metadata.annotations.get(ABANDON) == "true"
    if seen.waits_for and not seen.store_gone and not abandoned:
        more = f'; or for annotation {ABANDON}: "true", with which bucket and user stay in the store'
        yield Step(subject=_subject(claim, seen), reason=_REASON, waits_for=seen.waits_for + more)
        return
    if not seen.waits_for:
        yield from _in_store(claim, seen)
    yield from _in_kubernetes(claim, seen)
    yield _step(claim, seen, LetGo())


def _in_store(claim: ObjectBucketClaim, seen: ClaimObservation) -> Iterator[Step]:
    record = seen.record or Record(store=None, bucket=seen.name, user=made_user(claim, None), reclaim=RETAIN)
    own, bucket = made_user(claim, record), seen.bucket
    if record.origin == CLAIM and record.reclaim == DELETE:
        if bucket is not None and bucket.owner in (record.user, own):
            named = (record.bucket, bucket.id, bucket.owner)
            if bucket.objects:
                lacks = lacks_consent(claim.metadata, seen.now)
                consent = (
                    f'annotation {FORCE_ANNOTATION}: "true", as it was deleted more than a day ago' if lacks else ""
                )
                reason = f"{_REASON}, and its {bucket.objects} objects go with it"
                yield _step(claim, seen, PurgeBucket(*named), reason, consent=consent)
            yield _step(claim, seen, RemoveBucket(*named))
        if seen.own_user_exists:
            yield _step(claim, seen, RemoveUser(own))
        return
    if bucket is not None and POLICY not in record.config and is_named(seen.policy, record.user):
        assert seen.policy is not None  # noqa: S101  somebody is named in it
        yield _step(claim, seen, SetPolicy(record.bucket, revoked(seen.policy, record.user)))
    if not seen.own_user_exists:
        return
    if bucket is not None and bucket.owner == own:
        access = key_id(claim.metadata.uid, RETAINED)
        if seen.user is None or seen.user.keys != (fingerprint(access),):
            yield _step(claim, seen, LockOut(own, access), f"{_REASON}; the bucket stays, and its user")
    else:
        yield _step(claim, seen, RemoveUser(own))


def _in_kubernetes(claim: ObjectBucketClaim, seen: ClaimObservation) -> Iterator[Step]:
    meta = claim.metadata
    for resource, child in ((SECRET, seen.secret), (CONFIG_MAP, seen.config_map)):
        if child.is_ours:
            yield _step(claim, seen, Release(resource, meta.namespace, meta.name, child.uid))
    if seen.record is not None:
        yield _step(claim, seen, Release(BUCKETS, "", bucket_object_name(claim), seen.bucket_uid))


def _subject(claim: ObjectBucketClaim, seen: ClaimObservation) -> str:
    name = seen.record.bucket if seen.record is not None else seen.name
    return f"bucket {name}" if name else f"claim {claim.metadata.name}"


def _step(
    claim: ObjectBucketClaim, seen: ClaimObservation, action: object, reason: str = _REASON, *, consent: str = ""
) -> Step:
    return Step(subject=_subject(claim, seen), action=action, reason=reason, consent=consent)
