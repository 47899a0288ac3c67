"""Which version daemons should run, by what runs and what the system allows."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.framework.upgrade import Release, Running, Upgrade, judge


def one_step(version: int, running: Running[int]) -> str:
    """Versions are not skipped, and nothing goes back."""
    if running.oldest is not None and version > running.oldest + 1:
        return f"{version} is more than one after {running.oldest}"
    return f"{version} is before {running.newest}" if running.newest is not None and version < running.newest else ""


def release(version: int, build: str = "") -> Release[int]:
    return Release(f"image:{version}{build}", version)


@pytest.mark.parametrize(
    ("reported", "declared", "running"),
    [
        pytest.param([], [], Running(), id="a new cluster"),
        pytest.param([8], [7, 9], Running(7, 8), id="one is down, one never ran"),
        pytest.param([], [8, 9], Running(8, 9), id="nothing was ever reported"),
        pytest.param([7, 8], [8], Running(7, 8), id="one is late"),
    ],
)
def test_what_runs(reported: list[int], declared: list[int], running: Running[int]) -> None:
    assert Running.of(reported, declared) == running


@pytest.mark.parametrize(
    ("wanted", "running", "declared", "target", "refusal"),
    [
        pytest.param(release(7), Running(), [], release(7), "", id="a new cluster"),
        pytest.param(None, Running(), [], None, "", id="nothing is known"),
        pytest.param(None, Running(7, 7), [release(7)], release(7), "", id="it is not known yet what is wanted"),
        pytest.param(release(8), Running(7, 7), [release(7)], release(8), "", id="an upgrade"),
        pytest.param(release(9), Running(7, 7), [release(7)], release(7), "9 is more than one after 7", id="a skip"),
        pytest.param(
            release(9),
            Running(7, 8),
            [release(7), release(8)],
            release(8),
            "9 is more than one after 7",
            id="the upgrade before it goes on",
        ),
        pytest.param(release(7), Running(7, 8), [release(8)], release(8), "7 is before 8", id="there is no way back"),
    ],
)
def test_what_is_to_run(
    wanted: Release[int] | None,
    running: Running[int],
    declared: list[Release[int]],
    target: Release[int] | None,
    refusal: str,
) -> None:
    found = judge(wanted, running, declared, one_step)
    assert (found.target, found.refusal) == (target, refusal)


def test_of_several_images_of_a_version_the_one_that_was_accepted_goes_on() -> None:
    declared = [release(7), release(8, "-a"), release(8, "-b")]
    assert judge(None, Running(), declared, one_step, accepted="image:8-a").target == release(8, "-a")
    assert judge(None, Running(), declared, one_step, accepted="image:7").target == release(8, "-b")


def test_an_obstacle_holds_until_the_last_daemon_has_what_is_wanted() -> None:
    new, old = release(8), release(7)
    assert Upgrade(target=new, declared=frozenset({new, old})).hold("peace") == "peace"
    assert Upgrade(target=new, declared=frozenset({new})).hold("peace") == ""
    assert Upgrade(target=new, declared=frozenset({new, old})).hold("") == ""


@given(
    reported=st.lists(st.integers(1, 5)),
    declared=st.lists(st.integers(1, 5)),
    wanted=st.none() | st.integers(1, 5),
)
def test_what_is_to_run_is_allowed_or_runs_already(
    reported: list[int], declared: list[int], wanted: int | None
) -> None:
    running, asked = Running.of(reported, declared), [release(number) for number in declared]
    found = judge(release(wanted) if wanted else None, running, asked, one_step)
    if found.target is None:
        assert not declared
        assert wanted is None or one_step(wanted, running)
    elif found.target != release(wanted or 0):
        assert found.target == max(asked, key=lambda one: one.version), "nothing goes back"
    else:
        assert not one_step(found.target.version, running) or found.target.version == max(declared)
