"""BucketAccesses of COSI: a user and a Secret for each, by which a program uses a bucket."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import TYPE_CHECKING, Any

from controller.ceph.access.threads import Lane
from controller.ceph.cosi.bucket import AT_REST, WHILE_WAITING
from controller.ceph.cosi.held import Proceed, held, proceed
from controller.ceph.cosi.types import (
    ACCESS_FINALIZER,
    ACCESSES,
    KEY,
    SECRET_FINALIZER,
    BucketAccess,
    BucketAccessStatus,
)
from controller.ceph.rgw import buckets, users
from controller.ceph.rgw.admin import AdminError
from controller.ceph.rgw.buckets import NO_BUCKETS
from controller.ceph.rgw.policy import granted, is_granted, is_named, revoked
from controller.ceph.rgw.s3 import BucketError, S3Bucket
from controller.ceph.rgw.signed import DEADLINE
from controller.ceph.rgw.work import Work, first_key
from controller.framework.consent import NoConsentError, read_deleted
from controller.framework.deletion import delete_protected
from controller.framework.kind import ControlLoop, LetGo
from controller.framework.plan import Plan, Step, StepState
from controller.framework.text import brief
from controller.runtime.kube import SECRET
from controller.runtime.references import owner_reference
from informers import ApiError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from controller.ceph.access.threads import Threads
    from controller.ceph.cosi.places import Place, Places
    from controller.ceph.cosi.types import Bucket, BucketAccessClass, BucketClaim
    from controller.ceph.rgw.users import Key, User
    from controller.framework.kind import Look
    from controller.framework.plan import Handler, Outcome
    from controller.runtime.apply import Applier
    from informers import Client, Informer, JsonObject

INFO = "BucketInfo"
"""The key of the Secret; COSI's."""
FORBIDDEN = 403


class SecretState(Enum):
    """What there is of an access's Secret."""

    ABSENT = auto()
    CURRENT = auto()
    OUTDATED = auto()
    ANOTHERS = auto()
    """It is not the access's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessSeen:
    """What is seen of an access. It has no key.

    Attributes:
        waits_for: What has to happen first.
        store_gone: Whether nothing is in a store any more: bucket or store is gone.
        bucket: The bucket's name in the store.
        user_exists: Whether the access's user is there.
        policy: The bucket's policy.
        owner_has_key: Whether the operator can act as the bucket's owner.
        secret: What there is of the Secret.
        secret_uid: Which Secret it is.
    """

    waits_for: str = ""
    store_gone: bool = False
    bucket: str = ""
    user_exists: bool = False
    policy: Mapping[str, Any] | None = None
    owner_has_key: bool = False
    secret: SecretState = SecretState.ABSENT
    secret_uid: str = ""


@dataclass(frozen=True, slots=True)
class MakeUser:
    """Make the access's user."""

    uid: str


@dataclass(frozen=True, slots=True)
class SetPolicy:
    """Give the bucket a policy; None: take it away."""

    bucket: str
    policy: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class WriteSecret:
    """Write the user's key into the Secret."""

    uid: str
    bucket: str


@dataclass(frozen=True, slots=True)
class RemoveUser:
    """Remove the access's user."""

    uid: str


@dataclass(frozen=True, slots=True)
class Release:
    """Delete the Secret."""

    name: str
    uid: str


def user_of(access: BucketAccess) -> str:
    """The user of an access; COSI's name."""
    return f"ba-{access.metadata.uid}"


