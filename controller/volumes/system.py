"""Registers the controllers that serve the volumes of a storage system."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

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
from controller.volumes.provision import Claims
from controller.volumes.reclaim import BY_HANDLE, BY_VOLUME, Volumes, handle_of
from workqueue import ItemExponentialBackoff

if TYPE_CHECKING:
    from collections.abc import Iterable

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
    """The controllers of a storage system's volumes, so that the system can have more wake them."""

    claims: Controller
    volumes: Controller
    attachments: Controller


def register(manager: Manager, name: str, backend: VolumeBackend) -> Registered:
    """Has `manager` serve the volumes of a storage system.

    Args:
        manager: Runs the controllers.
        name: The storage system's, for the controllers' names: "rbd".
        backend: The storage system.
    """
    informers = manager.informers
    claims = informers.informer(PVC, PersistentVolumeClaim, cluster_wide=True)
    volumes = informers.informer(PV, PersistentVolume)
    classes = informers.informer(STORAGE_CLASS, StorageClass)
    attachments = informers.informer(VOLUME_ATTACHMENT, VolumeAttachment)
    nodes = informers.informer(NODE, Node)
    claims.add_index(BY_CLASS, lambda claim: (claim.spec.storage_class_name or "",))
    volumes.add_index(BY_HANDLE, lambda volume: (handle_of(volume),))
    attachments.add_index(BY_VOLUME, lambda attachment: (attachment.spec.source.persistent_volume_name or "",))
    attachments.add_index(BY_NODE, lambda attachment: (attachment.spec.node_name,))
    client, events = manager.client, manager.events

    claiming = Controller(
        f"{name}-claims",
        Claims(client, events, claims, volumes, classes, backend),
        workers=WORKERS,
        rate_limiter=ItemExponentialBackoff(FIRST_RETRY, LAST_RETRY),
    )
    claiming.watch(claims)
    claiming.watch(volumes, _claim_of)
    claiming.watch(
        classes,
        lambda found: itertools.starmap(Request, claims.keys_by_index(BY_CLASS, found.metadata.name)),
    )

    reclaiming = Controller(
        f"{name}-volumes",
        Volumes(client, events, volumes, attachments, nodes, backend),
        workers=WORKERS,
        rate_limiter=ItemExponentialBackoff(FIRST_RETRY, LAST_RETRY),
    )
    reclaiming.watch(volumes)
    reclaiming.watch(attachments, lambda found: [Request("", found.spec.source.persistent_volume_name or "")])

    attaching = Controller(
        f"{name}-attachments",
        Attachments(client, attachments, volumes, nodes, backend),
        workers=WORKERS,
        rate_limiter=ItemExponentialBackoff(FIRST_RETRY, LAST_RETRY),
    )

    def same_volume(name: str) -> Iterable[Request]:
        return itertools.starmap(Request, attachments.keys_by_index(BY_VOLUME, name))

    attaching.watch(attachments)
    attaching.watch(attachments, lambda found: same_volume(found.spec.source.persistent_volume_name or ""))
    attaching.watch(volumes, lambda found: same_volume(found.metadata.name))
    attaching.watch(
        nodes,
        lambda found: itertools.starmap(Request, attachments.keys_by_index(BY_NODE, found.metadata.name)),
        _taints_changed,
    )
    registered = Registered(claiming, reclaiming, attaching)
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
