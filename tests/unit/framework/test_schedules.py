"""When a schedule falls due: cron's notation, time zones and their changes of clocks, missed starts, history."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.apis.operations import HistorySpec, ScheduleSpec
from controller.framework.schedules import Due, ScheduleError, due, operation_name, surplus, times

_LABEL = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
NAME = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*"
"""As Kubernetes itself has it, in its package validation."""
NAMES = st.from_regex(rf"{_LABEL}(\.{_LABEL}){{0,3}}", fullmatch=True).filter(lambda name: len(name) <= 253)


def at(text: str) -> float:
    """Seconds since the epoch of "2026-01-05 03:00", in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def text(seconds: float | None) -> str:
    return "" if seconds is None else f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M}"


def spec(schedule: str = "0 3 * * *", **more: Any) -> ScheduleSpec:
    return ScheduleSpec(schedule=schedule, **more)


@pytest.mark.parametrize(
    ("schedule", "now", "last", "following"),
    [
        ("0 3 * * *", "2026-01-05 03:00", "2026-01-05 03:00", "2026-01-06 03:00"),
        ("0 3 * * *", "2026-01-05 02:59", "2026-01-04 03:00", "2026-01-05 03:00"),
        ("*/15 * * * *", "2026-01-05 03:20", "2026-01-05 03:15", "2026-01-05 03:30"),
        ("0 3 * * 6", "2026-01-05 00:00", "2026-01-03 03:00", "2026-01-10 03:00"),
        ("0 3 * * SAT", "2026-01-05 00:00", "2026-01-03 03:00", "2026-01-10 03:00"),
        ("0 0 29 2 *", "2026-01-05 00:00", "2024-02-29 00:00", "2028-02-29 00:00"),
        ("@weekly", "2026-01-05 00:00", "2026-01-04 00:00", "2026-01-11 00:00"),
        ("@hourly", "2026-01-05 00:30", "2026-01-05 00:00", "2026-01-05 01:00"),
    ],
)
def test_the_times_before_and_after(schedule: str, now: str, last: str, following: str) -> None:
    found = times(spec(schedule))

    assert text(found.last(at(now))) == last
    assert text(found.next(at(now))) == following


