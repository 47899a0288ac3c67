"""The reconciler of how much fits into volumes of each class: asks the storage system, and tells the scheduler."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog

from controller.framework.backoff import Backoffs
from controller.framework.plan import carry_out, conclude
from controller.runtime.kube import CSI_STORAGE_CAPACITY, DEPLOYMENT
from controller.runtime.reconciler import Request, Result
from controller.volumes.backend import ParameterError
from controller.volumes.capacity.analyze import LOOK, MANAGER, UNKNOWN, ForgetRoom, TellRoom, analyze
from controller.volumes.claims.objects import WAIT_FOR_FIRST_CONSUMER
from informers import ApiError

if TYPE_CHECKING:
    from controller.runtime.apply import Applier
    from controller.runtime.kube import CsiStorageCapacity, StorageClass
    from controller.volumes.caches import Caches
    from controller.volumes.drivers import Drivers
    from controller.volumes.features import Room, Rooms
    from informers import Client, Informer, JsonObject

_log = structlog.get_logger(__name__)

BY_CLASS = "class"
"""The index of CSIStorageCapacity objects by the class that they are of."""


@dataclass(slots=True)
class Capacities:
    """The reconciler of StorageClasses whose claims wait for a pod.

    Attributes:
        client: Reads and deletes.
        applier: Writes.
        caches: What there is.
        told: The CSIStorageCapacity objects of ours, with the index `BY_CLASS`.
        drivers: The storage systems.
        namespace: The operator's, where the objects are.
        backoffs: Which lanes failed.
    """

    client: Client
    applier: Applier
    caches: Caches
    told: Informer[CsiStorageCapacity]
    drivers: Drivers
    namespace: str
    backoffs: Backoffs = field(default_factory=Backoffs)
    _owner: JsonObject | None = None

    async def reconcile(self, request: Request) -> Result:
        """See `controller.runtime.Reconciler`. Where it is not known how much fits, what was told stays."""
        storage_class = self.caches.classes.get("", request.name)
        rooms: tuple[Room, ...] = ()
        driver, seconds = "", None
        if storage_class is not None and storage_class.volume_binding_mode == WAIT_FOR_FIRST_CONSUMER:
            driver = storage_class.provisioner
            if self.drivers.knowing(driver) is not None:  # its cluster may come
                seconds = LOOK
            asked = self._asked(storage_class)
            if asked is not None:
                rooms = await _of(storage_class, asked)
        plan = analyze(request.name, driver, self.namespace, rooms, self.told.by_index(BY_CLASS, request.name))
        outcome = await carry_out(plan, {TellRoom: self._tell, ForgetRoom: self._forget}, request, self.backoffs)
        if storage_class is None:
            self.backoffs.forget(request)
        return conclude(outcome, seconds)

    def _asked(self, storage_class: StorageClass) -> Rooms | None:
        """Who knows how much fits into volumes of a class; None: nobody here."""
        backend = self.drivers.serving(storage_class.provisioner)
        return self.drivers.rooms.get(backend.name) if backend is not None else None

    async def _tell(self, action: TellRoom) -> None:
        wanted = action.wanted
        if owner := await self._deployment():
            wanted = {**wanted, "metadata": {**wanted["metadata"], "ownerReferences": [owner]}}
        await self.applier.apply(wanted, informer=self.told)

    async def _forget(self, action: ForgetRoom) -> None:
        await self.client.delete(CSI_STORAGE_CAPACITY, self.namespace, action.name, uid=action.uid)

    async def _deployment(self) -> JsonObject:
        """The reference to the operator's Deployment, with which the objects go; empty: it runs without one."""
        if self._owner is None:
            try:
                metadata = (await self.client.get(DEPLOYMENT, self.namespace, MANAGER))["metadata"]
            except ApiError as error:
                if not error.is_not_found:
                    raise
                self._owner = {}
            else:
                typed = {"apiVersion": DEPLOYMENT.api_version, "kind": DEPLOYMENT.kind}
                self._owner = {**typed, "name": metadata["name"], "uid": metadata["uid"]}
        return self._owner


async def _of(storage_class: StorageClass, rooms: Rooms) -> tuple[Room, ...]:
    try:
        return await rooms.of(storage_class)
    except ParameterError as error:
        _log.info("room is not known", storage_class=storage_class.metadata.name, error=str(error))
        return UNKNOWN
