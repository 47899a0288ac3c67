"""What to do for a VolumeGroupSnapshotContent, from what is known about it. Pure.

As for a VolumeSnapshotContent: the annotation `BEING_CREATED` and a finalizer are there from before the snapshots are
taken, and all handles come from the volumes' and from the VolumeGroupSnapshot's uid. So either all snapshots come to be
in the content's status, or what there is of them is destroyed with the content.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from controller.framework.plan import Plan, Step
from controller.volumes.groups.kinds import BEING_CREATED, BEING_DELETED, CONTENT_FINALIZER, CONTENT_KIND, given_handle
from controller.volumes.snapshots import flow
from controller.volumes.snapshots.analyze import is_doomed as is_doomed_alone
from controller.volumes.snapshots.flow import Kind, Seen
from controller.volumes.snapshots.kinds import group_handle
from controller.volumes.snapshots.kinds import handles as handles_alone

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from controller.volumes.features import Member
    from controller.volumes.groups.kinds import VolumeGroupSnapshotContent
    from controller.volumes.snapshots.kinds import VolumeSnapshotContent


KIND = Kind(
    what="group snapshot",
    content=CONTENT_KIND,
    being_created=BEING_CREATED,
    being_deleted=BEING_DELETED,
    finalizer=CONTENT_FINALIZER,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupObservation:
    """What `analyze` decides by.

    Attributes:
        handle: The handle that the group snapshot has, or is to have; empty: there can be none.
        members: Its snapshots, those that are there or those that are to be taken.
        problem: Why no group snapshot can be taken or found; empty: one can.
        others: Other contents of the same group snapshot that are not about to destroy it.
    """

    handle: str = ""
    members: tuple[Member, ...] = ()
    problem: str = ""
    others: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TakeGroup:
    """Take the snapshots, and tell of them in the content's status."""

    handle: str
    members: tuple[Member, ...]


@dataclass(frozen=True, slots=True)
class FindGroup:
    """Look for snapshots that somebody else took, and tell of them in the content's status."""

    handle: str
    members: tuple[Member, ...]


@dataclass(frozen=True, slots=True)
class DestroyGroup:
    """Destroy the snapshots, but for those that contents outside the group have, too. The consent is the deletion
    policy, Delete.
    """

    handle: str
    members: tuple[Member, ...]


def analyze(content: VolumeGroupSnapshotContent, seen: GroupObservation) -> Plan:
    """What to do for a content of a driver that is served. Pure."""
    subject, metadata = f"group snapshot {content.metadata.name}", content.metadata
    if metadata.deletion_timestamp is not None:
        destroy = DestroyGroup(seen.handle, seen.members)
        return Plan(
            steps=flow.delete(KIND, subject, _seen(content), handle=seen.handle, others=seen.others, destroy=destroy)
        )
    if content.status.ready_to_use and content.status.volume_group_snapshot_handle:
        return flow.done(KIND, subject, metadata)
    if seen.problem:
        return flow.refuse(subject, seen.problem)
    if given_handle(content):
        find = FindGroup(seen.handle, seen.members)
        return Plan(steps=(Step(subject=subject, action=find, reason="somebody else took it"),))
    take = Step(
        subject=subject,
        action=TakeGroup(seen.handle, seen.members),
        reason=f"of {len(seen.members)} volumes",
        deadline=flow.DEADLINE,
    )
    return flow.take(KIND, subject, metadata, take)


def is_doomed(content: VolumeGroupSnapshotContent) -> bool:
    """Whether a content's snapshots are to be destroyed, if no other content needs them. Pure."""
    return flow.is_doomed(KIND, _seen(content))


def reprieve(planned: VolumeGroupSnapshotContent, now: VolumeGroupSnapshotContent, others: tuple[str, ...]) -> str:
    """Why snapshots that were to be destroyed are kept after all; empty: they are not. Pure.

    Args:
        planned: Their content as it was when that was decided.
        now: The same as it is now.
        others: Other contents of the group snapshot that are not about to destroy it.
    """
    return flow.reprieve(KIND, _seen(planned), _seen(now), others)


def users_of(
    snapshots: Collection[str], group: str, found: Iterable[VolumeSnapshotContent]
) -> dict[str, tuple[str, ...]]:
    """Who outside a group needs its snapshots: by the handle of each, contents that are not about to destroy it. Pure.

    Args:
        snapshots: The handles of the group's snapshots.
        group: The group's handle.
        found: VolumeSnapshotContents.
    """
    users: dict[str, list[str]] = {}
    for content in found:
        if group_handle(content) == group or is_doomed_alone(content):
            continue
        for handle in handles_alone(content):
            if handle in snapshots:
                users.setdefault(handle, []).append(content.metadata.name)
    return {handle: tuple(sorted(names)) for handle, names in users.items()}


def _seen(content: VolumeGroupSnapshotContent) -> Seen:
    return Seen(
        metadata=content.metadata,
        policy=content.spec.deletion_policy,
        handle=content.status.volume_group_snapshot_handle or "",
        is_given=bool(given_handle(content)),
        bound_to=content.spec.volume_group_snapshot_ref.uid,
    )
