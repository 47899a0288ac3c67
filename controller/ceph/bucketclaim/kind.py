"""ObjectBucketClaim: what `controller.framework.kind` runs for each claim, and what brings about a look."""

from __future__ import annotations

import itertools
import time
from typing import TYPE_CHECKING

import msgspec

from controller.apis.ceph import CEPH_OBJECT_STORE, CephObjectStore
from controller.apis.objectbucket import ObjectBucket, ObjectBucketClaim
from controller.ceph.access.threads import Threads
from controller.ceph.bucketclaim.act import BUCKETS, CLAIMS, Acts, Tools
from controller.ceph.bucketclaim.analyze import analyze
from controller.ceph.bucketclaim.objects import FINALIZER, record_of
from controller.ceph.bucketclaim.observe import Observer, Sources
from controller.ceph.bucketclaim.spec import StoreKey
from controller.ceph.bucketclaim.status import show
from controller.ceph.rgw.stores import reached_otherwise
from controller.framework.changes import appeared_or_went
from controller.framework.deletion import Dependent
from controller.framework.kind import ControlLoop, controller_of
from controller.runtime import Request, resource_of
from controller.runtime.kube import STORAGE_CLASS, StorageClass

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from controller.ceph.bucketclaim.observation import ClaimObservation
    from controller.ceph.rgw.stores import Stores
    from controller.framework.plan import Handler
    from controller.framework.settings import Settings
    from controller.runtime import Manager
    from informers import Client, InformerFactory

STORES = resource_of(CEPH_OBJECT_STORE)
BY_CLASS, BY_STORE = "class", "store"
"""Indexes: of claims by StorageClass, and of ObjectBuckets by object store."""


def of_store(informers: InformerFactory) -> Dependent[CephObjectStore]:
    """Claims as what uses the object store that their ObjectBuckets are in."""
    buckets = informers.informer(BUCKETS, ObjectBucket, optional=True)

    def known(store: CephObjectStore) -> list[str]:
        place = str(StoreKey(store.metadata.namespace, store.metadata.name))
        return [_claim_of(found) for found in buckets.list() if place in _store_of(found)]

    async def asked(client: Client, store: CephObjectStore) -> list[str]:
        place = str(StoreKey(store.metadata.namespace, store.metadata.name))
        found = [msgspec.convert(obj, ObjectBucket) for obj in await client.list(BUCKETS)]
        return [_claim_of(bucket) for bucket in found if place in _store_of(bucket)]

    return Dependent(kind=CLAIMS.kind, known=known, asked=asked, objects=buckets)


def register(
    manager: Manager,
    settings: Settings,
    stores: Stores,
    *,
    threads: Threads | None = None,
    clock: Callable[[], float] = time.time,
) -> None:
    """Has `manager` serve claims of all namespaces to buckets of the object stores that it serves.

    Args:
        manager: The manager.
        settings: The operator's.
        stores: Ways to object stores.
        threads: Where S3 is asked; some of its own by default.
        clock: Seconds since the epoch.
    """
    informers = manager.informers
    claims = informers.informer(CLAIMS, ObjectBucketClaim, cluster_wide=True, optional=True)
    claims.add_index(BY_CLASS, lambda claim: (claim.spec.storage_class_name,))
    buckets = informers.informer(BUCKETS, ObjectBucket, optional=True)
    buckets.add_index(BY_STORE, _store_of)
    classes = informers.informer(STORAGE_CLASS, StorageClass)
    served = informers.informer(STORES, CephObjectStore)
    threads = threads if threads is not None else Threads()
    observer = Observer(
        Sources(
            client=manager.client,
            classes=classes,
            buckets=buckets,
            stores=stores,
            threads=threads,
            serves=lambda namespace: served.cache.scope(namespace) is not None,
            operator_namespace=settings.operator_namespace,
            prefixes=frozenset(filter(None, (settings.operator_namespace, settings.obc_provisioner_prefix))),
            allowed=settings.obc_config_fields,
        )
    )
    tools = Tools(
        client=manager.client, applier=manager.applier, buckets=buckets, stores=stores, threads=threads, clock=clock
    )

    def ways(claim: ObjectBucketClaim, seen: ClaimObservation) -> Mapping[type, Handler]:
        place = observer.store(claim)
        way = stores.reach(place.namespace, place.name) if place is not None else None
        return Acts(claim, tools, way).handlers()

    loop = ControlLoop(
        resource=CLAIMS,
        finalizer=FINALIZER,
        observe=observer.observe,
        analyze=analyze,
        handlers=ways,
        show=show,
        # What another provisioner serves is left as it is.
        refuse=lambda claim: None if observer.is_ours(claim) else claim.status,
    )
    controller = controller_of(manager, loop, claims, workers=settings.workers, clock=clock)

    def of_class(found: StorageClass) -> Iterable[Request]:
        return itertools.starmap(Request, claims.keys_by_index(BY_CLASS, found.metadata.name))

    def of_store(store: CephObjectStore) -> Iterator[Request]:
        place = StoreKey(store.metadata.namespace, store.metadata.name)
        for found in buckets.by_index(BY_STORE, str(place)):
            yield _request(found)
        for each in classes.list():
            terms = observer.terms(each)
            if terms is not None and terms.store == place:
                yield from of_class(each)

    controller.watch(classes, of_class, predicate=appeared_or_went)
    controller.watch(served, of_store, predicate=reached_otherwise)
    controller.watch(buckets, lambda found: (_request(found),))
    manager.add(controller)


def _request(found: ObjectBucket) -> Request:
    return Request(found.spec.claim_ref.namespace, found.spec.claim_ref.name)


def _claim_of(found: ObjectBucket) -> str:
    return str(_request(found))


def _store_of(found: ObjectBucket) -> tuple[str, ...]:
    store = record_of(found).store
    return (str(store),) if store is not None else ()
