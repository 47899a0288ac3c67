"""Timers: facts that stay true go on, whatever else a status shows."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from controller.framework.timers import advance, elapsed

NINE, TEN = "2026-01-01T09:00:00Z", "2026-01-01T10:00:00Z"
TEN_SECONDS = 1_767_261_600.0


def test_a_fact_that_stays_true_keeps_its_time_and_one_that_ends_starts_anew() -> None:
    first = advance({}, {"Out": ["a", "b"]}, NINE)
    second = advance(first, {"Out": ["b", "c"]}, TEN)
    assert second == {"Out/b": NINE, "Out/c": TEN}
    assert elapsed(second, "Out", TEN_SECONDS) == {"b": 3600.0, "c": 0.0}
    assert advance(second, {"Out": []}, TEN) == {}


def test_what_is_not_known_now_goes_on() -> None:
    timers = {"Out/a": NINE, "Drain/n": NINE}
    assert advance(timers, {"Out": None, "Drain": []}, TEN) == {"Out/a": NINE}


def test_a_topic_that_nobody_measures_any_more_ends() -> None:
    assert advance({"Old/a": NINE}, {"Out": []}, TEN) == {}


def test_a_clock_that_was_set_back_measures_nothing() -> None:
    assert elapsed({"Out/a": TEN}, "Out", TEN_SECONDS - 60) == {"a": 0.0}


@given(st.lists(st.frozensets(st.text("abc/", min_size=1, max_size=3)), min_size=1, max_size=8))
def test_a_timer_says_since_when_without_a_gap(looks: list[frozenset[str]]) -> None:
    timers: dict[str, str] = {}
    since: dict[str, str] = {}
    for number, true in enumerate(looks):
        now = f"2026-01-01T00:00:{number:02d}Z"
        since = {name: since.get(name, now) for name in true}
        timers = advance(timers, {"T": true, "Other": None}, now)
        assert timers == {f"T/{name}": when for name, when in since.items()}
