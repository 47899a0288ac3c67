"""Which scenarios may go on at the same time, in which order they come, and that a process gives its turn back."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from e2e.turns import CASSANDRA, HERE, LAST, Group, Turn, group_of, rank
from tests.conftest import ALONE, Rooms


def item(path: Path, *marks: str) -> pytest.Item:
    return cast(
        "pytest.Item", SimpleNamespace(path=path, get_closest_marker=lambda name: name if name in marks else None)
    )


VOLUMES = item(HERE / "test_volumes.py", "meanwhile")
MANY = item(HERE / "test_volumes.py", "meanwhile", "alone")
DRAIN = item(HERE / "test_drain.py")
MIRROR = item(HERE / "test_mirror.py", "long")
RING = item(CASSANDRA)
WIPE, RELEASES = (item(path) for path in LAST)
UNIT = item(HERE.parent / "tests" / "unit" / "test_imports.py")


@pytest.mark.parametrize(
    ("test", "group"),
    [
        (VOLUMES, Group.MEANWHILE),
        (MANY, Group.ALONE),
        (DRAIN, Group.ALONE),
        (RING, Group.CASSANDRA),
        (WIPE, Group.ALONE),
        (UNIT, Group.NONE),
        (None, Group.NONE),
    ],
)
def test_only_what_is_marked_bears_cassandras_scenarios(test: pytest.Item | None, group: Group) -> None:
    assert group_of(test) is group


def test_the_rest_comes_when_cassandras_can_have_ended_and_last_what_takes_the_cluster_away() -> None:
    given = [UNIT, RELEASES, WIPE, MIRROR, DRAIN, MANY, RING, VOLUMES]
    assert sorted(given, key=rank) == [RING, VOLUMES, DRAIN, MANY, MIRROR, WIPE, RELEASES, UNIT]


class Lock:
    """Notes who has hold of it."""

    def __init__(self) -> None:
        self.held = 0
        self.taken = 0

    @contextmanager
    def __call__(self) -> Iterator[None]:
        self.held, self.taken = self.held + 1, self.taken + 1
        yield
        self.held -= 1


def test_a_process_has_the_turn_from_the_first_to_the_last_of_those_that_need_it() -> None:
    lock = Lock()
    turn = Turn(lock)
    seen = []
    tests = [VOLUMES, DRAIN, MANY, WIPE, UNIT]
    for test, following in zip(tests, [*tests[1:], None], strict=True):
        turn.before(test)
        seen.append(lock.held)
        turn.after(following)
    assert seen == [0, 1, 1, 1, 0]
    assert (lock.held, lock.taken) == (0, 1)


def test_one_process_that_carries_out_all_of_them_does_not_wait_for_itself() -> None:
    lock = Lock()
    turn = Turn(lock)
    for test, following in ((RING, RING), (RING, VOLUMES), (VOLUMES, DRAIN), (DRAIN, None)):
        turn.before(test)
        assert lock.held == (test is not VOLUMES)
        turn.after(following)
    assert (lock.held, lock.taken) == (0, 2)


def test_a_turn_goes_on_to_another_group_only_when_it_has_been_given_back() -> None:
    lock = Lock()
    turn = Turn(lock)
    turn.before(RING)
    turn.after(DRAIN)
    assert lock.held == 0
    turn.before(DRAIN)
    assert lock.held == 1


@pytest.mark.parametrize(
    ("test", "scope"),
    [
        ("e2e/test_cassandra.py::test_grows", "e2e/test_cassandra.py"),
        ("e2e/test_volumes.py::test_xfs[xfs]", "e2e"),
        ("tests/integration/test_views.py::test_one", "tests/integration"),
        ("tests/unit/e2e/test_turns.py::test_one", "tests/unit/e2e/test_turns.py"),
    ],
)
def test_cassandras_scenarios_the_others_and_the_integration_tests_have_a_process_each(test: str, scope: str) -> None:
    assert Rooms._split_scope(cast("Rooms", None), test) == scope
    assert (HERE.parent / ALONE[0]) == CASSANDRA
