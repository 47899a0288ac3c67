"""Registers the controllers that serve the volumes of a storage system."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from controller.apis.rook.node_report import NodeReport
from controller.framework.reports import reports_of
from controller.runtime.controller import Controller
from controller.runtime.kube import (
    NODE,
    PV,
    PVC,
    STORAGE_CLASS,
    VOLUME_ATTACHMENT,
    Node,
    PersistentVolume,
    PersistentVolumeClaim,
    StorageClass,
    VolumeAttachment,
)
from controller.runtime.reconciler import Request
from controller.volumes.attach import Attachments
from controller.volumes.clients import BY_ADDRESS, BY_CLIENT, BY_MAPPED, addresses_of, clients_of, mapped_by
from controller.volumes.provision import Claims, class_name
from controller.volumes.reclaim import BY_IDENTITY, BY_VOLUME, Volumes, identities
from workqueue import ItemExponentialBackoff

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from controller.runtime import Manager
    from controller.volumes.backend import VolumeBackend
    from informers import Delta

BY_NODE, BY_CLASS = "node", "class"
WORKERS = 4
"""Volumes worked on at the same time, for each of the three controllers."""

FIRST_RETRY, LAST_RETRY = 0.5, 30.0
"""Seconds until what failed is tried again: pods wait for it, and a cluster that is away comes back unannounced."""


@dataclass(frozen=True, slots=True)
class Registered:
    """The controllers of a storage system's volumes, so that the system can have more wake them.

    Attributes:
        claims: Provisions and expands.
        volumes: Reclaims.
        attachments: Attaches.
        claims_of: The claims of a class, to wake `claims` with.
    """

    claims: Controller
    volumes: Controller
    attachments: Controller
    claims_of: Callable[[StorageClass], Iterable[Request]]


def register(manager: Manager, name: str, backend: VolumeBackend, namespace: str) -> Registered:
    """Has `manager` serve the volumes of a storage system.

    Args:
        manager: Runs the controllers.
        name: The storage system's, for the controllers' names: "rbd".
        backend: The storage system.
        namespace: The operator's, where the reports of the nodes' agents are.
    """
    informers = manager.informers
    claims = informers.informer(PVC, PersistentVolumeClaim, cluster_wide=True)
    volumes = informers.informer(PV, PersistentVolume)
    classes = informers.informer(STORAGE_CLASS, StorageClass)
    attachments = informers.informer(VOLUME_ATTACHMENT, VolumeAttachment)
    nodes = informers.informer(NODE, Node)
    claims.add_index(BY_CLASS, lambda claim: (class_name(claim),))
    volumes.add_index(BY_IDENTITY, identities(backend))
    attachments.add_index(BY_VOLUME, lambda attachment: (attachment.spec.source.persistent_volume_name or "",))
    attachments.add_index(BY_NODE, lambda attachment: (attachment.spec.node_name,))
    nodes.add_index(BY_ADDRESS, addresses_of)
    reports = reports_of(informers, namespace)
    reports.add_index(BY_CLIENT, clients_of)
    reports.add_index(BY_MAPPED, mapped_by)
    client, events = manager.client, manager.events

    def claims_of(found: StorageClass) -> Iterable[Request]:
        return itertools.starmap(Request, claims.keys_by_index(BY_CLASS, found.metadata.name))

    claiming = Controller(
        f"{name}-claims",
        Claims(client, events, claims, volumes, classes, backend),
        workers=WORKERS,
        rate_limiter=ItemExponentialBackoff(FIRST_RETRY, LAST_RETRY),
    )
    claiming.watch(claims)
    claiming.watch(volumes, _claim_of)
    claiming.watch(classes, claims_of)

    reclaiming = Controller(
        f"{name}-volumes",
        Volumes(client, events, volumes, attachments, nodes, reports, backend),
        workers=WORKERS,
        rate_limiter=ItemExponentialBackoff(FIRST_RETRY, LAST_RETRY),
    )
    reclaiming.watch(volumes)
    reclaiming.watch(attachments, lambda found: [Request("", found.spec.source.persistent_volume_name or "")])

    attaching = Controller(
        f"{name}-attachments",
        Attachments(client, events, attachments, volumes, nodes, reports, namespace, backend),
        workers=WORKERS,
        rate_limiter=ItemExponentialBackoff(FIRST_RETRY, LAST_RETRY),
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

    attaching.watch(attachments)
    attaching.watch(attachments, lambda found: same_volume(found.spec.source.persistent_volume_name or ""))
    attaching.watch(volumes, lambda found: same_volume(found.metadata.name))
    attaching.watch(nodes, on_node, _taints_changed)
    attaching.watch(reports, on_node, _clients_changed)
    registered = Registered(claiming, reclaiming, attaching, claims_of)
    for controller in (claiming, reclaiming, attaching):
        manager.add(controller)
    return registered


def _claim_of(volume: PersistentVolume) -> Iterable[Request]:
    claim = volume.spec.claim_ref
    return () if claim is None else (Request(claim.namespace, claim.name),)


def _taints_changed(delta: Delta[Node]) -> bool:
    """Lets through what matters to detaching: a node that goes, or that is said to be out of service."""
    old, new = delta.old, delta.new
    return old is None or new is None or old.spec.taints != new.spec.taints


def _clients_changed(delta: Delta[NodeReport]) -> bool:
    old, new = delta.old, delta.new
    return old is None or new is None or old.clients != new.clients
