"""When snapshots of a directory are made, and how many are kept, as the mgr's module snap_schedule has it.

Source: https://docs.ceph.com/en/latest/cephfs/snap-schedule/
"""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from controller.apis.ceph.filesystem import SnapshotRetentionSpec
    from controller.apis.ceph.pool import SnapshotScheduleSpec
    from controller.ceph.access.rados import Cluster

MODULE = "snap_schedule"
"""The mgr's module."""
MINUTES = "m"
"""The unit of intervals that the module takes only where `MINUTES_OPTION` is on."""
MINUTES_OPTION = "mgr/snap_schedule/allow_m_granularity"
_INTERVAL = re.compile(r"([1-9]\d*)([mhdwMy])")
_KEPT = re.compile(r"([1-9]\d*)([nmhdwMy])")
_LETTER_FIRST = re.compile(r"([nmhdwMy]) +([1-9]\d*)")
_EPOCH = date(2020, 1, 1)
"""The day that intervals are counted from where the spec names none; the module itself takes that of the command."""


@dataclass(frozen=True, slots=True, order=True)
class Schedule:
    """Snapshots of the directory `path` every `interval`, counted from `start`, a time in UTC; both in Ceph's form."""

    path: str
    interval: str
    start: str = ""

    def __str__(self) -> str:
        return f"{self.path} every {self.interval}"


@dataclass(frozen=True, slots=True, order=True)
class Retention:
    """How many snapshots of the directory `path` are kept: `count` of the unit `period`; "n" is the last ones."""

    path: str
    period: str
    count: int

    def __str__(self) -> str:
        return f"{self.path} keep {self.spec}"

    @property
    def spec(self) -> str:
        """As Ceph takes it, such as "24h"."""
        return f"{self.count}{self.period}"


class Plan(msgspec.Struct, frozen=True):
    """Schedules with what is kept of them."""

    schedules: tuple[Schedule, ...] = ()
    retention: tuple[Retention, ...] = ()

    @property
    def paths(self) -> tuple[str, ...]:
        """The directories, in order."""
        return tuple(sorted({*(s.path for s in self.schedules), *(kept.path for kept in self.retention)}))


@dataclass(frozen=True, slots=True)
class Live:
    """A schedule as the mgr has it, with all that the mgr tells of it."""

    schedule: Schedule
    retention: Mapping[str, int] = field(default_factory=dict)
    told: Mapping[str, Any] = field(default_factory=dict)


def wanted(schedules: Iterable[SnapshotScheduleSpec], kept: Iterable[SnapshotRetentionSpec]) -> Plan:
    """What a spec asks for, without that of which `problems` tells. A schedule without a start has none."""
    found = {Schedule(normal(s.path), s.interval, _start(s.start_time)) for s in schedules if not _problem(s)}
    retention = {Retention(normal(k.path), *pair) for k in kept for pair in _counts(k.duration) or ()}
    return Plan(tuple(sorted(found)), tuple(sorted(retention)))


def normal(path: str) -> str:
    """A directory's path, as Ceph keeps it."""
    return posixpath.normpath(path).replace("//", "/")


def problems(
    schedules: Iterable[SnapshotScheduleSpec], kept: Iterable[SnapshotRetentionSpec], where: str
) -> Iterator[str]:
    """What of a spec's schedules and retention cannot be, in words; `where`: the field that they are in."""
    scheduled: set[str] = set()
    for index, spec in enumerate(schedules):
        problem = _problem(spec)
        if problem:
            yield f"{where}.snapshotSchedules[{index}].{problem}"
        scheduled.add(normal(spec.path))
    counts: dict[tuple[str, str], int] = {}
    for index, keep in enumerate(kept):
        path = f"{where}.snapshotRetention[{index}]"
        found = _counts(keep.duration)
        if not keep.path.startswith("/"):
            yield f"{path}.path is {keep.path!r}: expected that of a directory from the root on, such as /shared"
        elif normal(keep.path) not in scheduled:
            yield f"{path}.path is {keep.path}: expected one of snapshotSchedules, as Ceph keeps both together"
        if found is None:
            yield f"{path}.duration is {keep.duration!r}: expected counts with units, such as 24h7d"
        for period, count in found or ():
            if counts.setdefault((normal(keep.path), period), count) != count:
                yield f"{path}.duration is {keep.duration!r}: {keep.path} has another count of {period} before it"


