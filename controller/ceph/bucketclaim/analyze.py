"""What a claim asks for against what it has: the plan between the two. Pure.

The order is what a claim survives: its ObjectBucket first, which says what is to be made; then user, bucket and
settings; then what programs read. Each look begins anew, so that an operator that died at any point goes on.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from controller.ceph.bucketclaim.actions import (
    CreateBucket,
    LimitUser,
    LinkBucket,
    MakeUser,
    NameBucket,
    NoteBucket,
    RemoveUser,
    SetBucketQuota,
    SetLifecycle,
    SetPolicy,
    SetUserQuota,
    WriteSecret,
)
from controller.ceph.bucketclaim.deletion import deletion
from controller.ceph.bucketclaim.keys import next_key, turn
from controller.ceph.bucketclaim.objects import (
    CLAIM,
    EXISTING,
    Record,
    address,
    config_map,
    label_of,
    made_user,
    object_bucket,
)
from controller.ceph.bucketclaim.observation import ChildState
from controller.ceph.bucketclaim.spec import (
    BUCKET_MAX_OBJECTS,
    BUCKET_MAX_SIZE,
    LIFECYCLE,
    OWNER,
    POLICY,
    bucket_object_name,
    problems,
    rotation,
    wanted,
)
from controller.ceph.rgw.buckets import NO_BUCKETS, NO_QUOTA
from controller.ceph.rgw.policy import granted, is_granted, only, same_lifecycle, same_policy
from controller.framework import children
from controller.framework.plan import Plan, Step

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from controller.apis.objectbucket import ObjectBucketClaim
    from controller.ceph.bucketclaim.observation import ClaimObservation
    from controller.ceph.bucketclaim.spec import Wanted
    from controller.ceph.rgw.buckets import Bucket

AT_REST, WHILE_WAITING = 300.0, 15.0
"""Seconds after which to look again at a claim that is as it should be, and at one that waits for something."""
ONE_BUCKET = 1
"""How many buckets the user has that is made for a claim."""


def analyze(claim: ObjectBucketClaim, seen: ClaimObservation) -> Plan:
    """The plan for a claim."""
    if claim.metadata.deletion_timestamp is not None:
        return Plan(steps=tuple(deletion(claim, seen)), look_again=WHILE_WAITING)
    steps = tuple(_steps(claim, seen))
    return Plan(steps=steps, look_again=WHILE_WAITING if steps else AT_REST)


def kept(claim: ObjectBucketClaim, seen: ClaimObservation) -> tuple[str, ...]:
    """What the claim has otherwise than its spec asks, and keeps, in words."""
    spec, record = claim.spec, seen.record
    if record is None:
        return ()
    found = []
    if spec.bucket_name and record.origin != EXISTING and spec.bucket_name != record.bucket:
        found.append(f"bucketName: the claim has bucket {record.bucket}, not {spec.bucket_name}: make another claim")
    if record.storage_class and spec.storage_class_name != record.storage_class:
        found.append(f"storageClassName: the claim is of {record.storage_class}: make another claim")
    return tuple(found)


@dataclass(frozen=True, slots=True)
class _Case:
    """A claim of which all is known that has to be."""

    claim: ObjectBucketClaim
    seen: ClaimObservation
    asked: Wanted
    record: Record
    """What its ObjectBucket is to note."""

    @property
    def uid(self) -> str:
        """The user that the claim is to have the key of."""
        return self.record.user

    def had(self, key: str) -> bool:
        """Whether the claim has set this of its additionalConfig before."""
        return self.seen.record is not None and key in self.seen.record.config

    def step(self, action: object, reason: str) -> Step:
        return Step(subject=f"bucket {self.record.bucket}", action=action, reason=reason)

    def wait(self, reason: str, waits_for: str) -> Step:
        return Step(subject=f"bucket {self.record.bucket}", reason=reason, waits_for=waits_for)


def _steps(claim: ObjectBucketClaim, seen: ClaimObservation) -> Iterator[Step]:
    subject = f"bucket {seen.name}" if seen.name else "bucket"
    reason, waits_for = _held(claim, seen)
    if waits_for:
        yield Step(subject=subject, reason=reason, waits_for=waits_for)
        return
    case = _Case(claim, seen, wanted(claim), _record(claim, seen))
    ready = (*_user(case), *_bucket(case))
    waits = [step for step in ready if step.waits_for]
    if waits:
        # Nothing is noted or made for a bucket that the claim may never get.
        yield from waits
        return
    if seen.record is None:
        yield _noted(case, config={})
    yield from ready
    yield from _settings(case)
    yield from _kubernetes(case)


def _held(claim: ObjectBucketClaim, seen: ClaimObservation) -> tuple[str, str]:
    """What has to happen before anything is done for a claim, and why; empty: nothing."""
    wrong = problems(claim, seen.terms, seen.allowed)
    if wrong:
        return "the spec cannot be carried out", "; ".join(wrong)
    if seen.waits_for:
        return "to be compared with the object store", seen.waits_for
    name, namespace = claim.metadata.name, claim.metadata.namespace
    if seen.taken_by:
        own = bucket_object_name(claim)
        return (
            f"ObjectBucket {own} is of ObjectBucketClaim {seen.taken_by}",
            "it to be deleted; a claim that is to have its bucket names it in spec.objectBucketName",
        )
    for kind, child in (("Secret", seen.secret), ("ConfigMap", seen.config_map)):
        if child.state is ChildState.ANOTHERS:
            return (
                f"{kind} {name} is there, and is not this claim's",
                "it to be deleted, or for a claim of another name",
            )
        if child.state is ChildState.FORBIDDEN:
            needed = f"the operator to have rights in namespace {namespace}: the chart's bucketClaims.namespaces"
            return f"the operator may not write {kind} {name}", needed
    return "", ""


def _record(claim: ObjectBucketClaim, seen: ClaimObservation) -> Record:
    """What is to be noted of a claim. What was noted stays, but for what follows the spec and the store."""
    asked, terms, noted = wanted(claim), seen.terms, seen.record
    endpoint = (terms.endpoint if terms is not None else "") or seen.endpoint
    host, port = address(endpoint)
    owner, own = asked.owner, made_user(claim, noted)
    if noted is None:
        assert terms is not None  # noqa: S101  without a class and a record there is no store to ask
        noted = Record(
            store=terms.store,
            bucket=seen.name,
            user=own,
            storage_class=claim.spec.storage_class_name,
            provisioner=label_of(terms.provisioner),
            reclaim=terms.reclaim,
            rotation=rotation(claim),
        )
    return replace(
        noted,
        store=noted.store or (terms.store if terms is not None else None),
        user=owner or own,
        owner=owner,
        origin=noted.origin or _origin(seen, asked),
        provisioner=noted.provisioner or (label_of(terms.provisioner) if terms is not None else ""),
        host=host,
        port=port,
        config=dict(claim.spec.additional_config),
    )


def _origin(seen: ClaimObservation, asked: Wanted) -> str:
    """Whether the bucket is the claim's own. Without a class, nobody can tell of what an earlier operator noted."""
    if seen.terms is None:
        return ""
    found = seen.record is None and seen.bucket is not None and seen.bucket.owner == asked.owner
    return EXISTING if seen.terms.existing or found else CLAIM


