"""Buckets of COSI: what its driver and the sidecar beside it do with them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import msgspec

from controller.ceph.cosi.held import Proceed, held, proceed
from controller.ceph.cosi.types import (
    BUCKET_FINALIZER,
    BUCKETS,
    CLAIM_FINALIZER,
    CLAIMS,
    DELETE,
    IN_USE_FINALIZER,
    Bucket,
    BucketAccess,
    BucketClaim,
    BucketStatus,
)
from controller.ceph.rgw import buckets
from controller.ceph.rgw.admin import AdminError
from controller.ceph.rgw.work import Work
from controller.framework.consent import FORCE_ANNOTATION, NoConsentError, is_forced, read_deleted
from controller.framework.kind import ControlLoop, LetGo
from controller.framework.plan import Plan, Step, StepState
from controller.framework.text import brief
from controller.runtime import remove_finalizer
from controller.runtime.kube import PartialObject

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from controller.ceph.access.threads import Threads
    from controller.ceph.cosi.places import Places
    from controller.framework.kind import Look
    from controller.framework.plan import Handler, Outcome
    from informers import Client, Informer

AT_REST, WHILE_WAITING = 300.0, 15.0
"""Seconds after which to look again."""
MERGE = "application/merge-patch+json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What is seen of a bucket.

    Attributes:
        owner: The user who is to own it.
        waits_for: What has to happen before the store can be asked.
        store_gone: Whether there is no such store, or nobody knows any more which it was.
        bucket: The bucket in the store; None: there is none.
        claim_waits: Whether its claim does not know yet that it is there.
        accesses: The BucketAccesses of its claim.
    """

    owner: str = ""
    waits_for: str = ""
    store_gone: bool = False
    bucket: buckets.Bucket | None = None
    claim_waits: bool = False
    accesses: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Create:
    """Make the bucket."""

    uid: str
    name: str


@dataclass(frozen=True, slots=True)
class TellClaim:
    """Tell the claim that its bucket is there."""

    namespace: str
    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class Remove:
    """Remove the bucket, and what is in it if there is consent."""

    uid: str
    name: str


@dataclass(frozen=True, slots=True)
class ReleaseClaim:
    """Let the claim go, whose bucket is gone."""

    namespace: str
    name: str
    uid: str


def name_of(bucket: Bucket) -> str:
    """The name of a bucket in its store."""
    return bucket.spec.existing_bucket_id or bucket.metadata.name


class Buckets:
    """The control loop of Buckets.

    Args:
        client: The API server.
        places: Where buckets are.
        threads: Where S3 is asked.
        claims: The cache of BucketClaims.
        accesses: The cache of BucketAccesses.
    """

    def __init__(
        self,
        client: Client,
        places: Places,
        threads: Threads,
        claims: Informer[BucketClaim],
        accesses: Informer[BucketAccess],
    ) -> None:
        self._client, self._places, self._threads = client, places, threads
        self._claims, self._accesses = claims, accesses

    def loop(self) -> ControlLoop[Bucket, Seen]:
        """What is run for each Bucket."""
        return ControlLoop(
            resource=BUCKETS,
            finalizer=BUCKET_FINALIZER,
            observe=self.observe,
            analyze=analyze,
            handlers=self.handlers,
            show=show,
            refuse=lambda bucket: None if self._places.serves(bucket.spec.driver_name) else bucket.status,
        )

    async def observe(self, bucket: Bucket, _: float) -> Seen:
        """What there is of a bucket."""
        place, ref = self._places.find(bucket.spec.driver_name, bucket.spec.parameters), bucket.spec.bucket_claim
        claim = self._claims.get(ref.namespace, ref.name) if ref is not None else None
        mine = claim is not None and ref is not None and claim.metadata.uid == ref.uid
        using = self._accesses.list(ref.namespace) if ref is not None else []
        seen = Seen(
            owner=place.owner,
            waits_for=place.waits_for,
            store_gone=place.gone or (bool(place.owner) and place.way.store is None),
            claim_waits=mine and claim is not None and not claim.status.bucket_ready,
            accesses=tuple(
                f"{found.metadata.namespace}/{found.metadata.name}"
                for found in using
                if ref is not None and found.spec.bucket_claim_name == ref.name
            ),
        )
        if place.way.admin is None:
            return seen
        try:
            found = await buckets.find(place.way.admin, name_of(bucket))
        except AdminError as error:
            return replace(seen, waits_for=f"the object store to answer: {brief(error, 200)}")
        return replace(seen, bucket=found)

    def handlers(self, bucket: Bucket, _: Seen) -> Mapping[type, Handler]:
        """How the actions of its plan are carried out."""
        place = self._places.find(bucket.spec.driver_name, bucket.spec.parameters)
        work = Work(self._places.stores, self._threads, place.way)

        async def create(action: Create) -> None:
            await work.create(action.uid, action.name)

        async def tell(action: TellClaim) -> None:
            body = {"metadata": {"uid": action.uid}, "status": {"bucketReady": True}}
            await self._client.patch(
                CLAIMS, action.namespace, action.name, body, content_type=MERGE, subresource="status"
            )

        async def remove(action: Remove) -> None:
            fresh = msgspec.convert(await read_deleted(self._client, BUCKETS, bucket), Bucket)
            if fresh.spec.deletion_policy != DELETE or fresh.spec.existing_bucket_id:
                raise NoConsentError(f"Bucket {fresh.metadata.name} has another deletionPolicy now: it stays")
            found = await buckets.find(work.admin, action.name)
            if found is None:
                return
            if found.owner != action.uid:
                raise NoConsentError(f"bucket {action.name} is of user {found.owner} now: it stays as it is")
            if found.objects and not is_forced(fresh.metadata.annotations):
                raise NoConsentError(f"bucket {action.name} has {found.objects} objects")
            if found.objects:
                await work.purge(action.uid, action.name)
            await buckets.remove(work.admin, action.name)

        async def release(action: ReleaseClaim) -> None:
            await read_deleted(self._client, BUCKETS, bucket)
            found = await self._client.find(CLAIMS, action.namespace, action.name)
            if found is not None and found["metadata"]["uid"] == action.uid:
                await remove_finalizer(self._client, CLAIMS, msgspec.convert(found, PartialObject), CLAIM_FINALIZER)
            held = msgspec.convert(await self._client.get(BUCKETS, "", bucket.metadata.name), PartialObject)
            await remove_finalizer(self._client, BUCKETS, held, IN_USE_FINALIZER)

        return {Create: create, TellClaim: tell, Remove: remove, ReleaseClaim: release, Proceed: proceed}


