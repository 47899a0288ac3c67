"""NetworkFence: what `controller.framework.kind` runs for each that is for a driver of this operator.

Others are left alone: their drivers have controllers of their own.
"""

from __future__ import annotations

import itertools
import time
from typing import TYPE_CHECKING

from controller.ceph.networkfence.act import Actor
from controller.ceph.networkfence.analyze import analyze
from controller.ceph.networkfence.kinds import CLASSES, FENCES, NetworkFence, NetworkFenceClass
from controller.ceph.networkfence.observe import FenceObservation, Observer, Resolver
from controller.ceph.networkfence.status import show
from controller.framework.kind import ControlLoop, KindReconciler
from controller.runtime import Controller, Request, Result, annotations_changed, any_of, generation_changed
from controller.volumes.presence import until_served

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from controller.ceph.access.rados import Connections, RadosCluster
    from controller.runtime import Manager
    from informers import Informer

FINALIZER = "networkfence.rook.io/blocklist"
"""Not that of csi-addons: its controller may serve other drivers beside, and has its own on their objects."""
BY_CLASS = "class"
"""The index of NetworkFences by their class."""


class OursAlone:
    """Reconciles NetworkFences of a driver of this operator.

    Args:
        inner: Reconciles them.
        fences: The cache of NetworkFences.
        resolver: Tells their driver.
        serves: Whether a driver is this operator's.
    """

    def __init__(
        self,
        inner: KindReconciler[NetworkFence, FenceObservation],
        fences: Informer[NetworkFence],
        resolver: Resolver,
        serves: Callable[[str], bool],
    ) -> None:
        self._inner, self._fences, self._resolver, self._serves = inner, fences, resolver, serves

    async def reconcile(self, request: Request) -> Result:
        """See `controller.runtime.Reconciler`."""
        found = self._fences.get(request)
        if found is not None and FINALIZER not in found.metadata.finalizers:
            way = self._resolver.way(found)
            if way is None or not self._serves(way.provisioner):
                return Result()
        return await self._inner.reconcile(request)


async def serve(
    manager: Manager,
    connections: Connections,
    home: str,
    *,
    serves: Callable[[str], bool],
    namespace_of: Callable[[str], str],
    has_cluster: Callable[[str], bool],
    sessions: Callable[[RadosCluster], Awaitable[frozenset[str]]],
) -> None:
    """Adds the controller of NetworkFences once the API server has them.

    Args:
        manager: The process.
        connections: Ways to the clusters, by namespace.
        home: The operator's own namespace, where the agents' reports are.
        serves: Whether a driver is this operator's.
        namespace_of: The Kubernetes namespace of the cluster that a clusterID stands for.
        has_cluster: Whether there is a CephCluster in a namespace that is served.
        sessions: The clients of a cluster's file systems, as far as they can be known now.
    """
    await until_served(manager.client, "NetworkFences", (FENCES, CLASSES))
    fences = manager.informers.informer(FENCES, NetworkFence, optional=True)
    classes = manager.informers.informer(CLASSES, NetworkFenceClass, optional=True)
    fences.add_index(BY_CLASS, lambda fence: (fence.spec.network_fence_class_name,))
    resolver = Resolver(classes, namespace_of)
    actor = Actor(
        client=manager.client,
        connections=connections,
        resolver=resolver,
        home=home,
        sessions=sessions,
        clock=time.time,
    )
    loop = ControlLoop(
        resource=FENCES,
        finalizer=FINALIZER,
        observe=Observer(fences, resolver, has_cluster, connections).observe,
        analyze=analyze,
        handlers=actor.handlers,
        show=show,
    )
    inner = KindReconciler(manager, loop, fences, clock=time.time)
    # One at a time: who shares a range with whom is read before it is let in.
    controller = Controller("networkfences", OursAlone(inner, fences, resolver, serves), workers=1)

    def of_class(found: NetworkFenceClass) -> Iterable[Request]:
        return itertools.starmap(Request, fences.keys_by_index(BY_CLASS, found.metadata.name))

    controller.watch(fences, predicate=any_of(generation_changed, annotations_changed))
    controller.watch(classes, of_class)
    manager.add(controller)
