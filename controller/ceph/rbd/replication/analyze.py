"""What a VolumeReplication asks for against what there is of its image: the plan between the two. Pure.

Who may write is decided by one of the clusters at a time: the image is demoted in the one, once its copy in the other
follows it, and promoted in the other once its last words have come. A copy that does not follow when the image is
demoted never learns what it has missed, and looks as if it had all. Without the one, the other is promoted by force,
and by a word of a person: both may have written then. Of two that have, the copy that is discarded is named by its id,
which no other copy ever has: the consent ends with what it was given for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from controller.ceph.mirroring import analyze as mirroring
from controller.ceph.mirroring.place import ImageState, Mode
from controller.ceph.mirroring.wanted import Wanted
from controller.ceph.rbd.replication.act import (
    DISCARD,
    FORCE,
    Demote,
    DisableImage,
    EnableImage,
    Promote,
    Resync,
)
from controller.ceph.rbd.replication.kinds import PRIMARY, RESYNC
from controller.framework.kind import LetGo
from controller.framework.plan import Plan, Step
from controller.framework.text import some

if TYPE_CHECKING:
    from collections.abc import Iterator

    from controller.ceph.rbd.replication.image import ImageMirror
    from controller.ceph.rbd.replication.kinds import VolumeReplication
    from controller.ceph.rbd.replication.observe import ReplicationObservation

AT_REST, WHILE_WAITING = 60.0, 5.0
"""Seconds after which to look again at what is as it should be, and at what waits: no event tells of images."""
MAX_NAMED = 10
"""VolumeAttachments that are named."""


def analyze(replication: VolumeReplication, seen: ReplicationObservation) -> Plan:
    """The plan for the replication of a volume."""
    deleting = replication.metadata.deletion_timestamp is not None
    steps = tuple(_deletion(replication, seen) if deleting else _steps(replication, seen))
    return Plan(steps=steps, look_again=WHILE_WAITING if steps else AT_REST)


def _steps(replication: VolumeReplication, seen: ReplicationObservation) -> Iterator[Step]:
    subject, wanted = (
        f"image {seen.place.image or replication.spec.data_source.name}",
        replication.spec.replication_state,
    )
    if seen.problem:
        yield Step(subject=subject, reason="it cannot be replicated as is asked for", waits_for=seen.problem)
    elif seen.waits_for:
        yield Step(subject=subject, reason="to be looked at", waits_for=seen.waits_for)
    elif seen.image is None:
        reason = "it is not here" + (", as after a resync" if wanted != PRIMARY else "")
        yield Step(subject=subject, reason=reason, waits_for="a copy of it from the other cluster")
    elif not seen.image.enabled:
        yield from _enabling(subject, seen.image, wanted)
    elif wanted == PRIMARY:
        yield from _primary(subject, replication, seen, seen.image)
    else:
        yield from _secondary(subject, replication, seen, seen.image)


def _enabling(subject: str, image: ImageMirror, wanted: str) -> Iterator[Step]:
    if wanted != PRIMARY:
        yield Step(subject=subject, reason="it is not mirrored", waits_for="replicationState to be primary once")
    elif image.pool_mode is not Mode.IMAGE:
        waits_for = f"its pool to be mirrored with mode {Mode.IMAGE.word}: it has {image.pool_mode.word}"
        yield Step(subject=subject, reason="it is not mirrored", waits_for=waits_for)
    elif image.parent:
        waits_for = f"it to be flattened, as it is a clone of {image.parent}, or for that to be mirrored first"
        yield Step(subject=subject, reason="it is not mirrored", waits_for=waits_for)
    else:
        yield Step(subject=subject, action=EnableImage(), reason="it is not mirrored", deadline=90.0)


def _primary(
    subject: str, replication: VolumeReplication, seen: ReplicationObservation, image: ImageMirror
) -> Iterator[Step]:
    if image.primary:
        if seen.scheduled is not None:
            wanted = Wanted(mode=Mode.IMAGE, schedules=seen.schedules)
            yield from mirroring.schedules_of(seen.place, wanted, seen.scheduled)
        return
    reason, generation = "it is to be primary here", str(replication.metadata.generation)
    if image.local.is_demoted and image.remote.is_demoted and image.settled:
        yield Step(subject=subject, action=Promote(), reason=f"{reason}, and nobody writes to it", deadline=120.0)
    elif replication.metadata.annotations.get(FORCE) == generation:
        yield Step(subject=subject, action=Promote(force=True), reason=f"{reason}, by force", deadline=120.0)
    else:
        there = image.remote.description.partition(",")[0]
        said = f" (its daemon says {there!r})" if image.remote.up else ""
        waits_for = f"it to be demoted in the other cluster{said}, and its last words to come"
        force = f'annotation {FORCE}: "{generation}", where that cluster is lost, or never had it as primary since'
        yield Step(subject=subject, reason=reason, waits_for=f"{waits_for}; or {force}")


def _secondary(
    subject: str, replication: VolumeReplication, seen: ReplicationObservation, image: ImageMirror
) -> Iterator[Step]:
    wanted = replication.spec.replication_state
    if image.primary:
        reason = "it is to be secondary here"
        waits_for = f"{some(seen.users, MAX_NAMED)} to be gone" if seen.users else _follower(image)
        yield Step(subject=subject, action=Demote(), reason=reason, waits_for=waits_for, deadline=90.0)
        return
    apart = image.local.up and image.local.state is ImageState.ERROR
    named = replication.metadata.annotations.get(DISCARD) == image.image_id
    if not (apart or (wanted == RESYNC and named)):
        return
    reason = "both clusters have written to it" if apart else "it is to be made anew"
    action = Resync(image.image_id)
    consent = "" if named else f"annotation {DISCARD}: {image.image_id}, which discards what was written here"
    waits_for = "" if image.remote.is_primary else "the daemon of the other cluster to say that it is primary there"
    yield Step(subject=subject, action=action, reason=reason, waits_for=waits_for, consent=consent)


def _follower(image: ImageMirror) -> str:
    """What a primary waits for before it is demoted. Where both are primary, one of the copies is discarded anyway."""
    if image.remote.follows or image.remote.is_primary:
        return ""
    said = image.remote.description.partition(",")[0] if image.remote.up else "nothing"
    return f"its copy in the other cluster to follow it (its daemon says {said!r})"


def _deletion(replication: VolumeReplication, seen: ReplicationObservation) -> Iterator[Step]:
    subject, reason = f"image {seen.place.image}", "the VolumeReplication is being deleted"
    release = Step(subject=subject, action=LetGo(), reason=reason)
    if seen.volume is None or seen.problem or seen.image is None:
        if seen.volume is not None and seen.waits_for:
            yield Step(subject=subject, reason=reason, waits_for=seen.waits_for)
        else:
            yield release
        return
    if seen.image.enabled and seen.image.primary:
        if seen.scheduled is not None:
            yield from mirroring.schedules_of(seen.place, Wanted(mode=Mode.IMAGE), seen.scheduled, lane=subject)
        why = f"{reason}: the other cluster deletes its copy"
        yield Step(subject=subject, action=DisableImage(), reason=why, deadline=90.0)
    yield release
