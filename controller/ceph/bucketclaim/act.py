"""How the actions of a claim's plan are carried out: by the Admin Ops API, and by S3 as the bucket's owner.

Whatever destroys data asks again at that moment: the API server whether the claim is still to go and what its
ObjectBucket says, and the store whose the bucket is.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import msgspec

from controller.apis.objectbucket import OBJECT_BUCKET, OBJECT_BUCKET_CLAIM, ObjectBucket, ObjectBucketClaim
from controller.ceph.bucketclaim.actions import (
    AddKey,
    CreateBucket,
    LimitUser,
    LinkBucket,
    LockOut,
    MakeUser,
    NameBucket,
    NoteBucket,
    PurgeBucket,
    Release,
    RemoveBucket,
    RemoveKey,
    RemoveUser,
    SetBucketQuota,
    SetLifecycle,
    SetPolicy,
    SetUserQuota,
    WriteSecret,
)
from controller.ceph.bucketclaim.deletion import lacks_consent
from controller.ceph.bucketclaim.objects import CLAIM, FINALIZER, belongs, key_secret, record_of
from controller.ceph.bucketclaim.spec import DELETE, bucket_object_name, key_id
from controller.ceph.rgw import buckets, users
from controller.ceph.rgw.buckets import fingerprint
from controller.ceph.rgw.work import Work, first_key
from controller.framework import children
from controller.framework.consent import FORCE_ANNOTATION, NoConsentError, read_deleted
from controller.framework.deletion import delete_protected
from controller.runtime import resource_of
from controller.runtime.kube import SECRET

if TYPE_CHECKING:
    from collections.abc import Callable

    from controller.ceph.access.threads import Threads
    from controller.ceph.rgw.buckets import Bucket
    from controller.ceph.rgw.stores import Stores, Way
    from controller.framework.plan import Handler
    from controller.runtime.apply import Applier
    from informers import Client, Informer

CLAIMS, BUCKETS = resource_of(OBJECT_BUCKET_CLAIM), resource_of(OBJECT_BUCKET)
MERGE = "application/merge-patch+json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """What actions are carried out with.

    Attributes:
        client: The API server.
        applier: Writes objects.
        buckets: The cache of ObjectBuckets.
        stores: Ways to object stores.
        threads: Where S3 is asked.
        clock: Seconds since the epoch.
    """

    client: Client
    applier: Applier
    buckets: Informer[ObjectBucket]
    stores: Stores
    threads: Threads
    clock: Callable[[], float]


class Acts:
    """Carries out the actions of one claim's plan.

    Args:
        claim: The claim.
        tools: What with.
        way: To its object store.
    """

    def __init__(self, claim: ObjectBucketClaim, tools: Tools, way: Way | None) -> None:
        self._claim, self._tools = claim, tools
        self._work = Work(tools.stores, tools.threads, way)

    def handlers(self) -> dict[type, Handler]:
        """How each action is carried out."""
        own: dict[type, Handler] = {
            NoteBucket: self._note,
            MakeUser: self._make_user,
            LimitUser: self._limit_user,
            CreateBucket: self._create,
            LinkBucket: self._link,
            SetUserQuota: self._user_quota,
            SetBucketQuota: self._bucket_quota,
            SetPolicy: self._policy,
            SetLifecycle: self._lifecycle,
            AddKey: self._add_key,
            RemoveKey: self._remove_key,
            WriteSecret: self._write_secret,
            NameBucket: self._name,
            PurgeBucket: self._purge,
            RemoveBucket: self._remove_bucket,
            LockOut: self._lock_out,
            RemoveUser: self._remove_user,
            Release: self._release,
        }
        tools = self._tools
        return {**children.handlers(tools.applier, tools.client, (tools.buckets,)), **own}

    async def _note(self, action: NoteBucket) -> None:
        await self._tools.applier.apply(action.obj, informer=self._tools.buckets)
        if action.bound:
            name = action.obj["metadata"]["name"]
            found = await self._tools.client.get(BUCKETS, "", name)
            status, uid = {"phase": "Bound"}, found["metadata"]["uid"]
            await self._tools.applier.apply_status(BUCKETS, "", name, status, uid=uid)

    async def _make_user(self, action: MakeUser) -> None:
        await self._work.make_user(action.uid, max_buckets=action.max_buckets)

    async def _limit_user(self, action: LimitUser) -> None:
        found = await self._work.user(action.uid)
        await users.modify(self._work.admin, replace(found, max_buckets=action.max_buckets))

    async def _create(self, action: CreateBucket) -> None:
        await self._work.create(action.uid, action.bucket)

    async def _link(self, action: LinkBucket) -> None:
        found = await self._owned(action.bucket, action.owner)
        await buckets.link(self._work.admin, action.uid, found, action.bucket)

    async def _user_quota(self, action: SetUserQuota) -> None:
        await users.set_quota(self._work.admin, action.uid, action.quota)

    async def _bucket_quota(self, action: SetBucketQuota) -> None:
        found = await self._work.bucket(action.bucket)
        await buckets.set_quota(self._work.admin, found.owner, action.bucket, action.quota)

    async def _policy(self, action: SetPolicy) -> None:
        await self._work.set_policy(action.bucket, action.policy)

    async def _lifecycle(self, action: SetLifecycle) -> None:
        await self._work.set_lifecycle(action.bucket, action.lifecycle)

    async def _add_key(self, action: AddKey) -> None:
        await self._work.with_key(action.uid, action.access)

    async def _remove_key(self, action: RemoveKey) -> None:
        for key in (await self._work.user(action.uid)).keys:
            if fingerprint(key.access) == action.key:
                await users.remove_key(self._work.admin, action.uid, key.access)

    async def _write_secret(self, action: WriteSecret) -> None:
        record, user = action.record, await self._work.user(action.uid)
        if not user.keys and not record.owner:
            await self._work.with_key(action.uid, key_id(self._claim.metadata.uid, record.rotation))
            user = await self._work.user(action.uid)
        keys = [key for key in user.keys if fingerprint(key.access) != record.previous]
        key = next((key for key in keys if fingerprint(key.access) == action.key), None) or first_key(keys, action.uid)
        meta = self._claim.metadata
        found = await self._tools.client.find(SECRET, meta.namespace, meta.name)
        version = ""
        if found is not None:
            if all(owner["uid"] != meta.uid for owner in found["metadata"].get("ownerReferences", ())):
                raise NoConsentError(f"Secret {meta.name} is not of ObjectBucketClaim {meta.name}: it stays as it is")
            version = found["metadata"]["resourceVersion"]
        await self._tools.applier.apply(key_secret(self._claim, record, key), version=version)

    async def _name(self, action: NameBucket) -> None:
        meta = self._claim.metadata
        body = {"metadata": {"uid": meta.uid}, "spec": dict(action.fields)}
        await self._tools.client.patch(CLAIMS, meta.namespace, meta.name, body, content_type=MERGE)

    async def _purge(self, action: PurgeBucket) -> None:
        if await self._consented(action, purges=True):
            await self._work.purge(action.owner, action.bucket)

    async def _remove_bucket(self, action: RemoveBucket) -> None:
        if await self._consented(action, purges=False):
            await buckets.remove(self._work.admin, action.bucket)

    async def _lock_out(self, action: LockOut) -> None:
        await read_deleted(self._tools.client, CLAIMS, self._claim)
        await self._work.with_key(action.uid, action.access)
        for key in (await self._work.user(action.uid)).keys:
            if key.access != action.access:
                await users.remove_key(self._work.admin, action.uid, key.access)

    async def _remove_user(self, action: RemoveUser) -> None:
        await users.remove(self._work.admin, action.uid)

    async def _release(self, action: Release) -> None:
        await read_deleted(self._tools.client, CLAIMS, self._claim)
        await delete_protected(
            self._tools.client, action.resource, action.namespace, action.name, action.uid, finalizer=FINALIZER
        )

    async def _consented(self, action: PurgeBucket | RemoveBucket, *, purges: bool) -> bool:
        """Whether the bucket is there, and goes with its claim, as the API server and the store say now.

        Raises:
            NoConsentError: It does not.
        """
        claim = msgspec.convert(await read_deleted(self._tools.client, CLAIMS, self._claim), ObjectBucketClaim)
        name = bucket_object_name(claim)
        noted = msgspec.convert(await self._tools.client.get(BUCKETS, "", name), ObjectBucket)
        record = record_of(noted)
        if not belongs(noted, claim) or record.bucket != action.bucket or record.origin != CLAIM:
            raise NoConsentError(f"ObjectBucket {name} is not of a bucket {action.bucket} that was made for the claim")
        if record.reclaim != DELETE:
            raise NoConsentError(f"ObjectBucket {name} has reclaimPolicy {record.reclaim}: the bucket stays")
        if purges and lacks_consent(claim.metadata, self._tools.clock()):
            raise NoConsentError(
                f'the claim was deleted more than a day ago: set annotation {FORCE_ANNOTATION}: "true"'
            )
        found = await buckets.find(self._work.admin, action.bucket)
        if found is None:
            return False
        if (found.id, found.owner) != (action.id, action.owner):
            raise NoConsentError(f"bucket {action.bucket} is now {found.id} of user {found.owner}: it stays as it is")
        return True

    async def _owned(self, name: str, owner: str) -> Bucket:
        found = await self._work.bucket(name)
        if found.owner != owner:
            raise NoConsentError(f"bucket {name} is of user {found.owner} now, and no longer of {owner}")
        return found
