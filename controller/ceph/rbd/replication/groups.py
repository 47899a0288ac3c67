"""VolumeGroupReplications for drivers of this operator: refused, with a word of why.

They promise copies of several volumes that are all of one moment. Ceph mirrors each image by itself: neither librbd
18.2 nor 20.2 has a call to mirror a group. Copies of different moments would look like what was promised until they are
needed.
"""

from __future__ import annotations

import itertools
import time
from typing import TYPE_CHECKING

import msgspec

from controller.apis.meta import Condition
from controller.ceph.rbd.replication.kinds import (
    GROUP_CLASSES,
    GROUPS,
    PRIMARY,
    VolumeGroupReplication,
    VolumeGroupReplicationClass,
)
from controller.framework.status import timestamp
from controller.runtime import Controller, Request, Result, generation_changed
from controller.runtime.conditions import set_conditions
from controller.volumes.presence import until_served

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from controller.ceph.rbd.replication.kinds import ReplicationStatus
    from controller.runtime import Manager
    from informers import Informer

WHY = (
    "Ceph mirrors each image by itself, and so cannot copy several as of one moment: nothing is replicated by this "
    "object. Make a VolumeReplication for each claim, if copies of different moments are of use"
)
BY_CLASS = "class"
"""The index of VolumeGroupReplications by their class."""


def refused(group: VolumeGroupReplication, now: float) -> ReplicationStatus:
    """The status of a VolumeGroupReplication, with the conditions of csi-addons. Pure."""
    failed = "FailedToPromote" if group.spec.replication_state == PRIMARY else "FailedToDemote"
    generation = group.metadata.generation
    conditions = [
        Condition(type=type_, status="False", reason=reason, message=WHY, observed_generation=generation)
        for type_, reason in (("Completed", failed), ("Validated", "PrerequisiteNotMet"))
    ]
    return msgspec.structs.replace(
        group.status,
        state="Unknown",
        message=WHY,
        conditions=set_conditions(group.status.conditions, conditions, timestamp(now)),
        observed_generation=generation,
    )


class Refusals:
    """Tells each VolumeGroupReplication of a driver of this operator that it is refused; leaves others alone.

    Args:
        manager: Writes the status.
        groups: The cache of VolumeGroupReplications.
        classes: The cache of their classes.
        serves: Whether a driver is this operator's.
        clock: Seconds since the epoch.
    """

    def __init__(
        self,
        manager: Manager,
        groups: Informer[VolumeGroupReplication],
        classes: Informer[VolumeGroupReplicationClass],
        serves: Callable[[str], bool],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._manager, self._groups, self._classes, self._serves, self._clock = manager, groups, classes, serves, clock

    async def reconcile(self, request: Request) -> Result:
        """See `controller.runtime.Reconciler`."""
        found = self._groups.get(request)
        if found is None or found.spec.external or found.metadata.deletion_timestamp is not None:
            return Result()
        named = self._classes.get("", found.spec.volume_group_replication_class_name)
        if named is None or not self._serves(named.spec.provisioner):
            return Result()
        shown, meta = refused(found, self._clock()), found.metadata
        if shown != found.status:
            status = msgspec.to_builtins(shown)
            await self._manager.applier.apply_status(GROUPS, meta.namespace, meta.name, status, uid=meta.uid)
        return Result()


async def serve(manager: Manager, serves: Callable[[str], bool]) -> None:
    """Adds the controller of VolumeGroupReplications once the API server has them.

    Args:
        manager: The process.
        serves: Whether a driver is this operator's.
    """
    await until_served(manager.client, "VolumeGroupReplications", (GROUPS, GROUP_CLASSES))
    groups = manager.informers.informer(GROUPS, VolumeGroupReplication, cluster_wide=True, optional=True)
    classes = manager.informers.informer(GROUP_CLASSES, VolumeGroupReplicationClass, optional=True)
    groups.add_index(BY_CLASS, lambda group: (group.spec.volume_group_replication_class_name,))
    controller = Controller("volumegroupreplications", Refusals(manager, groups, classes, serves), workers=1)

    def of_class(found: VolumeGroupReplicationClass) -> Iterable[Request]:
        return itertools.starmap(Request, groups.keys_by_index(BY_CLASS, found.metadata.name))

    controller.watch(groups, predicate=generation_changed)
    controller.watch(classes, of_class)
    manager.add(controller)
