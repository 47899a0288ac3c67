"""What a CephFilesystemSubVolumeGroup asks for against what the cluster has: the plan between the two. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from controller.ceph.subvolumegroup.act import CreateGroup, PinGroup, RemoveGroup, ResizeGroup
from controller.ceph.subvolumegroup.spec import group_name, pinning, quota
from controller.framework.kind import LetGo
from controller.framework.plan import Plan, Step
from controller.framework.text import some

if TYPE_CHECKING:
    from collections.abc import Iterator

    from controller.apis.ceph import CephFilesystemSubVolumeGroup
    from controller.ceph.subvolumegroup.observe import GroupObservation

AT_REST, WHILE_WAITING = 60.0, 10.0
"""Seconds after which to look again at a group that is as it should be, and at one that waits for something."""
MAX_NAMED = 10
"""Subvolumes that are named."""


def analyze(group: CephFilesystemSubVolumeGroup, seen: GroupObservation) -> Plan:
    """The plan for a group."""
    deleting = group.metadata.deletion_timestamp is not None
    steps = tuple(_deletion(group, seen) if deleting else _steps(group, seen))
    return Plan(steps=steps, look_again=WHILE_WAITING if steps else AT_REST)


def kept(group: CephFilesystemSubVolumeGroup, seen: GroupObservation) -> tuple[str, ...]:
    """What the group has otherwise than the spec asks, and cannot be changed, in words."""
    wanted = group.spec.data_pool_name
    if not wanted or not seen.present or not seen.data_pool or seen.data_pool == wanted:
        return ()
    return (f"dataPoolName: the group's data is in pool {seen.data_pool}, not {wanted}: make another group",)


def told_pinning(group: CephFilesystemSubVolumeGroup) -> str:
    """The pinning as the status has it; upstream's form."""
    return "=".join(pinning(group.spec))


def _steps(group: CephFilesystemSubVolumeGroup, seen: GroupObservation) -> Iterator[Step]:
    filesystem, name, spec = group.spec.filesystem_name, group_name(group), group.spec
    subject, wanted = f"group {name}", quota(group.spec)
    if seen.waits_for:
        yield Step(subject=subject, reason="to be compared with the cluster", waits_for=seen.waits_for)
        return
    if not seen.present:
        action = CreateGroup(filesystem, name, wanted, spec.data_pool_name)
        yield Step(subject=subject, action=action, reason="it does not exist")
    elif seen.quota != wanted:
        reason = f"its quota is {seen.quota}, wanted {wanted}"
        yield Step(
            subject=subject, action=ResizeGroup(filesystem, name, wanted), reason=reason, lane=f"{subject} quota"
        )
    # Ceph does not tell how a group is pinned; the status has what it was told last.
    if not seen.present or (group.status.info or {}).get("pinning") != told_pinning(group):
        yield Step(
            subject=subject,
            action=PinGroup(filesystem, name, *pinning(spec)),
            reason=f"it is to be pinned by {told_pinning(group)}",
        )


def _deletion(group: CephFilesystemSubVolumeGroup, seen: GroupObservation) -> Iterator[Step]:
    filesystem, name = group.spec.filesystem_name, group_name(group)
    subject, reason = f"group {name}", "the CephFilesystemSubVolumeGroup is being deleted"
    release = Step(subject=subject, action=LetGo(), reason=reason)
    if seen.gone:
        yield release
    elif seen.waits_for:
        yield Step(subject=subject, reason=reason, waits_for=seen.waits_for)
    elif seen.subvolumes:
        waits_for = f"its subvolumes to be deleted: {some(seen.subvolumes, MAX_NAMED)}"
        yield Step(subject=subject, reason=reason, waits_for=waits_for)
    else:
        if seen.present:
            yield Step(subject=subject, action=RemoveGroup(filesystem, name), reason=reason)
        yield release
