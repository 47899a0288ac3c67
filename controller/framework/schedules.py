"""Schedules: which operation is due now, as a CronJob finds out about its Jobs. Pure.

What fell due while nobody looked, or while an operation was under way, is made up for by one operation, that of the
last time, unless that is longer ago than `startingDeadlineSeconds`. A time that the clocks leave out in spring is made
up for at once, and one that they repeat in autumn counts once, as in Debian's cron.
https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from controller.framework.names import LONGEST, object_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from controller.apis.operations import HistorySpec, ScheduleSpec

NAMED = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
FIELDS = 5


class ScheduleError(ValueError):
    """A schedule or time zone means nothing. The message names the field."""


@dataclass(frozen=True, slots=True)
class Times:
    """When a schedule falls due."""

    expression: str
    zone: ZoneInfo

    def last(self, now: float) -> float | None:
        """The last time up to `now` (included), in seconds since the epoch; None: there is none."""
        # The simulation begins before what it is given.
        return self._first(now + 1, back=True)

    def next(self, now: float) -> float | None:
        """The first time after `now`, in seconds since the epoch; None: there is none."""
        return self._first(now, back=False)

    def _first(self, seconds: float, *, back: bool) -> float | None:
        start = datetime.fromtimestamp(int(seconds), self.zone)
        found = next(CronSim(self.expression, start, reverse=back), None)
        return found.timestamp() if found is not None else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """What is to be made of a schedule.

    Attributes:
        make: The time of the operation that is to be made now, in seconds since the epoch; None: none is.
        next: When the next one is due; None: never, or the schedule is suspended.
        waits_for: What holds back an operation that is due, in words; empty: nothing, or none is due.
    """

    make: float | None = None
    next: float | None = None
    waits_for: str = ""


def times(spec: ScheduleSpec, field: str = "spec.schedule") -> Times:
    """When a schedule falls due.

    Args:
        spec: The schedule.
        field: Where the user wrote it, for messages.

    Raises:
        ScheduleError: A field means nothing.
    """
    expression = NAMED.get(spec.schedule.strip(), spec.schedule)
    if len(expression.split()) != FIELDS:
        raise ScheduleError(
            f'{field} is "{spec.schedule}": it has to have five fields (minute, hour, day of the month, month, '
            f'day of the week), such as "0 3 * * 6", or to be one of {", ".join(NAMED)}'
        )
    try:
        zone = ZoneInfo(spec.time_zone or "UTC")
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ScheduleError(f"spec.timeZone is {spec.time_zone}: no such time zone is known") from error
    try:
        CronSim(expression, datetime.fromtimestamp(0, UTC))
    except CronSimError as error:
        raise ScheduleError(f'{field} is "{spec.schedule}": {str(error).lower()}') from error
    return Times(expression, zone)


def due(spec: ScheduleSpec, when: Times, *, since: float, active: Sequence[str], now: float) -> Due:
    """What is to be made now.

    Args:
        spec: The schedule.
        when: Its times.
        since: What fell due until then is done, in seconds since the epoch: the time of the last operation that was
            made, or else when the schedule was made.
        active: The operations that have not ended.
        now: Seconds since the epoch.
    """
    if spec.suspend:
        return Due()
    deadline, last = spec.starting_deadline_seconds, when.last(now)
    earliest = since if deadline is None else max(since, now - deadline)
    following = when.next(now)
    if last is None or last <= earliest:
        return Due(next=following)
    if active:
        return Due(next=following, waits_for=f"{active[0]} to end")
    return Due(make=last, next=following)


def surplus(keep: HistorySpec, succeeded: Iterable[tuple[str, str]], failed: Iterable[tuple[str, str]]) -> list[str]:
    """The names of operations that have ended and are not kept any more, the oldest first.

    Args:
        keep: How many are.
        succeeded: Those that succeeded: when they ended, and their names.
        failed: Those that failed, likewise.
    """
    found: list[tuple[str, str]] = []
    for ended, count in ((succeeded, keep.succeeded), (failed, keep.failed)):
        order = sorted(ended)
        found += order[: max(len(order) - count, 0)]
    return [name for _, name in sorted(found)]


def operation_name(schedule: str, time: float) -> str:
    """The name of the operation of a schedule that was due at `time`: the same however often it is made."""
    minute = f"-{int(timedelta(seconds=time) / timedelta(minutes=1))}"
    return object_name(schedule, LONGEST - len(minute)) + minute
