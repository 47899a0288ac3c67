"""When the space of a claim's volume is given back. Pure.

What fell due while the volume was attached is made up for once it is not. A try that failed counts as one: the next is
at the next time of the schedule, or when the claim asks for it by another text.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import msgspec

from controller.apis.operations import ScheduleSpec
from controller.framework.plan import Plan, Step
from controller.framework.schedules import Due, ScheduleError, due, times
from controller.volumes.attributes.analyze import is_of
from controller.volumes.backend import Volume, volume_from

if TYPE_CHECKING:
    from collections.abc import Sequence

    from controller.runtime.kube import PersistentVolume, PersistentVolumeClaim, StorageClass

SCHEDULE = "reclaimspace.csiaddons.openshift.io/schedule"
"""The annotation of a claim, or of its StorageClass, that says when: cron's notation, or @weekly and the like. The name
is that of csi-addons (https://github.com/csi-addons/kubernetes-csi-addons/blob/main/docs/reclaimspace.md).
"""

ASKED = "volumes.rook.io/reclaim-space"
"""The annotation of a claim that asks for it once: for each text anew."""

RECLAIMED = "volumes.rook.io/space-reclaimed"
"""The annotation of a claim that says what the last try has brought: `Reclaimed` as JSON."""

RECLAIM_DEADLINE = 560.0


class Reclaimed(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the last try has brought.

    Attributes:
        time: When it ended, in RFC 3339.
        asked: The text of the annotation that asked for it; empty: a schedule did.
        bytes: How many bytes less the volume takes; not there: that is not known.
        error: Why it failed; empty: it did not.
    """

    time: str
    asked: str = ""
    bytes: int | None = None
    error: str = ""


@dataclass(frozen=True, slots=True)
class ReclaimSpace:
    """Give back the space of what is zero in the volume, and say on the claim what it has brought."""

    volume: Volume
    asked: str


@dataclass(frozen=True, slots=True)
class RefuseSchedule:
    """Tell the user what is wrong with the schedule."""

    problem: str


def is_asked(claim: PersistentVolumeClaim, storage_class: StorageClass | None) -> bool:
    """Whether space of a claim's volume is ever to be given back. Pure."""
    return ASKED in claim.metadata.annotations or bool(_schedule(claim, storage_class)[0])


def analyze(
    claim: PersistentVolumeClaim,
    storage_class: StorageClass | None,
    volume: PersistentVolume | None,
    attached: Sequence[str],
    now: float,
) -> Plan:
    """What to do about the space of a claim's volume. Pure.

    Args:
        claim: The claim.
        storage_class: Its class; None: there is none that is known.
        volume: Its PersistentVolume, of a storage system that can give space back; None: there is none.
        attached: The nodes that have the volume attached.
        now: Seconds since the epoch.
    """
    csi = volume.spec.csi if volume is not None and is_of(claim, volume) else None
    if csi is None or claim.metadata.deletion_timestamp is not None:
        return Plan()
    subject = f"claim {claim.metadata.namespace}/{claim.metadata.name}"
    last, asked = last_of(claim), claim.metadata.annotations.get(ASKED, "")
    found, problem = Due(), tuple[Step, ...]()
    try:
        found = _due(claim, storage_class, last, now)
    except ScheduleError as error:
        problem = (Step(subject=subject, lane="schedule", action=RefuseSchedule(str(error)), reason=str(error)),)
    look_again = found.next - now if found.next is not None else None
    once = asked if asked and (last is None or asked != last.asked) else ""
    if not once and found.make is None:
        return Plan(steps=problem, look_again=look_again)
    reason = f"annotation {ASKED} asks for it" if once else "its schedule says so"
    if attached:
        waits_for = f"the volume to be detached from {', '.join(sorted(attached))}"
        wait = Step(subject=subject, reason=reason, waits_for=waits_for)
        return Plan(steps=(*problem, wait), look_again=look_again)
    # A scheduled try keeps the text that was carried out.
    action = ReclaimSpace(volume_from(csi), once or (last.asked if last is not None else ""))
    step = Step(subject=subject, action=action, reason=reason, deadline=RECLAIM_DEADLINE)
    return Plan(steps=(*problem, step), look_again=look_again)


def last_of(claim: PersistentVolumeClaim) -> Reclaimed | None:
    """What the claim says of the last try; None: there was none, or somebody has written what cannot be read. Pure."""
    try:
        found = msgspec.json.decode(claim.metadata.annotations.get(RECLAIMED, ""), type=Reclaimed)
        datetime.fromisoformat(found.time)
    except (msgspec.MsgspecError, ValueError):
        return None
    return found


def _due(claim: PersistentVolumeClaim, storage_class: StorageClass | None, last: Reclaimed | None, now: float) -> Due:
    schedule, where = _schedule(claim, storage_class)
    if not schedule:
        return Due()
    spec = ScheduleSpec(schedule=schedule)
    since = last.time if last is not None else claim.metadata.creation_timestamp
    done = datetime.fromisoformat(since).timestamp() if since else now
    return due(spec, times(spec, where), since=done, active=(), now=now)


def _schedule(claim: PersistentVolumeClaim, storage_class: StorageClass | None) -> tuple[str, str]:
    """The schedule of a claim, else of its class, and where it is written; both empty: it has none."""
    if schedule := claim.metadata.annotations.get(SCHEDULE, ""):
        where = f"PersistentVolumeClaim {claim.metadata.namespace}/{claim.metadata.name}"
    elif storage_class is not None and (schedule := storage_class.metadata.annotations.get(SCHEDULE, "")):
        where = f"StorageClass {storage_class.metadata.name}"
    else:
        return "", ""
    return schedule, f"{where}: annotation {SCHEDULE}"
