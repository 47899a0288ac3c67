"""One set of controllers for the volumes of all storage systems.

Each system adds a `VolumeBackend`; what is reconciled goes to the one that serves its CSI driver.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from controller.framework.changes import changed
from controller.runtime.controller import Controller
from controller.runtime.kube import CSI_STORAGE_CAPACITY, NAMESPACE, CsiStorageCapacity, PartialObject
from controller.runtime.reconciler import Request
from controller.volumes.attachments.act import Attachments
from controller.volumes.attachments.observe import Observer
from controller.volumes.attributes.act import Modifications
from controller.volumes.attributes.kinds import V1, V1BETA1, VolumeAttributesClass
from controller.volumes.caches import (
    BY_ATTRIBUTES,
    BY_CLASS,
    BY_HANDLE,
    BY_NODE,
    BY_VOLUME,
    attributes_cache_of,
    caches_of,
    copied_by,
    group_caches_of,
    handle_key,
    snapshot_caches_of,
)
from controller.volumes.capacity.act import BY_CLASS as CAPACITY_BY_CLASS
from controller.volumes.capacity.act import Capacities
from controller.volumes.capacity.analyze import MANAGER, MANAGER_LABEL
from controller.volumes.claims.act import Claims
from controller.volumes.drivers import Drivers
from controller.volumes.groups import kinds as groups
from controller.volumes.groups.act import GroupContents
from controller.volumes.health import Conditions
from controller.volumes.presence import until_served
from controller.volumes.reclaim import PersistentVolumes
from controller.volumes.snapshots.act import Contents
from controller.volumes.snapshots.kinds import CONTENTS, SNAPSHOT_CLASSES, SNAPSHOTS
from controller.volumes.space.act import Space
from controller.volumes.space.analyze import SCHEDULE
from workqueue import ItemExponentialBackoff

if TYPE_CHECKING:
    from collections.abc import Iterable

    from controller.apis.rook.node_report import NodeReport
    from controller.runtime import Manager
    from controller.runtime.kube import (
        HasMetadata,
        Node,
        PersistentVolume,
        PersistentVolumeClaim,
        StorageClass,
        VolumeAttachment,
    )
    from controller.runtime.reconciler import Reconciler
    from controller.volumes.caches import Caches
    from controller.volumes.groups.kinds import VolumeGroupSnapshotClass
    from controller.volumes.snapshots.kinds import VolumeSnapshotClass
    from informers import Delta

WORKERS = 4
"""Volumes or snapshots worked on at the same time, for each of the controllers."""

FIRST_RETRY, LAST_RETRY = 0.5, 30.0
"""Seconds until what failed is tried again: pods wait for it, and a cluster that is away comes back unannounced."""


@dataclass(frozen=True, slots=True)
class VolumeControllers:
    """The controllers of volumes, to which storage systems add themselves, and which they wake.

    Attributes:
        drivers: The storage systems.
        caches: What the API server has of volumes.
        claims: Provisions and expands.
        volumes: Reclaims.
        capacities: Tells the scheduler how much fits.
        conditions: Tells users of volumes that fail.
        attachments: Attaches.
    """

    drivers: Drivers
    caches: Caches
    claims: Controller
    volumes: Controller
    attachments: Controller
    capacities: Controller
    conditions: Controller

    def claims_of(self, storage_class: StorageClass) -> Iterable[Request]:
        """The claims of a class, to wake `claims` with."""
        return itertools.starmap(Request, self.caches.claims.keys_by_index(BY_CLASS, storage_class.metadata.name))


def register(manager: Manager, namespace: str) -> VolumeControllers:
    """Has `manager` serve volumes: of no storage system yet.

    Args:
        manager: Runs the controllers.
        namespace: The operator's, where the reports of the nodes' agents are.
    """
    drivers = Drivers()
    caches = caches_of(manager.informers, drivers, namespace)
    client, events = manager.client, manager.events
    attachments = caches.attachments
    told = manager.informers.informer(
        CSI_STORAGE_CAPACITY,
        CsiStorageCapacity,
        namespaces=(namespace,),
        label_selector=f"{MANAGER_LABEL}={MANAGER}",
        optional=True,
    )
    told.add_index(CAPACITY_BY_CLASS, lambda found: (found.storage_class_name,))
    serving = VolumeControllers(
        drivers,
        caches,
        claims=_controller("claims", Claims(client, events, caches, drivers)),
        volumes=_controller("volumes", PersistentVolumes(client, events, caches, drivers)),
        attachments=_controller(
            "attachments", Attachments(client, events, Observer(client, caches, namespace, drivers))
        ),
        # One at a time: all ask for the same, which is remembered for a moment.
        capacities=_controller(
            "capacities", Capacities(client, manager.applier, caches, told, drivers, namespace), workers=1
        ),
        conditions=_controller("conditions", Conditions(events, caches)),
    )

    def same_volume(name: str) -> Iterable[Request]:
        return itertools.starmap(Request, attachments.keys_by_index(BY_VOLUME, name))

    def on_node(found: Node | NodeReport) -> list[Request]:
        """Those that are not settled: what a node has attached does not change with it."""
        return [
            Request("", attachment.metadata.name)
            for attachment in attachments.by_index(BY_NODE, found.metadata.name)
            if attachment.metadata.deletion_timestamp is not None or not attachment.status.attached
        ]

    serving.claims.watch(caches.claims)
    serving.claims.watch(caches.claims, _source_of)
    serving.claims.watch(caches.volumes, _claim_of)
    serving.claims.watch(caches.classes, serving.claims_of)
    serving.volumes.watch(caches.volumes)
    serving.volumes.watch(attachments, lambda found: [Request("", found.spec.source.persistent_volume_name or "")])
    serving.attachments.watch(attachments)
    serving.attachments.watch(attachments, lambda found: same_volume(found.spec.source.persistent_volume_name or ""))
    serving.attachments.watch(caches.volumes, lambda found: same_volume(found.metadata.name))
    serving.attachments.watch(caches.nodes, on_node, _taints_changed)
    serving.attachments.watch(caches.reports, on_node, _clients_changed)
    serving.conditions.watch(caches.reports, predicate=changed(lambda report: report.problems))
    serving.capacities.watch(caches.classes)
    serving.capacities.watch(told, lambda found: [Request("", found.storage_class_name)])
    space = _space(manager, serving, namespace)
    every = (serving.claims, serving.volumes, serving.attachments, serving.capacities, serving.conditions, space)
    for controller in every:
        manager.add(controller)
    manager.add_runnable(lambda: _serve_snapshots(manager, caches, drivers))
    manager.add_runnable(lambda: _serve_attributes(manager, serving))
    return serving


def _space(manager: Manager, serving: VolumeControllers, home: str) -> Controller:
    """The controller of the space of volumes: one at a time, as each try reads all of a volume."""
    caches = serving.caches
    namespaces = manager.informers.informer(NAMESPACE, PartialObject, metadata_only=True, optional=True)
    reconciler = Space(manager.client, manager.events, caches, namespaces, serving.drivers, home)
    controller = _controller("space", reconciler, workers=1)

    def claim_of(attachment: VolumeAttachment) -> Iterable[Request]:
        volume = caches.volumes.get("", attachment.spec.source.persistent_volume_name or "")
        return _claim_of(volume) if volume is not None else ()

    def claims_in(namespace: PartialObject) -> Iterable[Request]:
        return itertools.starmap(Request, caches.claims.keys(namespace.metadata.name))

    def asked_of(report: NodeReport) -> Iterable[Request]:
        return [Request(*key.split("/")) for key in report.trims]

    controller.watch(caches.claims)
    controller.watch(caches.classes, serving.claims_of, _schedule_changed)
    controller.watch(namespaces, claims_in, _schedule_changed)
    controller.watch(caches.attachments, claim_of, changed(lambda attachment: attachment.status.attached))
    controller.watch(caches.reports, asked_of, changed(lambda report: (report.trims, report.trimmed)))
    return controller


async def _serve_snapshots(manager: Manager, caches: Caches, drivers: Drivers) -> None:
    """Adds the controllers of snapshots and of group snapshots, each once the API server has their kinds."""
    await until_served(manager.client, "VolumeSnapshots", (SNAPSHOTS, CONTENTS, SNAPSHOT_CLASSES))
    found = caches.snapshots = snapshot_caches_of(manager.informers)
    controller = _controller("snapshots", Contents(manager.client, manager.events, caches, found, drivers))

    def of_class(changed: VolumeSnapshotClass) -> list[Request]:
        name, contents = changed.metadata.name, found.contents.list()
        return [Request("", c.metadata.name) for c in contents if c.spec.volume_snapshot_class_name == name]

    controller.watch(found.contents)
    controller.watch(found.classes, of_class)
    manager.add(controller)
    await _serve_groups(manager, caches, drivers)


async def _serve_groups(manager: Manager, caches: Caches, drivers: Drivers) -> None:
    choices = [(groups.contents(version), groups.classes(version)) for version in groups.VERSIONS]
    contents, classes = await until_served(manager.client, "VolumeGroupSnapshots", *choices)
    found = caches.groups = group_caches_of(manager.informers, contents, classes)
    controller = _controller("groupsnapshots", GroupContents(manager.client, manager.events, caches, found, drivers))

    def of_class(changed: VolumeGroupSnapshotClass) -> list[Request]:
        name, every = changed.metadata.name, found.contents.list()
        return [Request("", c.metadata.name) for c in every if c.spec.volume_group_snapshot_class_name == name]

    controller.watch(found.contents)
    controller.watch(found.classes, of_class)
    manager.add(controller)


async def _serve_attributes(manager: Manager, serving: VolumeControllers) -> None:
    """Adds the controller of VolumeAttributesClasses once the API server has them."""
    (resource,) = await until_served(manager.client, "VolumeAttributesClasses", (V1,), (V1BETA1,))
    caches = serving.caches
    found = caches.attributes = attributes_cache_of(manager.informers, resource)
    reconciler = Modifications(manager.client, manager.events, caches, serving.drivers)
    controller = _controller("attributes", reconciler)

    def naming(changed: VolumeAttributesClass) -> Iterable[Request]:
        return itertools.starmap(Request, caches.claims.keys_by_index(BY_ATTRIBUTES, changed.metadata.name))

    def mapped(report: NodeReport) -> Iterable[Request]:
        """The claims of volumes that a node uses, of those that have a class."""
        for client in report.clients:
            for volume in caches.volumes.by_index(BY_HANDLE, handle_key(client.driver, client.volume_handle)):
                if volume.spec.volume_attributes_class_name:
                    yield from _claim_of(volume)

    controller.watch(caches.claims)
    controller.watch(caches.volumes, _claim_of)
    controller.watch(found, naming)
    controller.watch(caches.reports, mapped, _clients_changed)
    serving.claims.watch(found, naming)
    manager.add(controller)


def _controller(name: str, reconciler: Reconciler, *, workers: int = WORKERS) -> Controller:
    backoff = ItemExponentialBackoff[Request](FIRST_RETRY, LAST_RETRY)
    return Controller(name, reconciler, workers=workers, rate_limiter=backoff)


def _claim_of(volume: PersistentVolume) -> Iterable[Request]:
    claim = volume.spec.claim_ref
    return () if claim is None else (Request(claim.namespace, claim.name),)


def _source_of(claim: PersistentVolumeClaim) -> Iterable[Request]:
    """The claim that a claim is a copy of: it may go when the copy is made."""
    return [Request(*name.split("/")) for name in copied_by(claim)]


def _schedule_changed[T: HasMetadata](delta: Delta[T]) -> bool:
    old, new = (found.metadata.annotations.get(SCHEDULE) if found else None for found in (delta.old, delta.new))
    return old != new


def _taints_changed(delta: Delta[Node]) -> bool:
    """Lets through what matters to detaching: a node that goes, or that is said to be out of service."""
    old, new = delta.old, delta.new
    return old is None or new is None or old.spec.taints != new.spec.taints


def _clients_changed(delta: Delta[NodeReport]) -> bool:
    old, new = delta.old, delta.new
    return old is None or new is None or old.clients != new.clients