def _user(case: _Case) -> Iterator[Step]:
    user, asked = case.seen.user, case.asked
    if asked.owner:
        if user is None:
            yield case.wait(f"{OWNER} is {asked.owner}", f"user {asked.owner} to be there")
        elif user.is_privileged:
            yield case.wait(f"{OWNER} is {asked.owner}", "another one: that user administers the store")
        return
    most = ONE_BUCKET if case.record.origin == CLAIM else NO_BUCKETS
    if user is None:
        yield case.step(MakeUser(case.uid, most), f"user {case.uid} does not exist")
    elif user.max_buckets != most:
        yield case.step(
            LimitUser(case.uid, most), f"user {case.uid} may have {user.max_buckets} buckets, wanted {most}"
        )


def _bucket(case: _Case) -> Iterator[Step]:
    seen, record, bucket = case.seen, case.record, case.seen.bucket
    if bucket is None:
        if record.origin != CLAIM:
            yield case.wait("it does not exist", "it to be there: the claim is to a bucket that exists")
        elif seen.was_bound:
            yield case.wait(
                "it is not there any more",
                f"the claim to be deleted; or ObjectBucket {bucket_object_name(case.claim)}, to have an empty one made",
            )
        else:
            yield case.step(CreateBucket(case.uid, record.bucket), "it does not exist")
    elif bucket.owner != case.uid and record.origin == CLAIM:
        before = {made_user(case.claim, seen.record), *((seen.record.user,) if seen.record is not None else ())}
        if bucket.owner in before:
            yield from _handed_over(case, bucket)
        else:
            yield case.wait(
                f"it is of user {bucket.owner}",
                "another bucketName; or for a StorageClass with parameter bucketName, by which claims share a bucket",
            )


