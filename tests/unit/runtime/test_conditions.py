"""Conditions of a status."""

from controller.runtime.conditions import (
    Condition,
    find_condition,
    is_true,
    remove_condition,
    set_condition,
    set_conditions,
)

THEN, NOW = "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"
READY = Condition(type="Ready", status="True", reason="Up", message="all is well", last_transition_time=THEN)
OTHER = Condition(type="Other", status="False", last_transition_time=THEN)


def test_a_new_condition_comes_last_with_the_present_time() -> None:
    found = set_condition((OTHER,), Condition(type="Ready", status="True"), NOW)

    assert found == (OTHER, Condition(type="Ready", status="True", last_transition_time=NOW))


def test_the_time_tells_when_the_status_changed_not_when_the_words_did() -> None:
    said_otherwise = Condition(type="Ready", status="True", reason="Up", message="still well", observed_generation=2)

    (found, _) = set_condition((READY, OTHER), said_otherwise, NOW)
    assert (found.last_transition_time, found.message, found.observed_generation) == (THEN, "still well", 2)

    (found, _) = set_condition((READY, OTHER), Condition(type="Ready", status="False"), NOW)
    assert (found.last_transition_time, found.status) == (NOW, "False")


def test_setting_what_is_there_changes_nothing() -> None:
    assert set_conditions((READY, OTHER), (OTHER, READY), NOW) == (READY, OTHER)


def test_finding_and_removing() -> None:
    assert find_condition((READY, OTHER), "Other") is OTHER
    assert find_condition((READY,), "Other") is None
    assert is_true((READY, OTHER), "Ready")
    assert not is_true((READY, OTHER), "Other")
    assert not is_true((), "Ready")
    assert remove_condition((READY, OTHER), "Ready") == (OTHER,)