def analyze(bucket: Bucket, seen: Seen) -> Plan:
    """The plan for a bucket."""
    deleting = bucket.metadata.deletion_timestamp is not None
    steps = tuple(_deletion(bucket, seen) if deleting else _steps(bucket, seen))
    return Plan(steps=steps, look_again=WHILE_WAITING if steps else AT_REST)


def _steps(bucket: Bucket, seen: Seen) -> Iterator[Step]:
    name, existing, found = name_of(bucket), bool(bucket.spec.existing_bucket_id), seen.bucket
    subject = f"bucket {name}"
    if seen.waits_for:
        yield held(subject, "to be compared with the object store", seen.waits_for)
        return
    if found is None and existing:
        yield held(subject, "it does not exist", "it to be there, as existingBucketID says")
        return
    if found is not None and found.owner != seen.owner and not existing:
        yield held(subject, f"it is of user {found.owner}, and not of {seen.owner}", "a Bucket of another name")
        return
    if found is None:
        yield Step(subject=subject, action=Create(seen.owner, name), reason="it does not exist")
    ref = bucket.spec.bucket_claim
    if seen.claim_waits and ref is not None:
        action = TellClaim(ref.namespace, ref.name, ref.uid)
        yield Step(subject=subject, action=action, reason="its claim does not know that it is there")


def _deletion(bucket: Bucket, seen: Seen) -> Iterator[Step]:
    name, ref, reason = name_of(bucket), bucket.spec.bucket_claim, "the Bucket is being deleted"
    subject = f"bucket {name}"
    if seen.accesses:
        users = ", ".join(seen.accesses)
        yield held(subject, reason, f"BucketAccess {users} to be deleted")
        return
    goes = bucket.spec.deletion_policy == DELETE and not bucket.spec.existing_bucket_id
    if goes and seen.waits_for and not seen.store_gone:
        yield held(subject, reason, seen.waits_for)
        return
    found = seen.bucket
    if goes and found is not None and found.owner == seen.owner:
        if found.objects and not is_forced(bucket.metadata.annotations):
            empty = f'its {found.objects} objects to be deleted, or for annotation {FORCE_ANNOTATION}: "true"'
            yield held(subject, reason, empty)
            return
        yield Step(subject=subject, action=Remove(seen.owner, name), reason=reason)
    if ref is not None:
        yield Step(subject=subject, action=ReleaseClaim(ref.namespace, ref.name, ref.uid), reason=reason)
    yield Step(subject=subject, action=LetGo(), reason=reason)


def show(look: Look[Bucket], _: Seen, outcome: Outcome) -> BucketStatus:
    """See `controller.framework.kind.ControlLoop`. A bucket that was ready stays so, as COSI never takes that back."""
    present = look.obj.status
    if present.bucket_ready or any(result.state is not StepState.DONE for result in outcome.results):
        return present
    return BucketStatus(bucket_ready=True, bucket_id=name_of(look.obj))
