"""Snapshot schedules of mirrored images, as the mgr keeps them: each of an interval, and the time that it counts from.

The mgr's module rbd_support writes intervals and times in a form of its own; they are compared in it.
Source: https://docs.ceph.com/en/latest/rbd/rbd-mirroring/#mirror-image-snapshots
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import time
from typing import TYPE_CHECKING, Any

from controller.ceph.access.rados import CephError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from controller.apis.ceph.pool import SnapshotScheduleSpec
    from controller.ceph.access.rados import Cluster

_INTERVAL = re.compile(r"(\d+)([dhm]?)")
_MINUTES: Mapping[str, int] = {"": 1, "m": 1, "h": 60, "d": 24 * 60}


@dataclass(frozen=True, slots=True, order=True)
class Schedule:
    """When snapshots are made: every `interval`, counted from `start` of a day; both in the mgr's own form."""

    interval: str
    start: str = ""

    def __str__(self) -> str:
        return f"{self.interval}@{self.start}" if self.start else self.interval


@dataclass(frozen=True, slots=True)
class Scheduled:
    """The schedules of one level: a pool, a RADOS namespace, or an image, by the mgr's name of it."""

    level: str
    schedules: tuple[Schedule, ...]


def wanted(specs: Iterable[SnapshotScheduleSpec]) -> tuple[Schedule, ...]:
    """The schedules that a spec asks for, without those of which `problems` tells."""
    return tuple(sorted({Schedule(_interval(s.interval), _start(s.start_time)) for s in specs if not _problem(s)}))


def problems(specs: Iterable[SnapshotScheduleSpec], path: str) -> tuple[str, ...]:
    """What of a spec's schedules cannot be, in words; `path`: where they are in the spec."""
    found = ((index, _problem(spec)) for index, spec in enumerate(specs))
    return tuple(f"{path}[{index}].{problem}" for index, problem in found if problem)


def _problem(spec: SnapshotScheduleSpec) -> str:
    match = _INTERVAL.fullmatch(spec.interval)
    if match is None or int(match[1]) == 0:
        return f"interval is {spec.interval!r}: expected minutes, hours or days, such as 15m, 24h or 1d"
    try:
        _start(spec.start_time)
    except ValueError:
        return f"startTime is {spec.start_time!r}: expected a time in ISO 8601, such as 14:00:00-05:00"
    return ""


def _interval(text: str) -> str:
    number, unit = _INTERVAL.fullmatch(text).groups()  # type: ignore[union-attr]  # `_problem` found none
    minutes = int(number) * _MINUTES[unit]
    for name, length in (("d", 24 * 60), ("h", 60)):
        if minutes % length == 0:
            return f"{minutes // length}{name}"
    return f"{minutes}m"


def _start(text: str) -> str:
    """A time of day, as the mgr has it: it takes no account of a date, nor of seconds."""
    if not text:
        return ""
    found = time.fromisoformat(text.partition("T")[2] if "T" in text else text)
    return found.replace(second=0, microsecond=0).isoformat()


async def read(ceph: Cluster, level: str) -> tuple[Scheduled, ...]:
    """The schedules of a level, such as "pool/" or "pool/namespace/", and of all below it.

    Raises:
        CephError: The mgr does not answer in time.
    """
    found = await ceph.mgr("rbd mirror snapshot schedule list", level_spec=level) or {}
    return tuple(sorted((_scheduled(entry) for entry in found.values()), key=lambda entry: entry.level))


def _scheduled(entry: Mapping[str, Any]) -> Scheduled:
    schedules = (Schedule(item["interval"], item.get("start_time") or "") for item in entry.get("schedule", ()))
    return Scheduled(entry.get("name", ""), tuple(sorted(schedules)))


async def add(ceph: Cluster, level: str, schedule: Schedule) -> None:
    """Adds a schedule; one that is there is no error."""
    await ceph.mgr("rbd mirror snapshot schedule add", **_arguments(level, schedule))


async def remove(ceph: Cluster, level: str, schedule: Schedule) -> None:
    """Removes a schedule; one that is not there is no error."""
    try:
        await ceph.mgr("rbd mirror snapshot schedule remove", **_arguments(level, schedule))
    except CephError as error:
        if not error.is_not_found:
            raise


def _arguments(level: str, schedule: Schedule) -> dict[str, str]:
    start = {"start_time": schedule.start} if schedule.start else {}
    return {"level_spec": level, "interval": schedule.interval, **start}


def noted(schedules: Iterable[Schedule]) -> str:
    """Schedules as one text, for a record of those that are ours."""
    return ",".join(str(schedule) for schedule in sorted(schedules))


def parse_noted(text: str) -> tuple[Schedule, ...]:
    """What `noted` wrote."""
    parts = (part.partition("@") for part in text.split(",") if part)
    return tuple(Schedule(interval, start) for interval, _, start in parts)
