"""Reads what there is for a claim: caches, its Secret and ConfigMap, the object store by its Admin Ops API and S3."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import structlog

from controller.apis.objectbucket import OBJECT_BUCKET
from controller.ceph.access.threads import Lane
from controller.ceph.bucketclaim.objects import ACCESS_KEY, EXISTING, SECRET_KEY, belongs, made_user, record_of
from controller.ceph.bucketclaim.observation import Child, ChildState, ClaimObservation, UserSeen
from controller.ceph.bucketclaim.spec import (
    LIFECYCLE,
    POLICY,
    PROVISIONER,
    bucket_name,
    bucket_object_name,
    is_provisioner,
    terms_of,
    wanted,
)
from controller.ceph.rgw import buckets, users
from controller.ceph.rgw.admin import AdminError
from controller.ceph.rgw.buckets import fingerprint, fingerprints
from controller.ceph.rgw.s3 import BucketError, S3Bucket
from controller.ceph.rgw.signed import DEADLINE
from controller.framework.text import brief
from controller.runtime import resource_of
from controller.runtime.kube import CONFIG_MAP, SECRET
from informers import ApiError

if TYPE_CHECKING:
    from collections.abc import Callable

    from controller.apis.objectbucket import ObjectBucket, ObjectBucketClaim
    from controller.ceph.access.threads import Threads
    from controller.ceph.bucketclaim.objects import Record
    from controller.ceph.bucketclaim.spec import StoreKey, Terms
    from controller.ceph.rgw.admin import Admin
    from controller.ceph.rgw.stores import Stores, Way
    from controller.ceph.rgw.users import User
    from controller.runtime.kube import StorageClass
    from informers import Client, Informer, JsonObject, Resource

log = structlog.get_logger(__name__)

BUCKETS = resource_of(OBJECT_BUCKET)
BOUND = "Bound"
FORBIDDEN = 403


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Where is looked.

    Attributes:
        client: The API server.
        classes: The cache of StorageClasses.
        buckets: The cache of ObjectBuckets.
        stores: Ways to object stores.
        threads: Where S3 is asked.
        serves: Whether the operator serves a namespace.
        operator_namespace: Where the operator runs.
        prefixes: What the provisioner of a class may begin with, beside served namespaces.
        allowed: The keys of additionalConfig that are allowed.
    """

    client: Client
    classes: Informer[StorageClass]
    buckets: Informer[ObjectBucket]
    stores: Stores
    threads: Threads
    serves: Callable[[str], bool]
    operator_namespace: str
    prefixes: frozenset[str]
    allowed: frozenset[str]


