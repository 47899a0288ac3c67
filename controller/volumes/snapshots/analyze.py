"""What to do for a VolumeSnapshotContent, from what is known about it. Pure.

A content carries the annotation `BEING_CREATED` and a finalizer from before its snapshot is taken. The snapshot's
handle comes from the volume's and from the VolumeSnapshot's uid. So whatever happens in between, either the snapshot
comes to be in the content's status, or what there is of it is destroyed with the content.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from controller.framework.plan import Plan, Step
from controller.volumes.snapshots import flow
from controller.volumes.snapshots.flow import Kind, ReleaseContent, Seen
from controller.volumes.snapshots.kinds import (
    BEING_CREATED,
    BEING_DELETED,
    CONTENT_FINALIZER,
    CONTENTS,
    is_in_group,
)

if TYPE_CHECKING:
    from controller.volumes.backend import Volume
    from controller.volumes.snapshots.kinds import VolumeSnapshotContent

KIND = Kind(
    what="snapshot",
    content=CONTENTS.kind,
    being_created=BEING_CREATED,
    being_deleted=BEING_DELETED,
    finalizer=CONTENT_FINALIZER,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentObservation:
    """What `analyze` decides by.

    Attributes:
        volume: The volume of which the snapshot is to be taken; None: no PersistentVolume has it.
        handle: The handle that the snapshot has, or is to have; empty: there can be none.
        problem: Why no snapshot can be taken or found; empty: one can.
        others: Other contents of the same snapshot that are not about to destroy it.
    """

    volume: Volume | None = None
    handle: str = ""
    problem: str = ""
    others: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TakeSnapshot:
    """Take the snapshot, and tell of it in the content's status."""

    volume: Volume
    handle: str


@dataclass(frozen=True, slots=True)
class FindSnapshot:
    """Look for a snapshot that somebody else took, and tell of it in the content's status."""

    handle: str


@dataclass(frozen=True, slots=True)
class DestroySnapshot:
    """Destroy the snapshot. The consent is the deletion policy, Delete."""

    handle: str
    volume: Volume | None


def analyze(content: VolumeSnapshotContent, seen: ContentObservation) -> Plan:
    """What to do for a content of a driver that is served. Pure."""
    subject, metadata = f"snapshot {content.metadata.name}", content.metadata
    if is_in_group(content):
        return Plan(steps=_member(content, subject))
    if metadata.deletion_timestamp is not None:
        destroy = DestroySnapshot(seen.handle, seen.volume)
        return Plan(
            steps=flow.delete(KIND, subject, _seen(content), handle=seen.handle, others=seen.others, destroy=destroy)
        )
    if content.status.ready_to_use and content.status.snapshot_handle:
        return flow.done(KIND, subject, metadata)
    if seen.problem:
        return flow.refuse(subject, seen.problem)
    if content.spec.source.snapshot_handle:
        find = FindSnapshot(content.spec.source.snapshot_handle)
        return Plan(steps=(Step(subject=subject, action=find, reason="somebody else took it"),))
    if seen.volume is None:
        return Plan()
    take = Step(
        subject=subject,
        action=TakeSnapshot(seen.volume, seen.handle),
        reason=f"of volume {content.spec.source.volume_handle}",
        deadline=flow.DEADLINE,
    )
    return flow.take(KIND, subject, metadata, take)


def is_doomed(content: VolumeSnapshotContent) -> bool:
    """Whether a content's snapshot is to be destroyed, if no other content needs it. Pure."""
    return not is_in_group(content) and flow.is_doomed(KIND, _seen(content))


def reprieve(planned: VolumeSnapshotContent, now: VolumeSnapshotContent, others: tuple[str, ...]) -> str:
    """Why a snapshot that was to be destroyed is kept after all; empty: it is not. Pure.

    Args:
        planned: Its content as it was when that was decided.
        now: The same as it is now.
        others: Other contents of the snapshot that are not about to destroy it.
    """
    if is_in_group(now):
        return "is one of a group by now"
    return flow.reprieve(KIND, _seen(planned), _seen(now), others)


def _seen(content: VolumeSnapshotContent) -> Seen:
    return Seen(
        metadata=content.metadata,
        policy=content.spec.deletion_policy,
        handle=content.status.snapshot_handle or "",
        is_given=bool(content.spec.source.snapshot_handle),
        bound_to=content.spec.volume_snapshot_ref.uid,
    )


def _member(content: VolumeSnapshotContent, subject: str) -> tuple[Step, ...]:
    """For a snapshot that is one of a group: it is taken and destroyed with the others, never by itself."""
    status = content.status
    if content.metadata.deletion_timestamp is not None:
        if CONTENT_FINALIZER not in content.metadata.finalizers or BEING_DELETED not in content.metadata.annotations:
            return ()
        return (Step(subject=subject, action=ReleaseContent(), reason="its snapshot goes with its group"),)
    if not status.snapshot_handle or status.ready_to_use:
        return ()
    # Before its release 8.4, the snapshot-controller has told nothing but the handle.
    find = FindSnapshot(status.snapshot_handle)
    return (Step(subject=subject, action=find, reason="it was taken with its group"),)