def _problem(spec: SnapshotScheduleSpec) -> str:
    if not spec.path.startswith("/"):
        return f"path is {spec.path!r}: expected that of a directory from the root on, such as /shared"
    if _INTERVAL.fullmatch(spec.interval) is None:
        return f"interval is {spec.interval!r}: expected a number with unit m, h, d, w, M or y, such as 24h"
    try:
        _start(spec.start_time)
    except ValueError:
        return f"startTime is {spec.start_time!r}: expected a time in ISO 8601, such as 14:00:00-05:00"
    return ""


def _start(text: str) -> str:
    """A time in UTC, without its zone, as Ceph keeps it. One of a day is that of the first day that counts."""
    if not text:
        return ""
    try:
        found = datetime.combine(_EPOCH, time.fromisoformat(text))
    except ValueError:
        found = datetime.fromisoformat(text)
    if found.tzinfo is not None:
        found = found.astimezone(UTC)
    return found.replace(tzinfo=None, microsecond=0).isoformat()


def _counts(text: str) -> tuple[tuple[str, int], ...] | None:
    """Pairs of unit and count: of Ceph's form "24h7d", or upstream's "h 24"; None: it is neither."""
    swapped = _LETTER_FIRST.fullmatch(text.strip())
    if swapped is not None:
        return ((swapped[1], int(swapped[2])),)
    pairs = _KEPT.findall(text)
    if not pairs or "".join(f"{count}{period}" for count, period in pairs) != text.strip():
        return None
    return tuple((period, int(count)) for count, period in pairs)


def settled(plan: Plan, live: Iterable[Live]) -> Plan:
    """`plan` with a start for each schedule: what is there counts for one that names none."""
    there = sorted({found.schedule for found in live})
    explicit = {schedule for schedule in plan.schedules if schedule.start}
    found = set(explicit)
    for schedule in plan.schedules:
        if schedule.start:
            continue
        alike = (s for s in there if (s.path, s.interval) == (schedule.path, schedule.interval) and s not in explicit)
        midnight = datetime.combine(_EPOCH, time()).isoformat()
        found.add(next(alike, Schedule(schedule.path, schedule.interval, midnight)))
    return Plan(tuple(sorted(found)), plan.retention)


async def read(ceph: Cluster, filesystem: str, paths: Iterable[str]) -> tuple[Live, ...]:
    """The schedules of directories, whoever made them.

    Raises:
        CephError: The mgr does not answer in time.
    """
    found: list[Live] = []
    for path in paths:
        rows = await ceph.mgr("fs snap-schedule status", path=path, fs=filesystem, format="json") or ()
        found += (_live(row) for row in rows)
    return tuple(found)


def _live(row: Mapping[str, Any]) -> Live:
    schedule = Schedule(row["path"], row["schedule"], row["start"])
    return Live(schedule, {period: int(count) for period, count in (row.get("retention") or {}).items()}, row)


def kept(live: Iterable[Live]) -> dict[tuple[str, str], int]:
    """How many snapshots are kept, by directory and unit."""
    return {(found.schedule.path, unit): count for found in live for unit, count in found.retention.items()}


def noted(plan: Plan) -> str:
    """A plan as a text, for a record of what is ours."""
    return msgspec.json.encode(plan).decode()


def parse_noted(text: str) -> Plan:
    """What `noted` wrote; of what is none, nothing."""
    try:
        return msgspec.json.decode(text, type=Plan)
    except msgspec.MsgspecError:
        return Plan()