def _handed_over(case: _Case, bucket: Bucket) -> Iterator[Step]:
    """How a bucket gets another owner. Its objects stay those of who wrote them, so that a policy hands them over."""
    seen, name, reason = case.seen, case.record.bucket, f"it is of user {bucket.owner}"
    policy = granted(None if case.had(POLICY) else seen.policy, case.uid, name)
    if bucket.objects and case.asked.policy is None and not same_policy(policy, seen.policy):
        if not seen.owner_has_key:
            yield case.wait(reason, f"user {bucket.owner} to have a key for S3, by whom its objects can be handed over")
            return
        yield case.step(SetPolicy(name, policy), f"its {bucket.objects} objects are to be readable for user {case.uid}")
    yield case.step(LinkBucket(case.uid, name, bucket.owner), reason)


def _settings(case: _Case) -> Iterator[Step]:
    seen, asked, bucket = case.seen, case.asked, case.seen.bucket
    if not asked.owner:
        quota = seen.user.quota if seen.user is not None and seen.user.quota is not None else NO_QUOTA
        if quota != asked.user_quota:
            yield case.step(SetUserQuota(case.uid, asked.user_quota), "the quota of its user is not as asked for")
    found = bucket.quota if bucket is not None else NO_QUOTA
    minds = asked.bucket_quota.enabled or case.had(BUCKET_MAX_OBJECTS) or case.had(BUCKET_MAX_SIZE)
    if minds and found != asked.bucket_quota:
        yield case.step(SetBucketQuota(case.record.bucket, asked.bucket_quota), "its quota is not as asked for")
    policy, why = _policy(case)
    lifecycle = asked.lifecycle is not None or case.had(LIFECYCLE)
    sets_lifecycle = lifecycle and not same_lifecycle(asked.lifecycle, seen.lifecycle)
    if (why or sets_lifecycle) and bucket is not None and not seen.owner_has_key:
        wait = f"user {bucket.owner}, who owns it, to be there and have a key for S3"
        yield case.wait(why or "its lifecycle is not as asked for", wait)
        return
    if why:
        yield case.step(SetPolicy(case.record.bucket, policy), why)
    if sets_lifecycle:
        yield case.step(SetLifecycle(case.record.bucket, asked.lifecycle), "its lifecycle is not as asked for")


def _policy(case: _Case) -> tuple[Mapping[str, Any] | None, str]:
    """The policy that the bucket is to have, and why it is to be set; no reason: it stays as it is."""
    present, asked, name, had = case.seen.policy, case.asked.policy, case.record.bucket, case.had(POLICY)
    if asked is not None:
        return asked, "" if same_policy(asked, present) else "its policy is not as asked for"
    anothers = case.seen.bucket is not None and case.seen.bucket.owner != case.uid
    if anothers and case.record.origin != EXISTING:
        return present, ""  # it is handed over, with the policy that this takes
    # What let the user read objects of the owner before it is not the claim's policy, and stays.
    kept = only(present, case.uid) if had else present
    if anothers:
        wanted = granted(kept, case.uid, name)
        well = is_granted(present, case.uid, name) if not had else same_policy(wanted, present)
        return wanted, "" if well else f"its policy does not let user {case.uid} use it"
    return kept, "its policy is not asked for any more" if had and not same_policy(kept, present) else ""


def _kubernetes(case: _Case) -> Iterator[Step]:
    claim, seen = case.claim, case.seen
    keys = turn(claim, seen, case.record)
    yield from keys.before
    case = replace(case, record=keys.record)
    obj = object_bucket(claim, case.record)
    differs = children.explain(obj, seen.bucket_live)
    if differs or not seen.was_bound:
        yield case.step(NoteBucket(obj, bound=True), differs or "it is there")
    name = claim.metadata.name
    key = next_key(claim, seen, case.record)
    if not seen.secret.is_ours or not key or seen.secret.key != key:
        yield case.step(WriteSecret(case.uid, key, case.record), f"Secret {name} does not have the key")
    live = {} if seen.config_map.live is None else {("ConfigMap", name): seen.config_map.live}
    yield from children.ensure(live, config_map(claim, case.record), subject=f"bucket {case.record.bucket}")
    named = _names(case)
    if named:
        yield case.step(NameBucket(named), "the claim does not say what it has")
    own = made_user(claim, seen.record)
    if case.asked.owner and seen.own_user_exists and own != case.uid:
        yield case.step(RemoveUser(own), f"user {own} is not needed any more")
    yield from keys.after


def _names(case: _Case) -> dict[str, str]:
    spec, found = case.claim.spec, {}
    if spec.object_bucket_name != bucket_object_name(case.claim):
        found["objectBucketName"] = bucket_object_name(case.claim)
    if case.record.origin == CLAIM and not spec.bucket_name:
        found["bucketName"] = case.record.bucket
    return found


def _noted(case: _Case, *, config: Mapping[str, Any]) -> Step:
    obj = object_bucket(case.claim, replace(case.record, config=config))
    return case.step(NoteBucket(obj), "what is to be made is noted first")
