"""VolumeReplication: what `controller.framework.kind` runs for each that is for a driver of this operator.

Others are left alone: their drivers have controllers of their own.
"""

from __future__ import annotations

import itertools
import time
from typing import TYPE_CHECKING

from controller.ceph.rbd.replication.act import handlers
from controller.ceph.rbd.replication.analyze import analyze
from controller.ceph.rbd.replication.kinds import (
    CLASSES,
    REPLICATIONS,
    VolumeReplication,
    VolumeReplicationClass,
)
from controller.ceph.rbd.replication.observe import Observer, ReplicationObservation
from controller.ceph.rbd.replication.status import show
from controller.framework.kind import ControlLoop, KindReconciler
from controller.runtime import Controller, Request, Result, annotations_changed, any_of, generation_changed
from controller.volumes.presence import until_served

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from controller.ceph.rbd.calls import Calls
    from controller.framework.plan import Handler
    from controller.runtime import Manager
    from controller.runtime.kube import PersistentVolumeClaim, VolumeAttachment
    from controller.volumes.caches import Caches
    from informers import Informer

FINALIZER = "replication.rook.io/mirroring"
"""Not that of csi-addons: its controller may serve other drivers beside, and has its own on their objects."""
BY_CLAIM, BY_CLASS = "claim", "class"
"""The indexes of VolumeReplications by namespace and name of their claim, and by their class."""
WORKERS = 4
"""Replications that are worked on at once."""


class OursAlone:
    """Reconciles VolumeReplications whose class names a driver of this operator.

    Args:
        inner: Reconciles them.
        replications: The cache of VolumeReplications.
        classes: The cache of their classes.
        serves: Whether a driver is this operator's.
    """

    def __init__(
        self,
        inner: KindReconciler[VolumeReplication, ReplicationObservation],
        replications: Informer[VolumeReplication],
        classes: Informer[VolumeReplicationClass],
        serves: Callable[[str], bool],
    ) -> None:
        self._inner, self._replications, self._classes, self._serves = inner, replications, classes, serves

    async def reconcile(self, request: Request) -> Result:
        """See `controller.runtime.Reconciler`."""
        found = self._replications.get(request)
        if found is not None and FINALIZER not in found.metadata.finalizers:
            named = self._classes.get("", found.spec.volume_replication_class)
            if named is None or not self._serves(named.spec.provisioner):
                return Result()
        return await self._inner.reconcile(request)


async def serve(manager: Manager, caches: Caches, calls: Calls, serves: Callable[[str], bool]) -> None:
    """Adds the controller of VolumeReplications once the API server has them.

    Args:
        manager: The process.
        caches: Claims, volumes and attachments.
        calls: Asks librbd.
        serves: Whether a driver is this operator's.
    """
    await until_served(manager.client, "VolumeReplications", (REPLICATIONS, CLASSES))
    replications = manager.informers.informer(REPLICATIONS, VolumeReplication, cluster_wide=True, optional=True)
    classes = manager.informers.informer(CLASSES, VolumeReplicationClass, optional=True)
    replications.add_index(BY_CLAIM, lambda r: (f"{r.metadata.namespace}/{r.spec.data_source.name}",))
    replications.add_index(BY_CLASS, lambda r: (r.spec.volume_replication_class,))

    def ways(replication: VolumeReplication, seen: ReplicationObservation) -> Mapping[type, Handler]:
        claim = caches.claims.get(replication.metadata.namespace, replication.spec.data_source.name)
        name = claim.spec.volume_name if claim is not None else ""
        return handlers(replication, seen, manager.client, calls, name)

    loop = ControlLoop(
        resource=REPLICATIONS,
        finalizer=FINALIZER,
        observe=Observer(caches, classes, calls).observe,
        analyze=analyze,
        handlers=ways,
        show=show,
    )
    inner = KindReconciler(manager, loop, replications, clock=time.time)
    controller = Controller("volumereplications", OursAlone(inner, replications, classes, serves), workers=WORKERS)

    def of_claim(namespace: str, name: str) -> Iterable[Request]:
        return itertools.starmap(Request, replications.keys_by_index(BY_CLAIM, f"{namespace}/{name}"))

    def claimed(claim: PersistentVolumeClaim) -> Iterable[Request]:
        return of_claim(claim.metadata.namespace, claim.metadata.name)

    def attached(attachment: VolumeAttachment) -> Iterable[Request]:
        volume = caches.volumes.get("", attachment.spec.source.persistent_volume_name or "")
        claim = volume.spec.claim_ref if volume is not None else None
        return of_claim(claim.namespace, claim.name) if claim is not None else ()

    def of_class(found: VolumeReplicationClass) -> Iterable[Request]:
        return itertools.starmap(Request, replications.keys_by_index(BY_CLASS, found.metadata.name))

    controller.watch(replications, predicate=any_of(generation_changed, annotations_changed))
    controller.watch(classes, of_class)
    controller.watch(caches.claims, claimed, predicate=generation_changed)
    controller.watch(caches.attachments, attached)
    manager.add(controller)