def bucket_info(access: BucketAccess, bucket: str, endpoint: str, key: Key) -> JsonObject:
    """What the Secret holds, in COSI's form."""
    return {
        "metadata": {"name": f"bc-{access.metadata.uid}"},
        "spec": {
            "bucketName": bucket,
            "authenticationType": "KEY",
            "secretS3": {
                "endpoint": endpoint,
                "region": "",
                "accessKeyID": key.access,
                "accessSecretKey": key.secret,
            },
            "secretAzure": None,
            "protocols": [access.spec.protocol or "s3"],
        },
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Accesses:
    """The control loop of BucketAccesses.

    Attributes:
        client: The API server.
        applier: Writes Secrets.
        places: Where buckets are.
        threads: Where S3 is asked.
        claims: The cache of BucketClaims.
        buckets: The cache of Buckets.
        classes: The cache of BucketAccessClasses.
    """

    client: Client
    applier: Applier
    places: Places
    threads: Threads
    claims: Informer[BucketClaim]
    buckets: Informer[Bucket]
    classes: Informer[BucketAccessClass]

    def loop(self) -> ControlLoop[BucketAccess, AccessSeen]:
        """What is run for each BucketAccess."""
        return ControlLoop(
            resource=ACCESSES,
            finalizer=ACCESS_FINALIZER,
            observe=self.observe,
            analyze=analyze,
            handlers=self.handlers,
            show=show,
            refuse=lambda access: None if self.is_ours(access) else access.status,
        )

    def is_ours(self, access: BucketAccess) -> bool:
        """Whether this operator is the driver: by the class, or by the bucket if that is gone."""
        found = self.classes.get("", access.spec.bucket_access_class_name)
        if found is not None:
            return self.places.serves(found.driver_name)
        bucket = self._bucket(access)
        return bucket is not None and self.places.serves(bucket.spec.driver_name)

    async def observe(self, access: BucketAccess, _: float) -> AccessSeen:
        """What there is of an access."""
        found, bucket = self.classes.get("", access.spec.bucket_access_class_name), self._bucket(access)
        deleting = access.metadata.deletion_timestamp is not None
        if not deleting and found is not None and found.authentication_type.lower() != KEY:
            told = f"a BucketAccessClass with authenticationType KEY: {found.authentication_type} is not served"
            return AccessSeen(waits_for=told)
        if bucket is None or not bucket.status.bucket_id:
            told = f"BucketClaim {access.spec.bucket_claim_name} to have a bucket"
            return await self._with_secret(access, AccessSeen(waits_for=told, store_gone=bucket is None), None, "")
        place = self._place(bucket)
        seen = AccessSeen(bucket=bucket.status.bucket_id, waits_for=place.waits_for)
        if place.way.admin is None:
            gone = bool(place.owner) and place.way.store is None
            return await self._with_secret(access, replace(seen, store_gone=gone), None, "")
        try:
            user = await users.find(place.way.admin, user_of(access))
            seen = await self._policy(replace(seen, user_exists=user is not None), place)
        except (AdminError, BucketError, OSError) as error:
            return replace(seen, waits_for=f"the object store to answer: {brief(error, 200)}")
        return await self._with_secret(access, seen, user, place.way.endpoint)

    def handlers(self, access: BucketAccess, _: AccessSeen) -> Mapping[type, Handler]:
        """How the actions of its plan are carried out."""
        bucket = self._bucket(access)
        place = self._place(bucket) if bucket is not None else None
        work = Work(self.places.stores, self.threads, place.way if place is not None else None)
        namespace = access.metadata.namespace

        async def make(action: MakeUser) -> None:
            await work.make_user(action.uid, max_buckets=NO_BUCKETS)

        async def set_policy(action: SetPolicy) -> None:
            await work.set_policy(action.bucket, action.policy)

        async def write(action: WriteSecret) -> None:
            key = first_key((await work.user(action.uid)).keys, action.uid)
            found = await self.client.find(SECRET, namespace, access.spec.credentials_secret_name)
            if found is not None and not _is_ours(access, found):
                raise NoConsentError(
                    f"Secret {access.spec.credentials_secret_name} is not of BucketAccess "
                    f"{access.metadata.name}: it stays as it is"
                )
            version = found["metadata"]["resourceVersion"] if found is not None else ""
            endpoint = work.way.endpoint if work.way is not None else ""
            await self.applier.apply(_secret(access, action.bucket, endpoint, key), version=version)

        async def remove(action: RemoveUser) -> None:
            await read_deleted(self.client, ACCESSES, access)
            await users.remove(work.admin, action.uid)

        async def release(action: Release) -> None:
            await read_deleted(self.client, ACCESSES, access)
            await delete_protected(self.client, SECRET, namespace, action.name, action.uid, finalizer=SECRET_FINALIZER)

        return {
            MakeUser: make,
            SetPolicy: set_policy,
            WriteSecret: write,
            RemoveUser: remove,
            Release: release,
            Proceed: proceed,
        }

    def _bucket(self, access: BucketAccess) -> Bucket | None:
        claim = self.claims.get(access.metadata.namespace, access.spec.bucket_claim_name)
        return self.buckets.get("", claim.status.bucket_name) if claim is not None else None

    def _place(self, bucket: Bucket) -> Place:
        return self.places.find(bucket.spec.driver_name, bucket.spec.parameters)

    async def _policy(self, seen: AccessSeen, place: Place) -> AccessSeen:
        """The bucket's policy, which its owner is asked for."""
        assert place.way.admin is not None  # noqa: S101  the caller has looked
        bucket = await buckets.find(place.way.admin, seen.bucket)
        if bucket is None:
            return replace(seen, waits_for=f"bucket {seen.bucket} to be there", store_gone=True)
        owner = await users.find(place.way.admin, bucket.owner)
        if owner is None or not owner.keys:
            return seen
        key = owner.keys[0]
        s3 = S3Bucket(lambda: self.places.stores.s3(place.way, key.access, key.secret), seen.bucket)
        policy = await self.threads.run(Lane.GATEWAYS, s3.policy, seconds=DEADLINE)
        return replace(seen, owner_has_key=True, policy=policy)

    async def _with_secret(
        self, access: BucketAccess, seen: AccessSeen, user: User | None, endpoint: str
    ) -> AccessSeen:
        """What there is of the Secret, beside the key that it should have."""
        name, namespace = access.spec.credentials_secret_name, access.metadata.namespace
        try:
            found = await self.client.find(SECRET, namespace, name) if name else None
        except ApiError as error:
            if error.status != FORBIDDEN:
                raise
            right = f"the operator to have rights in namespace {namespace}: the chart's bucketClaims.namespaces"
            return replace(seen, waits_for=seen.waits_for or right)
        if found is None:
            return seen
        if not _is_ours(access, found):
            return replace(seen, secret=SecretState.ANOTHERS)
        key = user.keys[0] if user is not None and user.keys else None
        wanted = _secret(access, seen.bucket, endpoint, key)["data"] if key is not None else None
        same = wanted is not None and found.get("data") == wanted
        state = SecretState.CURRENT if same else SecretState.OUTDATED
        return replace(seen, secret=state, secret_uid=found["metadata"]["uid"])


def _is_ours(access: BucketAccess, secret: JsonObject) -> bool:
    """Whether a Secret is the access's; COSI's sidecar gave it no owner, and a finalizer."""
    meta = secret["metadata"]
    if any(owner["uid"] == access.metadata.uid for owner in meta.get("ownerReferences", ())):
        return True
    left = SECRET_FINALIZER in meta.get("finalizers", ()) and not meta.get("ownerReferences")
    return left and access.status.access_granted


def _secret(access: BucketAccess, bucket: str, endpoint: str, key: Key) -> JsonObject:
    text = json.dumps(bucket_info(access, bucket, endpoint, key), sort_keys=True)
    meta = access.metadata
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "Opaque",
        "metadata": {
            "name": access.spec.credentials_secret_name,
            "namespace": meta.namespace,
            "ownerReferences": [owner_reference(meta, ACCESSES)],
        },
        "data": {INFO: base64.b64encode(text.encode()).decode()},
    }


