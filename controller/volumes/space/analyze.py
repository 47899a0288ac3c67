"""When and how the space of a claim's volume is given back. Pure.

A volume that is attached nowhere is made sparse by its storage system. Where one node has it attached and there is a
file system on it, that node's agent runs fstrim: it is asked by `trims` of its NodeReport, and answers there. What
falls due while neither can be done is made up for later. A try that failed counts as one: the next is at the next time
of the schedule, or when the claim asks for it by another text.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

import msgspec

from controller.apis.operations import ScheduleSpec
from controller.apis.rook.node_report import Trim, Trimmed
from controller.framework.plan import Plan, Step
from controller.framework.schedules import Due, ScheduleError, due, times
from controller.volumes.attributes.analyze import is_of
from controller.volumes.backend import Volume, volume_from
from controller.volumes.capabilities import FILESYSTEM

if TYPE_CHECKING:
    from collections.abc import Sequence

    from controller.apis.rook.node_report import NodeReport
    from controller.runtime.kube import (
        PartialObject,
        PersistentVolume,
        PersistentVolumeClaim,
        StorageClass,
        VolumeAttachment,
    )

SCHEDULE = "reclaimspace.csiaddons.openshift.io/schedule"
"""The annotation of a claim, its namespace or its StorageClass that says when: cron's notation, or @weekly and the
like. The name is that of csi-addons
(https://github.com/csi-addons/kubernetes-csi-addons/blob/main/docs/reclaimspace.md).
"""

ASKED = "volumes.rook.io/reclaim-space"
"""The annotation of a claim that asks for it once: for each text anew."""

RECLAIMED = "volumes.rook.io/space-reclaimed"
"""The annotation of a claim that says what the last try has brought: `Reclaimed` as JSON."""

RECLAIM_DEADLINE = 560.0

MOST_TRIMS = 10
"""Volumes that a node is asked to trim at a time: it does one after the other."""

LOOK_AT_NODE = 60.0
"""Seconds after which a node that has as many to trim already is looked at again."""


class Reclaimed(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the last try has brought.

    Attributes:
        time: When it ended, in RFC 3339.
        asked: The text of the annotation that asked for it; empty: a schedule did.
        bytes: How many bytes less the volume takes; not there: that is not known.
        node: The node that ran fstrim; empty: the storage system did it.
        discarded: How many bytes fstrim has discarded, also such as the volume never took.
        trim: The id of the request that the node had; empty: none.
        error: Why it failed; empty: it did not.
    """

    time: str
    asked: str = ""
    bytes: int | None = None
    node: str = ""
    discarded: int | None = None
    trim: str = ""
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """When space is to be given back, and where that is written.

    Attributes:
        text: As the user wrote it; empty: there is none.
        where: The object and its annotation, for messages.
        shared: Whether it is a namespace's, in which there are volumes of others, too.
    """

    text: str = ""
    where: str = ""
    shared: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SpaceObservation:
    """What there is about a claim.

    Attributes:
        schedule: By `schedule_of`.
        volume: Its PersistentVolume, of a storage system that can give space back; None: there is none.
        trimmable: Whether fstrim gives space of it back.
        attachments: Those of the volume.
        reports: The reports of the nodes that have it attached, or are asked to trim it, by node.
    """

    schedule: Schedule = Schedule()
    volume: PersistentVolume | None = None
    trimmable: bool = False
    attachments: Sequence[VolumeAttachment] = ()
    reports: Mapping[str, NodeReport] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ReclaimSpace:
    """Give back the space of what is zero in the volume, and say on the claim what it has brought."""

    volume: Volume
    asked: str


@dataclass(frozen=True, slots=True)
class AskNode:
    """Ask a node's agent to run fstrim on the volume; None: do not ask it any more."""

    node: str
    trim: Trim | None


@dataclass(frozen=True, slots=True)
class NoteTrimmed:
    """Say on the claim what fstrim on a node has brought."""

    node: str
    trimmed: Trimmed
    asked: str


@dataclass(frozen=True, slots=True)
class RefuseSchedule:
    """Tell the user what is wrong with the schedule."""

    problem: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Want:
    """That space is to be given back now: `once`, the text that asks for it, or else the time of the schedule."""

    claim: PersistentVolumeClaim
    last: Reclaimed | None
    once: str
    time: float | None

    @property
    def reason(self) -> str:
        return f"annotation {ASKED} asks for it" if self.once else "its schedule says so"

    @property
    def asked(self) -> str:
        """A scheduled try keeps the text that was carried out."""
        return self.once or (self.last.asked if self.last is not None else "")

    @property
    def id(self) -> str:
        """The same as long as it is this that is to be done: whoever dies meanwhile, it is asked for by one id."""
        told = f"{self.claim.metadata.uid} {self.time if not self.once else 'asked ' + self.once}"
        return hashlib.sha256(told.encode()).hexdigest()[:16]


def schedule_of(
    claim: PersistentVolumeClaim, namespace: PartialObject | None, storage_class: StorageClass | None
) -> Schedule:
    """The schedule of a claim, else of its namespace, else of its class: the order is that of csi-addons. Pure."""
    name = claim.metadata.namespace
    if text := claim.metadata.annotations.get(SCHEDULE, ""):
        where = f"PersistentVolumeClaim {name}/{claim.metadata.name}"
    elif namespace is not None and (text := namespace.metadata.annotations.get(SCHEDULE, "")):
        where = f"Namespace {name}"
    elif storage_class is not None and (text := storage_class.metadata.annotations.get(SCHEDULE, "")):
        where = f"StorageClass {storage_class.metadata.name}"
    else:
        return Schedule()
    return Schedule(text=text, where=f"{where}: annotation {SCHEDULE}", shared=where.startswith("Namespace "))


def key_of(claim: PersistentVolumeClaim) -> str:
    """What `trims` of a NodeReport has a claim by. Pure."""
    return f"{claim.metadata.namespace}/{claim.metadata.name}"


def analyze(claim: PersistentVolumeClaim, seen: SpaceObservation, now: float) -> Plan:
    """What to do about the space of a claim's volume. Pure.

    Args:
        claim: The claim.
        seen: What there is about it.
        now: Seconds since the epoch.
    """
    csi = seen.volume.spec.csi if seen.volume is not None and is_of(claim, seen.volume) else None
    if csi is None or claim.metadata.deletion_timestamp is not None:
        return Plan(steps=tuple(withdrawn(key_of(claim), seen.reports)))
    volume = volume_from(csi)
    last, asked = last_of(claim), claim.metadata.annotations.get(ASKED, "")
    found, steps = Due(), list[Step]()
    try:
        found = _due(claim, seen.schedule, last, now)
    except ScheduleError as error:
        steps.append(Step(subject=_words(claim), lane="schedule", action=RefuseSchedule(str(error)), reason=str(error)))
    look_again = found.next - now if found.next is not None else None
    once = asked if asked and (last is None or asked != last.asked) else ""
    if not once and found.make is None:
        return Plan(steps=(*steps, *withdrawn(key_of(claim), seen.reports)), look_again=look_again)
    want = _Want(claim=claim, last=last, once=once, time=found.make)
    node = _trims_on(seen)
    steps += withdrawn(key_of(claim), seen.reports, kept=node)
    if not seen.attachments:
        action = ReclaimSpace(volume, want.asked)
        steps.append(Step(subject=_words(claim), action=action, reason=want.reason, deadline=RECLAIM_DEADLINE))
    elif node:
        step = _trim(want, volume, node, seen.reports.get(node))
        steps.append(step)
        if step.waits_for and not _is_asked(claim, seen.reports.get(node)):
            # Of nodes that it is not among the questions to, a claim hears nothing.
            look_again = min(filter(None, (look_again, LOOK_AT_NODE)))
    else:
        nodes = sorted({attachment.spec.node_name for attachment in seen.attachments})
        steps.append(_wait(want, f"the volume to be detached from {', '.join(nodes)}"))
    return Plan(steps=tuple(steps), look_again=look_again)


def withdrawn(key: str, reports: Mapping[str, NodeReport], kept: str = "") -> list[Step]:
    """What nodes are not to be asked any more. Pure.

    Args:
        key: The claim, by `key_of`.
        reports: The reports of nodes that may be asked.
        kept: The node that goes on being asked.
    """
    reason = "fstrim there is not asked for any more"
    return [
        Step(subject=f"claim {key} on node {node}", action=AskNode(node, None), reason=reason)
        for node, report in sorted(reports.items())
        if node != kept and key in report.trims
    ]


def last_of(claim: PersistentVolumeClaim) -> Reclaimed | None:
    """What the claim says of the last try; None: there was none, or somebody has written what cannot be read. Pure."""
    try:
        found = msgspec.json.decode(claim.metadata.annotations.get(RECLAIMED, ""), type=Reclaimed)
        datetime.fromisoformat(found.time)
    except (msgspec.MsgspecError, ValueError):
        return None
    return found


def _trims_on(seen: SpaceObservation) -> str:
    """The node on which fstrim can give back the volume's space; empty: there is none now."""
    if not seen.trimmable or seen.volume is None or seen.volume.spec.volume_mode != FILESYSTEM:
        return ""
    if len(seen.attachments) != 1:
        return ""
    attachment = seen.attachments[0]
    leaves = attachment.metadata.deletion_timestamp is not None
    return attachment.spec.node_name if attachment.status.attached and not leaves else ""


def _trim(want: _Want, volume: Volume, node: str, report: NodeReport | None) -> Step:
    """The next step of a trim on a node: it is asked, it answers, and it is asked no more."""
    if report is None:
        return _wait(want, f"the agent of node {node} to report")
    key = key_of(want.claim)
    standing = report.trims.get(key)
    if standing is None:
        if len(report.trims) >= MOST_TRIMS:
            return _wait(want, f"fstrim on other volumes of node {node}")
        trim = Trim(driver=volume.driver, volume_handle=volume.handle, id=want.id)
        return Step(subject=_words(want.claim), action=AskNode(node, trim), reason=want.reason)
    # An answer counts for what was asked: that may be what was due before.
    answer = next((found for found in report.trimmed if (found.claim, found.id) == (key, standing.id)), None)
    is_noted = want.last is not None and want.last.trim == standing.id
    if is_noted or standing.volume_handle != volume.handle:
        return Step(subject=_words(want.claim), action=AskNode(node, None), reason="fstrim is done")
    if answer is None:
        return _wait(want, f"fstrim on node {node}")
    before = want.last.asked if want.last is not None else ""
    note = NoteTrimmed(node, answer, want.asked if standing.id == want.id else before)
    return Step(subject=_words(want.claim), action=note, reason=f"fstrim on node {node} has ended")


def _is_asked(claim: PersistentVolumeClaim, report: NodeReport | None) -> bool:
    return report is not None and key_of(claim) in report.trims


def _wait(want: _Want, waits_for: str) -> Step:
    return Step(subject=_words(want.claim), reason=want.reason, waits_for=waits_for)


def _words(claim: PersistentVolumeClaim) -> str:
    return f"claim {key_of(claim)}"


def _due(claim: PersistentVolumeClaim, schedule: Schedule, last: Reclaimed | None, now: float) -> Due:
    if not schedule.text:
        return Due()
    spec = ScheduleSpec(schedule=schedule.text)
    since = last.time if last is not None else claim.metadata.creation_timestamp
    done = datetime.fromisoformat(since).timestamp() if since else now
    return due(spec, times(spec, schedule.where), since=done, active=(), now=now)
