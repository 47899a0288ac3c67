"""COSI: what `controller.framework.kind` runs for drivers, buckets and accesses, and what brings about a look."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from controller.apis.ceph import CEPH_COSI_DRIVER, CEPH_OBJECT_STORE_USER, CephCOSIDriver, CephObjectStoreUser
from controller.apis.ceph.cosi import NEVER, CephCOSIDriverSpec
from controller.apis.ceph.served import COSI_DRIVER
from controller.ceph.access.threads import Threads
from controller.ceph.cosi.access import Accesses
from controller.ceph.cosi.bucket import Buckets
from controller.ceph.cosi.places import OTHER, SUFFIX, Places, namespace_of, secret_of
from controller.ceph.cosi.types import (
    ACCESS_CLASSES,
    ACCESS_FINALIZER,
    ACCESSES,
    BUCKET_FINALIZER,
    BUCKETS,
    CLAIMS,
    GROUP,
    VERSION,
    Bucket,
    BucketAccess,
    BucketAccessClass,
    BucketClaim,
)
from controller.framework import honoured
from controller.framework.changes import changed
from controller.framework.deletion import Dependent
from controller.framework.kind import ControlLoop, LetGo, controller_of
from controller.framework.plan import Plan, Step
from controller.framework.status import Words, conditions, fields, stage_of
from controller.framework.text import some
from controller.runtime import Request, in_namespace, resource_of
from controller.runtime.kube import DEPLOYMENT, SECRET, Deployment, Secret

if TYPE_CHECKING:
    from collections.abc import Iterable

    from controller.apis.ceph.cosi import CephCOSIDriverStatus
    from controller.ceph.rgw.stores import Stores
    from controller.framework.kind import Look
    from controller.framework.plan import Outcome
    from controller.framework.settings import Settings
    from controller.runtime import Manager
    from informers import Client, InformerFactory

DRIVERS, USERS = resource_of(CEPH_COSI_DRIVER), resource_of(CEPH_OBJECT_STORE_USER)
WORDS = Words(well="Buckets of COSI are served", leaving="The CephCOSIDriver is being deleted")
OFF = Words(well="Buckets of COSI are not served, as deploymentStrategy is Never", leaving=WORDS.leaving)
BY_CLAIM = "claim"
"""The index of BucketAccesses by claim."""
AGAIN = 30.0
"""Seconds after which to look whether COSI's types are there, or what is served is gone."""
FINALIZER = "cephcosidriver.ceph.rook.io"
MAX_NAMED = 10
"""Objects that are named."""


@dataclass(frozen=True, slots=True)
class DriverSeen:
    """What there is of a driver.

    Attributes:
        types: Whether COSI's types are there.
        other: Whether there is another driver of the same name.
        users: The objects that nobody would serve without it, in words; known only while it is being deleted.
    """

    types: bool
    other: bool = False
    users: tuple[str, ...] = ()


def analyze(driver: CephCOSIDriver, seen: DriverSeen) -> Plan:
    """The plan for a driver: there is nothing to do but to wait for COSI, for another driver to go, or for users."""
    if driver.metadata.deletion_timestamp is not None:
        reason = WORDS.leaving
        if seen.users:
            off = driver.spec.deployment_strategy == NEVER
            serve = ", for which deploymentStrategy has to be Auto" if off else ""
            waits_for = f"what it serves to be deleted{serve}: {some(seen.users, MAX_NAMED)}"
            return Plan(steps=(Step(subject="COSI", reason=reason, waits_for=waits_for),), look_again=AGAIN)
        return Plan(steps=(Step(subject="COSI", reason=reason, action=LetGo()),))
    if driver.spec.deployment_strategy == NEVER:
        return Plan()
    reason = "buckets are to be served"
    if not seen.types:
        waits_for = f"the types of COSI, {GROUP}/{VERSION}, to be installed"
        return Plan(steps=(Step(subject="COSI", reason=reason, waits_for=waits_for),), look_again=AGAIN)
    if seen.other:
        waits_for = f"Deployment {OTHER} to be deleted or scaled to 0: it is the driver of the same name"
        return Plan(steps=(Step(subject="COSI", reason=reason, waits_for=waits_for),))
    return Plan()


def show(look: Look[CephCOSIDriver], seen: DriverSeen, outcome: Outcome) -> CephCOSIDriverStatus:
    """See `controller.framework.kind.ControlLoop`."""
    driver, present = look.obj, look.obj.status
    words = OFF if driver.spec.deployment_strategy == NEVER else WORDS
    stage = stage_of(look, outcome, words)
    told = honoured.condition(
        honoured.unhonoured(look.spec, COSI_DRIVER, CephCOSIDriverSpec), (), driver.metadata.generation
    )
    name = "" if words is OFF else f"{driver.metadata.namespace}{SUFFIX}"
    held = f"to be deleted first: {some(seen.users, MAX_NAMED)}" if seen.users else ""
    shown = fields(present, look, outcome, stage, (*conditions(stage, words, blocked=held), told))
    return msgspec.structs.replace(present, **shown, driver_name=name)


def of_user(informers: InformerFactory) -> Dependent[CephObjectStoreUser]:
    """Buckets as what uses the user who owns what they stand for."""
    buckets = informers.informer(BUCKETS, Bucket, optional=True)

    def using(user: CephObjectStoreUser, found: Iterable[Bucket]) -> list[str]:
        place = (user.metadata.namespace, user.status.info.get("secretName", ""))
        return [
            bucket.metadata.name
            for bucket in found
            if namespace_of(bucket.spec.driver_name)
            and place[1]
            and secret_of(bucket.spec.driver_name, bucket.spec.parameters) == place
        ]

    def known(user: CephObjectStoreUser) -> list[str]:
        return using(user, buckets.list(None))

    async def asked(client: Client, user: CephObjectStoreUser) -> list[str]:
        if not buckets.synced:
            return []
        return using(user, [msgspec.convert(found, Bucket) for found in await client.list(BUCKETS, "")])

    return Dependent(kind=BUCKETS.kind, known=known, asked=asked)