class Observer:
    """Observes claims.

    Args:
        sources: Where it looks.
    """

    def __init__(self, sources: Sources) -> None:
        self._from = sources

    def terms(self, found: StorageClass) -> Terms | None:
        """What a StorageClass says; None where another provisioner serves it."""
        if not is_provisioner(found.provisioner, serves=self._from.serves, prefixes=self._from.prefixes):
            return None
        terms = terms_of(found, self._from.operator_namespace)
        # A provisioner without a prefix is that of every operator: it is ours where the store is.
        return terms if found.provisioner != PROVISIONER or self._from.serves(terms.store.namespace) else None

    def is_ours(self, claim: ObjectBucketClaim) -> bool:
        """Whether the claim is this operator's: by its class, or by what was noted of it if that is gone."""
        found = self._class(claim)
        if found is not None:
            return self.terms(found) is not None
        return bool(claim.status.plan.mode) or self._noted(claim) is not None

    def store(self, claim: ObjectBucketClaim) -> StoreKey | None:
        """Which object store the claim is in."""
        noted = self._noted(claim)
        record = record_of(noted) if noted is not None else None
        return _place(record, self._terms(claim))

    async def observe(self, claim: ObjectBucketClaim, now: float) -> ClaimObservation:
        """What there is for a claim, or why the store cannot be asked."""
        name = bucket_object_name(claim)
        found, noted = self._from.buckets.get("", name), self._noted(claim)
        seen = ClaimObservation(now=now, allowed=self._from.allowed, terms=self._terms(claim))
        if noted is not None:
            seen = replace(
                seen,
                record=record_of(noted),
                bucket_live=self._from.buckets.raw("", name),
                bucket_uid=noted.metadata.uid,
                was_bound=noted.status.phase == BOUND,
            )
        elif found is not None:
            reference = found.spec.claim_ref
            seen = replace(seen, taken_by=f"{reference.namespace}/{reference.name} with uid {reference.uid}")
        config_map, _ = await self._child(CONFIG_MAP, claim)
        secret, pair = await self._child(SECRET, claim)
        return await self._in_store(claim, replace(seen, config_map=config_map, secret=secret), pair)

    def _class(self, claim: ObjectBucketClaim) -> StorageClass | None:
        return self._from.classes.get("", claim.spec.storage_class_name)

    def _terms(self, claim: ObjectBucketClaim) -> Terms | None:
        found = self._class(claim)
        return self.terms(found) if found is not None else None

    def _noted(self, claim: ObjectBucketClaim) -> ObjectBucket | None:
        found = self._from.buckets.get("", bucket_object_name(claim))
        return found if found is not None and belongs(found, claim) else None

    async def _child(self, resource: Resource, claim: ObjectBucketClaim) -> tuple[Child, _Pair]:
        """The claim's Secret or ConfigMap, and the key in it."""
        meta = claim.metadata
        try:
            found = await self._from.client.find(resource, meta.namespace, meta.name)
        except ApiError as error:
            if error.status != FORBIDDEN:
                raise
            return Child(state=ChildState.FORBIDDEN), _NO_PAIR
        if found is None:
            return Child(), _NO_PAIR
        uid = found["metadata"]["uid"]
        if all(owner["uid"] != meta.uid for owner in found["metadata"].get("ownerReferences", ())):
            return Child(state=ChildState.ANOTHERS, uid=uid), _NO_PAIR
        if resource == SECRET:
            return Child(state=ChildState.OURS, uid=uid), _pair_in(found)
        return Child(state=ChildState.OURS, uid=uid, live=found), _NO_PAIR

    async def _in_store(self, claim: ObjectBucketClaim, seen: ClaimObservation, pair: _Pair) -> ClaimObservation:
        where = _place(seen.record, seen.terms)
        if where is None or not where.name:
            return replace(seen, waits_for=f"StorageClass {claim.spec.storage_class_name}", store_gone=True)
        way = self._from.stores.reach(where.namespace, where.name)
        if way.store is None or way.admin is None:
            return replace(seen, waits_for=way.waits_for, store_gone=way.store is None)
        try:
            found = await self._asked(claim, replace(seen, endpoint=way.endpoint), way.admin, pair)
            return await self._settings(claim, found, way)
        except (AdminError, BucketError, OSError) as error:
            told, meta = brief(error, 200), claim.metadata
            log.info(
                "Object store does not answer", claim=f"{meta.namespace}/{meta.name}", store=str(where), error=told
            )
            return replace(seen, waits_for=f"CephObjectStore {where} to answer: {told}")

    async def _asked(
        self, claim: ObjectBucketClaim, seen: ClaimObservation, admin: Admin, pair: _Pair
    ) -> ClaimObservation:
        """What the store says of the claim's user and bucket."""
        record, terms = seen.record, seen.terms
        own, name = made_user(claim, record), ""
        uid = wanted(claim).owner or own
        if record is not None:
            name = record.bucket
            uid = record.user if claim.metadata.deletion_timestamp is not None else uid
        elif terms is not None:
            name = bucket_name(claim, terms)
        user = await users.find(admin, uid)
        return replace(
            seen,
            name=name,
            uid=uid,
            user=_without_keys(user) if user is not None else None,
            own_user_exists=user is not None if uid == own else await users.find(admin, own) is not None,
            bucket=await buckets.find(admin, name) if name else None,
            secret=replace(seen.secret, key=_fingerprint(user, pair)),
        )

    async def _settings(self, claim: ObjectBucketClaim, seen: ClaimObservation, way: Way) -> ClaimObservation:
        """What the bucket says of its policy and lifecycle, if these matter to the claim."""
        if seen.bucket is None or way.admin is None:
            return seen
        configs = (claim.spec.additional_config, seen.record.config if seen.record is not None else {})
        changes_hands = seen.bucket.owner != seen.uid
        policy = _shares(seen) or changes_hands or any(POLICY in config for config in configs)
        lifecycle = any(LIFECYCLE in config for config in configs)
        if not policy and not lifecycle:
            return seen
        owner = await users.find(way.admin, seen.bucket.owner)
        if owner is None or not owner.keys:
            return seen
        s3 = S3Bucket(partial(self._from.stores.s3, way, owner.keys[0].access, owner.keys[0].secret), seen.name)
        run = partial(self._from.threads.run, Lane.GATEWAYS, seconds=DEADLINE)
        return replace(
            seen,
            owner_has_key=True,
            policy=await run(s3.policy) if policy else None,
            lifecycle=await run(s3.lifecycle) if lifecycle else None,
        )


type _Pair = tuple[str, str]
"""A key as a Secret has it."""
_NO_PAIR: _Pair = ("", "")


def _place(record: Record | None, terms: Terms | None) -> StoreKey | None:
    if record is not None and record.store is not None:
        return record.store
    return terms.store if terms is not None else None


def _shares(seen: ClaimObservation) -> bool:
    """Whether the bucket was there before the claim."""
    if seen.record is not None and seen.record.origin:
        return seen.record.origin == EXISTING
    return seen.terms is not None and bool(seen.terms.existing)


def _without_keys(user: User) -> UserSeen:
    return UserSeen(
        keys=fingerprints(user), max_buckets=user.max_buckets, quota=user.quota, is_privileged=bool(user.caps)
    )


def _pair_in(secret: JsonObject) -> _Pair:
    data = secret.get("data") or {}
    try:
        access, key = (base64.b64decode(data.get(name, "")).decode() for name in (ACCESS_KEY, SECRET_KEY))
    except (binascii.Error, UnicodeDecodeError):
        return _NO_PAIR
    return access, key


def _fingerprint(user: User | None, pair: _Pair) -> str:
    """By what the key of a Secret is told, if it is one of the user's."""
    keys = user.keys if user is not None else ()
    return next((fingerprint(key.access) for key in keys if (key.access, key.secret) == pair), "")