@pytest.mark.parametrize(
    ("now", "following"),
    [
        # In Berlin it is an hour later than in UTC in winter, and two in summer.
        ("2026-01-05 00:00", "2026-01-05 01:30"),
        ("2026-07-05 00:00", "2026-07-05 00:30"),
        # 02:30 does not exist on 29 March: it is made up for at 03:00, which is 01:00 UTC.
        ("2026-03-29 00:00", "2026-03-29 01:00"),
        # 02:30 exists twice on 25 October, and counts once.
        ("2026-10-25 00:00", "2026-10-25 00:30"),
        ("2026-10-25 00:30", "2026-10-26 01:30"),
    ],
)
def test_a_time_zone_and_its_clocks(now: str, following: str) -> None:
    assert text(times(spec("30 2 * * *", time_zone="Europe/Berlin")).next(at(now))) == following


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (spec("0 3 * *"), 'spec.schedule is "0 3 * *": it has to have five fields'),
        (spec("0 0 3 * * *"), "it has to have five fields"),
        (spec("@reboot"), "or to be one of @hourly"),
        (spec("61 3 * * *"), 'spec.schedule is "61 3 * * *": bad minute'),
        (spec("0 3 31 2 *"), "bad day-of-month"),
        (spec(time_zone="Europe/Atlantis"), "spec.timeZone is Europe/Atlantis: no such time zone is known"),
        (spec(time_zone="../etc/passwd"), "spec.timeZone is ../etc/passwd"),
        (spec("TZ=UTC 0 3 * * *"), "it has to have five fields"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_means_nothing_is_named(wrong: ScheduleSpec, message: str) -> None:
    with pytest.raises(ScheduleError) as error:
        times(wrong)
    assert message in str(error.value)


NOON, NIGHT = at("2026-01-05 12:00"), at("2026-01-05 03:00")


def found(of: ScheduleSpec, *, since: float, active: tuple[str, ...] = (), now: float = NOON) -> Due:
    return due(of, times(of), since=since, active=active, now=now)


def test_what_is_due_is_made_once() -> None:
    following = at("2026-01-06 03:00")

    assert found(spec(), since=NIGHT - 1) == Due(make=NIGHT, next=following)
    assert found(spec(), since=NIGHT) == Due(next=following)


def test_of_what_was_missed_the_last_one_is_made() -> None:
    assert found(spec(), since=at("2025-06-01 00:00")).make == NIGHT


def test_what_is_longer_ago_than_the_deadline_is_left_out() -> None:
    hours = 9 * 3600
    assert found(spec(starting_deadline_seconds=hours + 1), since=NIGHT - 1).make == NIGHT
    assert found(spec(starting_deadline_seconds=hours), since=NIGHT - 1).make is None
    assert found(spec(starting_deadline_seconds=0), since=NIGHT - 1, now=NIGHT).make is None


def test_none_is_made_while_one_is_under_way_and_one_when_it_has_ended() -> None:
    held = found(spec(), since=NIGHT - 1, active=("nightly-1",))
    assert (held.make, held.waits_for) == (None, "nightly-1 to end")
    assert found(spec(), since=NIGHT, active=("nightly-1",)).waits_for == ""


def test_nothing_is_due_while_it_is_suspended() -> None:
    assert found(spec(suspend=True), since=0) == Due()


def test_the_oldest_that_ended_go() -> None:
    succeeded = [(f"2026-01-0{day}T00:00:00Z", f"s{day}") for day in (3, 1, 2)]
    failed = [("2026-01-02T00:00:00Z", "f2"), ("2026-01-01T00:00:00Z", "f1")]

    assert surplus(HistorySpec(succeeded=2, failed=1), succeeded, failed) == ["f1", "s1"]
    assert surplus(HistorySpec(succeeded=3, failed=2), succeeded, failed) == []
    assert surplus(HistorySpec(succeeded=1, failed=1), succeeded, []) == ["s1", "s2"]


def test_the_name_tells_the_minute() -> None:
    assert operation_name("weekly", NIGHT) == operation_name("weekly", NIGHT + 59) == f"weekly-{int(NIGHT / 60)}"
    assert operation_name("weekly", NIGHT + 60) != operation_name("weekly", NIGHT)


@given(st.lists(NAMES, min_size=1, max_size=5, unique=True), st.integers(min_value=0, max_value=2**40))
def test_the_name_is_legal_and_another_one_for_each_schedule_and_minute(schedules: list[str], time: int) -> None:
    made = [operation_name(schedule, time + 60 * minute) for schedule in schedules for minute in range(3)]
    assert len(set(made)) == len(made)
    for name in made:
        assert re.fullmatch(NAME, name)
        assert len(name) <= 253


def test_the_longest_names_are_told_apart_by_their_last_letter() -> None:
    one, two = (operation_name("s" * 252 + last, NIGHT) for last in "ab")
    assert one != two
    assert one.endswith(f"-{int(NIGHT / 60)}")


ZONES = st.sampled_from(["UTC", "Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe", "Asia/Kathmandu"])
FIELDS = st.tuples(
    st.sampled_from(["0", "30", "*/20", "5,35"]),
    st.sampled_from(["*", "2", "0,12", "*/6"]),
    st.sampled_from(["*", "1", "15"]),
    st.sampled_from(["*", "3,10"]),
    st.sampled_from(["*", "0", "1-5"]),
)


@given(FIELDS, ZONES, st.integers(int(at("2025-01-01 00:00")), int(at("2028-01-01 00:00"))), st.data())
def test_however_often_it_is_looked_each_time_is_made_at_most_once_and_the_last_one_never_left_out(
    fields: tuple[str, ...], zone: str, start: int, data: st.DataObject
) -> None:
    wanted = spec(" ".join(fields), time_zone=zone)
    when, now, since = times(wanted), float(start), float(start)
    made: list[float] = []
    for gap in data.draw(st.lists(st.integers(1, 86400 * 3), max_size=12)):
        now += gap
        result = due(wanted, when, since=since, active=(), now=now)
        if result.make is not None:
            made.append(result.make)
            since = result.make
        assert result.next is None or result.next > now
        last = when.last(now)
        assert last is None or last <= since
    assert made == sorted(set(made))
    assert all(start < time <= now for time in made)