def analyze(access: BucketAccess, seen: AccessSeen) -> Plan:
    """The plan for an access."""
    deleting = access.metadata.deletion_timestamp is not None
    steps = tuple(_deletion(access, seen) if deleting else _steps(access, seen))
    return Plan(steps=steps, look_again=WHILE_WAITING if steps else AT_REST)


def _steps(access: BucketAccess, seen: AccessSeen) -> Iterator[Step]:
    uid, name = user_of(access), access.spec.credentials_secret_name
    subject = f"user {uid}"
    waits_for = seen.waits_for
    if not name:
        waits_for = "a BucketAccess with credentialsSecretName"
    elif seen.secret is SecretState.ANOTHERS:
        waits_for = f"Secret {name} to be deleted: it is not this BucketAccess's"
    elif not waits_for and not seen.owner_has_key:
        waits_for = f"the owner of bucket {seen.bucket} to have a key for S3"
    if waits_for:
        yield held(subject, "access is to be granted", waits_for)
        return
    if not seen.user_exists:
        yield Step(subject=subject, action=MakeUser(uid), reason="it does not exist")
    if not is_granted(seen.policy, uid, seen.bucket):
        action = SetPolicy(seen.bucket, granted(seen.policy, uid, seen.bucket))
        yield Step(subject=subject, action=action, reason=f"bucket {seen.bucket} is not open to it")
    if seen.secret is not SecretState.CURRENT:
        yield Step(subject=subject, action=WriteSecret(uid, seen.bucket), reason=f"Secret {name} does not have its key")


def _deletion(access: BucketAccess, seen: AccessSeen) -> Iterator[Step]:
    uid, name, reason = user_of(access), access.spec.credentials_secret_name, "the BucketAccess is being deleted"
    subject = f"user {uid}"
    if seen.waits_for and not seen.store_gone:
        yield held(subject, reason, seen.waits_for)
        return
    if seen.policy is not None and is_named(seen.policy, uid):
        yield Step(subject=subject, action=SetPolicy(seen.bucket, revoked(seen.policy, uid)), reason=reason)
    if seen.user_exists:
        yield Step(subject=subject, action=RemoveUser(uid), reason=reason)
    if seen.secret_uid:
        yield Step(subject=subject, action=Release(name, seen.secret_uid), reason=reason)
    yield Step(subject=subject, action=LetGo(), reason=reason)


def show(look: Look[BucketAccess], _: AccessSeen, outcome: Outcome) -> BucketAccessStatus:
    """See `controller.framework.kind.ControlLoop`. Access that was granted stays so, as COSI never takes that back."""
    present = look.obj.status
    if present.access_granted or any(result.state is not StepState.DONE for result in outcome.results):
        return present
    return BucketAccessStatus(account_id=user_of(look.obj), access_granted=True)
