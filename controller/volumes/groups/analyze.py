"""What to do for a VolumeGroupSnapshotContent, from what is known about it. Pure.

As for a VolumeSnapshotContent: the annotation `BEING_CREATED` and a finalizer are there from before the snapshots are
taken, and all handles come from the volumes' and from the VolumeGroupSnapshot's uid. So either all snapshots come to be
in the content's status, or what there is of them is destroyed with the content.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from controller.framework.plan import Plan, Step
from controller.volumes.groups.kinds import BEING_CREATED, BEING_DELETED, CONTENT_FINALIZER, given_handle
from controller.volumes.snapshots.analyze import DEADLINE, LOOK_AGAIN
from controller.volumes.snapshots.analyze import is_doomed as is_doomed_alone
from controller.volumes.snapshots.kinds import group_handle
from controller.volumes.snapshots.kinds import handles as handles_alone

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from controller.volumes.features import Member
    from controller.volumes.groups.kinds import VolumeGroupSnapshotContent
    from controller.volumes.snapshots.kinds import VolumeSnapshotContent


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
class MarkGroup:
    """Note on the content that its snapshots are about to be taken, and keep it from going before that is settled."""


@dataclass(frozen=True, slots=True)
class TakeGroup:
    """Take the snapshots, and tell of them in the content's status."""

    handle: str
    members: tuple[Member, ...]


@dataclass(frozen=True, slots=True)
class UnmarkGroup:
    """Take the note off: the content's status has the snapshots."""


@dataclass(frozen=True, slots=True)
class FindGroup:
    """Look for snapshots that somebody else took, and tell of them in the content's status."""

    handle: str
    members: tuple[Member, ...]


@dataclass(frozen=True, slots=True)
class RefuseGroup:
    """Tell in the content's status why there is no group snapshot."""

    problem: str


@dataclass(frozen=True, slots=True)
class DestroyGroup:
    """Destroy the snapshots, but for those that contents outside the group have, too. The consent is the deletion
    policy, Delete.
    """

    handle: str
    members: tuple[Member, ...]


@dataclass(frozen=True, slots=True)
class ReleaseGroup:
    """Let a content that is being deleted go; `shared`: contents whose group snapshot it is, too, and which keep it."""

    shared: tuple[str, ...] = ()


def analyze(content: VolumeGroupSnapshotContent, seen: GroupObservation) -> Plan:
    """What to do for a content of a driver that is served. Pure."""
    subject = f"group snapshot {content.metadata.name}"
    if content.metadata.deletion_timestamp is not None:
        return Plan(steps=_delete(content, seen, subject))
    marked = BEING_CREATED in content.metadata.annotations
    unmark = Step(subject=subject, action=UnmarkGroup(), reason="its status has the snapshots")
    if content.status.ready_to_use and content.status.volume_group_snapshot_handle:
        return Plan(steps=(unmark,) if marked else ())
    if seen.problem:
        refuse = Step(subject=subject, action=RefuseGroup(seen.problem), reason=seen.problem)
        return Plan(steps=(refuse,), look_again=LOOK_AGAIN)
    if given_handle(content):
        find = FindGroup(seen.handle, seen.members)
        return Plan(steps=(Step(subject=subject, action=find, reason="somebody else took it"),))
    take = Step(
        subject=subject,
        action=TakeGroup(seen.handle, seen.members),
        reason=f"of {len(seen.members)} volumes",
        deadline=DEADLINE,
    )
    if marked and CONTENT_FINALIZER in content.metadata.finalizers:
        return Plan(steps=(take, unmark))
    mark = Step(subject=subject, action=MarkGroup(), reason="its snapshots are about to be taken")
    return Plan(steps=(mark, take, unmark))


def is_doomed(content: VolumeGroupSnapshotContent) -> bool:
    """Whether a content's snapshots are to be destroyed, if no other content needs them. Pure."""
    return _may_go(content) and content.spec.deletion_policy == "Delete"


def reprieve(planned: VolumeGroupSnapshotContent, now: VolumeGroupSnapshotContent, others: tuple[str, ...]) -> str:
    """Why snapshots that were to be destroyed are kept after all; empty: they are not. Pure.

    Args:
        planned: Their content as it was when that was decided.
        now: The same as it is now.
        others: Other contents of the group snapshot that are not about to destroy it.
    """
    if now.metadata.uid != planned.metadata.uid:
        return f"has uid {now.metadata.uid}, not {planned.metadata.uid}: it is another"
    if not is_doomed(now):
        return f"has deletion policy {now.spec.deletion_policy} by now, or is not being deleted"
    has = now.status.volume_group_snapshot_handle or ""
    if has != (planned.status.volume_group_snapshot_handle or ""):
        return f"has the group snapshot {has} by now"
    return f"has the same group snapshot as VolumeGroupSnapshotContent {', '.join(others)}" if others else ""


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


def _may_go(content: VolumeGroupSnapshotContent) -> bool:
    if content.metadata.deletion_timestamp is None:
        return False
    # The snapshot-controller says so for a content that is bound; for one that never was there is nobody to say it.
    unbound = bool(given_handle(content)) and not content.spec.volume_group_snapshot_ref.uid
    return unbound or BEING_DELETED in content.metadata.annotations


def _delete(content: VolumeGroupSnapshotContent, seen: GroupObservation, subject: str) -> tuple[Step, ...]:
    if CONTENT_FINALIZER not in content.metadata.finalizers or not _may_go(content):
        return ()
    release = Step(subject=subject, action=ReleaseGroup(), reason=f"deletion policy {content.spec.deletion_policy}")
    if not is_doomed(content) or not seen.handle:
        return (release,)
    if seen.others:
        reason = f"its group snapshot is also that of {', '.join(seen.others)}"
        return (Step(subject=subject, action=ReleaseGroup(seen.others), reason=reason),)
    destroy = Step(
        subject=subject,
        action=DestroyGroup(seen.handle, seen.members),
        reason="it is being deleted, and its deletion policy is Delete",
        deadline=DEADLINE,
    )
    return (destroy, release)
