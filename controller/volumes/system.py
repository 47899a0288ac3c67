"""One set of controllers for the volumes of all storage systems.

Each system adds a `VolumeBackend`; what is reconciled goes to the one that serves its CSI driver.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from controller.runtime.controller import Controller
from controller.runtime.reconciler import Request
from controller.volumes.attachments.act import Attachments
from controller.volumes.attachments.observe import Observer
from controller.volumes.caches import BY_CLASS, BY_NODE, BY_VOLUME, caches_of, copied_by, snapshot_caches_of
from controller.volumes.claims.act import Claims
from controller.volumes.drivers import Drivers
from controller.volumes.reclaim import PersistentVolumes
from controller.volumes.snapshots.act import Contents
from controller.volumes.snapshots.presence import until_served
from workqueue import ItemExponentialBackoff

if TYPE_CHECKING:
    from collections.abc import Iterable

    from controller.apis.rook.node_report import NodeReport
    from controller.runtime import Manager
    from controller.runtime.kube import Node, PersistentVolume, PersistentVolumeClaim, StorageClass
    from controller.runtime.reconciler import Reconciler
    from controller.volumes.caches import Caches
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
        attachments: Attaches.
    """

    drivers: Drivers
    caches: Caches
    claims: Controller
    volumes: Controller
    attachments: Controller

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
    serving = VolumeControllers(
        drivers,
        caches,
        claims=_controller("claims", Claims(client, events, caches, drivers)),
        volumes=_controller("volumes", PersistentVolumes(client, events, caches, drivers)),
        attachments=_controller(
            "attachments", Attachments(client, events, Observer(client, caches, namespace, drivers))
        ),
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
    for controller in (serving.claims, serving.volumes, serving.attachments):
        manager.add(controller)
    manager.add_runnable(lambda: _serve_snapshots(manager, caches, drivers))
    return serving


async def _serve_snapshots(manager: Manager, caches: Caches, drivers: Drivers) -> None:
    """Adds the controller of snapshots once the API server has their kinds."""
    await until_served(manager.client)
    found = caches.snapshots = snapshot_caches_of(manager.informers)
    controller = _controller("snapshots", Contents(manager.client, manager.events, caches, found, drivers))

    def of_class(changed: VolumeSnapshotClass) -> list[Request]:
        name, contents = changed.metadata.name, found.contents.list()
        return [Request("", c.metadata.name) for c in contents if c.spec.volume_snapshot_class_name == name]

    controller.watch(found.contents)
    controller.watch(found.classes, of_class)
    manager.add(controller)


def _controller(name: str, reconciler: Reconciler) -> Controller:
    backoff = ItemExponentialBackoff[Request](FIRST_RETRY, LAST_RETRY)
    return Controller(name, reconciler, workers=WORKERS, rate_limiter=backoff)


def _claim_of(volume: PersistentVolume) -> Iterable[Request]:
    claim = volume.spec.claim_ref
    return () if claim is None else (Request(claim.namespace, claim.name),)


def _source_of(claim: PersistentVolumeClaim) -> Iterable[Request]:
    """The claim that a claim is a copy of: it may go when the copy is made."""
    return [Request(*name.split("/")) for name in copied_by(claim)]


def _taints_changed(delta: Delta[Node]) -> bool:
    """Lets through what matters to detaching: a node that goes, or that is said to be out of service."""
    old, new = delta.old, delta.new
    return old is None or new is None or old.spec.taints != new.spec.taints


def _clients_changed(delta: Delta[NodeReport]) -> bool:
    old, new = delta.old, delta.new
    return old is None or new is None or old.clients != new.clients
