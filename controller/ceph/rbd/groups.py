"""Snapshots of several RBD images at one moment (`controller.volumes.features.Groups`).

A group's handle has the form of its members' handles, with the group's uid. Once all members are complete, nothing else
is left of the group in Ceph: each member is an image of its own, as any other snapshot.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from controller.ceph.access.threads import Lane
from controller.ceph.rbd import encryption, moments
from controller.ceph.rbd.images import PoolMissingError, wait_for_owner
from controller.ceph.rbd.snapshots import image_of, layout_of, parse
from controller.ceph.rbd.volumes import image_name
from controller.volumes.backend import BackendError, ParameterError, Volume
from controller.volumes.features import Snapshot

if TYPE_CHECKING:
    from collections.abc import Sequence

    from controller.ceph.rbd.calls import Calls
    from controller.ceph.rbd.snapshots import RbdSnapshots
    from controller.volumes.features import Member

GROUP_PREFIX = "csi-group-"


class RbdGroups:
    """Takes and destroys group snapshots of images of one pool.

    Args:
        calls: Makes the calls.
        snapshots: Takes and destroys single ones.
    """

    def __init__(self, calls: Calls, snapshots: RbdSnapshots) -> None:
        self._calls, self._snapshots = calls, snapshots

    def handle(self, volumes: Sequence[Volume], uid: str) -> str:
        """The handle that a snapshot of that uid would have, of any of the volumes."""
        first, *others = volumes
        handle = self._snapshots.handle(first, uid)
        for volume in others:
            if self._snapshots.handle(volume, uid) != handle:
                raise ParameterError(
                    f"volume {volume.handle} is in {_place(volume)}: expected {_place(first)}, as volume "
                    f"{first.handle}, since a group has images of one pool"
                )
        return handle

    async def take(self, handle: str, members: Sequence[Member]) -> tuple[Snapshot, ...]:
        """Keeps one moment of all images, makes a copy of each, and lets the moment go."""
        volumes = [member.volume for member in members if member.volume is not None]
        if not volumes or len(volumes) < len(members):
            raise BackendError(f"group snapshot {handle}: not all of its volumes are known")
        targets = [image_of(volume, member.handle) for volume, member in zip(volumes, members, strict=True)]
        parts = [
            moments.Part(image_name(self._calls.places.resolve(volume)), image_name(target))
            for volume, target in zip(volumes, targets, strict=True)
        ]
        group = _named(replace(targets[0], handle=handle))
        name = image_name(group)

        def keep(_: Any, ioctx: Any) -> None:
            for volume in volumes:
                wait_for_owner(ioctx, self._calls.places.resolve(volume), "no group snapshot is taken")
            with self._calls.changes.alone(group, "taken"):
                moments.keep(ioctx, name, parts)

        await self._calls.on_pool(group, keep, lane=Lane.LONG, kind="group")
        for volume, target, part in zip(volumes, targets, parts, strict=True):
            await self._copy(name, volume, target, part)
        taken = [await self._snapshots.settle(target) for target in targets]
        await self._forget(group)
        return tuple(taken)

    async def destroy(self, driver: str, handle: str, members: Sequence[Member]) -> None:
        """Lets the moment go, if it is kept, and destroys each member as any other snapshot."""
        located = await self._snapshots.located(driver, handle)
        if located is not None:
            with suppress(PoolMissingError):
                await self._forget(_named(located))
        for member in members:
            await self._snapshots.destroy(driver, member.handle, member.volume)

    async def _copy(self, group: str, volume: Volume, target: Volume, part: moments.Part) -> None:
        def copy(_: Any, ioctx: Any) -> None:
            moments.copy(ioctx, group, part, layout_of(volume))
            encryption.inherit(ioctx, part.copy, volume.handle)

        await self._snapshots.make_copy(target, copy, lane=Lane.LONG)

    async def _forget(self, group: Volume) -> None:
        def forget(_: Any, ioctx: Any) -> None:
            with self._calls.changes.alone(group, "taken apart"):
                moments.forget(ioctx, image_name(group))

        await self._calls.on_pool(group, forget, lane=Lane.LONG, kind="group")


def _named(image: Volume) -> Volume:
    """What stands for a group in calls: a volume with its handle and pool, and its name in place of an image's."""
    return replace(image, attributes={**image.attributes, "imageName": f"{GROUP_PREFIX}{image.handle[-36:]}"})


def _place(volume: Volume) -> str:
    found = parse(volume.handle)
    pool = volume.attributes.get("pool") or (found.pool_id if found is not None else "")
    return f"pool {pool} of clusterID {found.cluster if found is not None else ''}"
