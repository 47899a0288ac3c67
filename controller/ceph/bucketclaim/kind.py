"""ObjectBucketClaim: what `controller.framework.kind` runs for each claim, and what brings about a look."""

from __future__ import annotations

from typing import TYPE_CHECKING

from controller.apis.ceph import CephObjectStore
from controller.apis.objectbucket import ObjectBucket, ObjectBucketClaim
from controller.ceph.bucketclaim.act import BUCKETS, CLAIMS, Acts, Tools
from controller.ceph.bucketclaim.analyze import analyze
from controller.ceph.bucketclaim.objects import FINALIZER, record_of
from controller.ceph.bucketclaim.observe import Observer, Sources
from controller.ceph.bucketclaim.s3 import Threads
from controller.ceph.bucketclaim.spec import StoreKey
from controller.ceph.bucketclaim.status import show
from controller.framework.changes import appeared_or_went, changed
from controller.framework.deletion import Dependent
from controller.framework.kind import ControlLoop, controller_of
from controller.runtime import Request
from controller.runtime.kube import STORAGE_CLASS, StorageClass

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from controller.ceph.bucketclaim.observation import ClaimObservation
    from controller.ceph.rgw.stores import Stores
    from controller.framework.plan import Handler
    from controller.framework.settings import Settings
    from controller.runtime import Manager
    from informers import Client, Informer, InformerFactory

BY_CLASS, BY_STORE = "class", "store"
"""Indexes: of claims by StorageClass, of ObjectBuckets and StorageClasses by object store."""


def dependents(informers: InformerFactory) -> Dependent[CephObjectStore]:
    """Claims as what uses the object store that their ObjectBuckets are in."""
    buckets = informers.informer(BUCKETS, ObjectBucket, optional=True)

    def known(store: CephObjectStore) -> list[str]:
        place = str(StoreKey(store.metadata.namespace, store.metadata.name))
        return [_claim_of(found) for found in buckets.by_index(BY_STORE, place)]

    async def asked(client: Client, store: CephObjectStore) -> list[str]:
        place = str(StoreKey(store.metadata.namespace, store.metadata.name))
        found = [msgspec.convert(obj, ObjectBucket) for obj in await client.list(BUCKETS)]
        return [_claim_of(bucket) for bucket in found if place in _store_of(bucket)]

    return Dependent(kind=CLAIMS.kind, known=known, asked=asked, objects=buckets)
