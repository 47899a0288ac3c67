"""What to do for a VolumeSnapshotContent, from what is known about it. Pure.

A content carries the annotation `BEING_CREATED` and a finalizer from before its snapshot is taken. The snapshot's
handle comes from the volume's and from the VolumeSnapshot's uid. So whatever happens in between, either the snapshot
comes to be in the content's status, or what there is of it is destroyed with the content.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from controller.framework.plan import Plan, Step
from controller.volumes.snapshots.kinds import BEING_CREATED, BEING_DELETED, CONTENT_FINALIZER, is_in_group

if TYPE_CHECKING:
    from controller.volumes.backend import Volume
    from controller.volumes.snapshots.kinds import VolumeSnapshotContent

DEADLINE = 600.0
"""Seconds to take or destroy a snapshot: now and then all data is copied; what takes longer goes on at the next try."""


LOOK_AGAIN = 60.0
"""Seconds until it is looked again whether what was wrong with a content has been put right elsewhere."""


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
class MarkContent:
    """Note on the content that its snapshot is about to be taken, and keep it from going before that is settled."""


@dataclass(frozen=True, slots=True)
class TakeSnapshot:
    """Take the snapshot, and tell of it in the content's status."""

    volume: Volume
    handle: str


@dataclass(frozen=True, slots=True)
class UnmarkContent:
    """Take the note off: the content's status has the snapshot."""


@dataclass(frozen=True, slots=True)
class FindSnapshot:
    """Look for a snapshot that somebody else took, and tell of it in the content's status."""

    handle: str


@dataclass(frozen=True, slots=True)
class RefuseSnapshot:
    """Tell in the content's status why there is no snapshot."""

    problem: str


@dataclass(frozen=True, slots=True)
class DestroySnapshot:
    """Destroy the snapshot. The consent is the deletion policy, Delete."""

    handle: str
    volume: Volume | None


@dataclass(frozen=True, slots=True)
class ReleaseContent:
    """Let a content that is being deleted go; `shared`: contents whose snapshot it is, too, and for which it stays."""

    shared: tuple[str, ...] = ()


def analyze(content: VolumeSnapshotContent, seen: ContentObservation) -> Plan:
    """What to do for a content of a driver that is served. Pure."""
    subject = f"snapshot {content.metadata.name}"
    if is_in_group(content):
        return Plan(steps=_member(content, subject))
    if content.metadata.deletion_timestamp is not None:
        return Plan(steps=_delete(content, seen, subject))
    marked = BEING_CREATED in content.metadata.annotations
    unmark = Step(subject=subject, action=UnmarkContent(), reason="its status has the snapshot")
    if content.status.ready_to_use and content.status.snapshot_handle:
        return Plan(steps=(unmark,) if marked else ())
    if seen.problem:
        refuse = Step(subject=subject, action=RefuseSnapshot(seen.problem), reason=seen.problem)
        return Plan(steps=(refuse,), look_again=LOOK_AGAIN)
    if content.spec.source.snapshot_handle:
        find = FindSnapshot(content.spec.source.snapshot_handle)
        return Plan(steps=(Step(subject=subject, action=find, reason="somebody else took it"),))
    if seen.volume is None:
        return Plan()
    take = Step(
        subject=subject,
        action=TakeSnapshot(seen.volume, seen.handle),
        reason=f"of volume {content.spec.source.volume_handle}",
        deadline=DEADLINE,
    )
    if marked and CONTENT_FINALIZER in content.metadata.finalizers:
        return Plan(steps=(take, unmark))
    mark = Step(subject=subject, action=MarkContent(), reason="its snapshot is about to be taken")
    return Plan(steps=(mark, take, unmark))


def is_doomed(content: VolumeSnapshotContent) -> bool:
    """Whether a content's snapshot is to be destroyed, if no other content needs it. Pure."""
    return _may_go(content) and content.spec.deletion_policy == "Delete"


def reprieve(planned: VolumeSnapshotContent, now: VolumeSnapshotContent, others: tuple[str, ...]) -> str:
    """Why a snapshot that was to be destroyed is kept after all; empty: it is not. Pure.

    Args:
        planned: Its content as it was when that was decided.
        now: The same as it is now.
        others: Other contents of the snapshot that are not about to destroy it.
    """
    if now.metadata.uid != planned.metadata.uid:
        return f"has uid {now.metadata.uid}, not {planned.metadata.uid}: it is another"
    if not is_doomed(now):
        return f"has deletion policy {now.spec.deletion_policy} by now, or is not being deleted"
    if (now.status.snapshot_handle or "") != (planned.status.snapshot_handle or ""):
        return f"has the snapshot {now.status.snapshot_handle} by now"
    return f"has the same snapshot as VolumeSnapshotContent {', '.join(others)}" if others else ""


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


def _may_go(content: VolumeSnapshotContent) -> bool:
    if content.metadata.deletion_timestamp is None or is_in_group(content):
        return False
    # The snapshot-controller says so for a content that is bound; for one that never was there is nobody to say it.
    unbound = bool(content.spec.source.snapshot_handle) and not content.spec.volume_snapshot_ref.uid
    return unbound or BEING_DELETED in content.metadata.annotations


def _delete(content: VolumeSnapshotContent, seen: ContentObservation, subject: str) -> tuple[Step, ...]:
    if CONTENT_FINALIZER not in content.metadata.finalizers or not _may_go(content):
        return ()
    release = Step(subject=subject, action=ReleaseContent(), reason=f"deletion policy {content.spec.deletion_policy}")
    if not is_doomed(content) or not seen.handle:
        return (release,)
    if seen.others:
        reason = f"its snapshot is also that of {', '.join(seen.others)}"
        return (Step(subject=subject, action=ReleaseContent(seen.others), reason=reason),)
    destroy = Step(
        subject=subject,
        action=DestroySnapshot(seen.handle, seen.volume),
        reason="it is being deleted, and its deletion policy is Delete",
        deadline=DEADLINE,
    )
    return (destroy, release)