def register(manager: Manager, settings: Settings, stores: Stores, *, threads: Threads | None = None) -> None:
    """Has `manager` serve CephCOSIDrivers, and COSI's Buckets and BucketAccesses where its types are there."""
    informers = manager.informers
    drivers = informers.informer(DRIVERS, CephCOSIDriver)
    users = informers.informer(USERS, CephObjectStoreUser)
    secrets = informers.informer(SECRET, Secret)
    claims = informers.informer(CLAIMS, BucketClaim, cluster_wide=True, optional=True)
    buckets = informers.informer(BUCKETS, Bucket, optional=True)
    accesses = informers.informer(ACCESSES, BucketAccess, cluster_wide=True, optional=True)
    accesses.add_index(BY_CLAIM, lambda access: (f"{access.metadata.namespace}/{access.spec.bucket_claim_name}",))
    classes = informers.informer(ACCESS_CLASSES, BucketAccessClass, optional=True)
    threads = threads if threads is not None else Threads()
    others = informers.informer(DEPLOYMENT, Deployment, field_selector=f"metadata.name={OTHER}")
    places = Places(drivers, users, secrets, stores, others)

    async def seen(driver: CephCOSIDriver, _: float) -> DriverSeen:
        types = all(cache.synced for cache in (claims, buckets, accesses, classes))
        other = places.has_other(driver.metadata.namespace)
        return DriverSeen(types, other, () if other else using(driver))

    def using(driver: CephCOSIDriver) -> tuple[str, ...]:
        meta = driver.metadata
        stays = [found for found in drivers.list(meta.namespace) if found.metadata.deletion_timestamp is None]
        if meta.deletion_timestamp is None or any(found.spec.deployment_strategy != NEVER for found in stays):
            return ()
        of_class = {found.metadata.name: namespace_of(found.driver_name) for found in classes.list(None)}
        held = [
            f"Bucket {found.metadata.name}"
            for found in buckets.list(None)
            if namespace_of(found.spec.driver_name) == meta.namespace and BUCKET_FINALIZER in found.metadata.finalizers
        ]
        given = [
            f"BucketAccess {found.metadata.namespace}/{found.metadata.name}"
            for found in accesses.list(None)
            if of_class.get(found.spec.bucket_access_class_name) == meta.namespace
            and ACCESS_FINALIZER in found.metadata.finalizers
        ]
        return (*sorted(held), *sorted(given))

    driver_loop = ControlLoop(
        resource=DRIVERS, finalizer=FINALIZER, observe=seen, analyze=analyze, handlers=lambda _, __: {}, show=show
    )
    of_drivers = controller_of(manager, driver_loop, drivers, workers=1)
    of_drivers.watch(others, in_namespace(drivers), predicate=changed(_replicas))
    manager.add(of_drivers)

    bucket_loop = Buckets(manager.client, places, threads, claims, accesses).loop()
    of_buckets = controller_of(manager, bucket_loop, buckets, workers=settings.workers, name="cosi-bucket")

    def bucket_of(claim: BucketClaim) -> Iterable[Request]:
        return (Request("", claim.status.bucket_name),) if claim.status.bucket_name else ()

    def bucket_used(access: BucketAccess) -> Iterable[Request]:
        claim = claims.get(access.metadata.namespace, access.spec.bucket_claim_name)
        return bucket_of(claim) if claim is not None else ()

    def every_bucket(_: object) -> Iterable[Request]:
        return itertools.starmap(Request, buckets.keys())

    of_buckets.watch(claims, bucket_of)
    of_buckets.watch(accesses, bucket_used)
    of_buckets.watch(drivers, every_bucket, predicate=changed(_strategy))
    of_buckets.watch(others, every_bucket, predicate=changed(_replicas))
    manager.add(of_buckets)

    access_loop = Accesses(
        client=manager.client,
        applier=manager.applier,
        places=places,
        threads=threads,
        claims=claims,
        buckets=buckets,
        classes=classes,
    ).loop()
    of_accesses = controller_of(manager, access_loop, accesses, workers=settings.workers, name="cosi-bucketaccess")

    def users_of(claim: BucketClaim) -> Iterable[Request]:
        where = f"{claim.metadata.namespace}/{claim.metadata.name}"
        return itertools.starmap(Request, accesses.keys_by_index(BY_CLAIM, where))

    def users_of_bucket(bucket: Bucket) -> Iterable[Request]:
        ref = bucket.spec.bucket_claim
        return (
            ()
            if ref is None
            else itertools.starmap(Request, accesses.keys_by_index(BY_CLAIM, f"{ref.namespace}/{ref.name}"))
        )

    def every_access(_: object) -> Iterable[Request]:
        return itertools.starmap(Request, accesses.keys())

    of_accesses.watch(claims, users_of)
    of_accesses.watch(buckets, users_of_bucket, predicate=changed(_ready))
    of_accesses.watch(classes, every_access)
    of_accesses.watch(drivers, every_access, predicate=changed(_strategy))
    of_accesses.watch(others, every_access, predicate=changed(_replicas))
    manager.add(of_accesses)


def _strategy(driver: CephCOSIDriver) -> str:
    return driver.spec.deployment_strategy


def _replicas(other: Deployment) -> tuple[int, int]:
    return other.spec.replicas, other.status.replicas


def _ready(bucket: Bucket) -> tuple[object, ...]:
    return bucket.status, bucket.metadata.deletion_timestamp
