"""Which scenarios go on at the same time, where a run has two processes: Cassandra's have one of their own.

Cassandra's scenarios mostly wait. They also kill operators, and make and remove volumes, which only those others bear
that have the mark `meanwhile`, and not `alone` where only their module has that: what they look at is theirs alone.
The rest begins when Cassandra's have ended.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from enum import Enum
from pathlib import Path

import pytest

HERE = Path(__file__).parent
CASSANDRA = HERE / "test_cassandra.py"
LAST = (HERE / "test_wipe.py", HERE / "test_releases.py")
"""After each of these there is no Ceph cluster."""


class Group(Enum):
    """What a scenario bears beside itself. Of `CASSANDRA` and `ALONE`, only one goes on at a time."""

    CASSANDRA = "Cassandra's"
    MEANWHILE = "those that may go on beside Cassandra's"
    ALONE = "the rest"
    NONE = "no scenario"


def group_of(item: pytest.Item | None) -> Group:
    """The group of a test."""
    if item is None or not item.path.is_relative_to(HERE):
        return Group.NONE
    if item.path == CASSANDRA:
        return Group.CASSANDRA
    bears = item.get_closest_marker("meanwhile") and not item.get_closest_marker("alone")
    return Group.MEANWHILE if bears else Group.ALONE


def rank(item: pytest.Item) -> int:
    """Where a test stands in a run: the rest after those that may go on beside Cassandra's, then what is long."""
    if item.path in LAST:
        return 3 + LAST.index(item.path)
    order = {Group.CASSANDRA: 0, Group.MEANWHILE: 0, Group.ALONE: 1, Group.NONE: 3 + len(LAST)}
    return max(order[group_of(item)], 2 if item.get_closest_marker("long") else 0)


class Turn:
    """The turn of this process: it has it while it carries out scenarios of `CASSANDRA` or `ALONE`.

    Args:
        lock: Makes the lock of which only one process has hold.
    """

    def __init__(self, lock: Callable[[], AbstractContextManager[None]]) -> None:
        self._lock = lock
        self._held = ExitStack()
        self._group = Group.NONE

    def before(self, item: pytest.Item) -> None:
        """A test begins: wait for the turn, where it needs one."""
        group = group_of(item)
        if group in (Group.CASSANDRA, Group.ALONE) and group is not self._group:
            self._held.enter_context(self._lock())
            self._group = group

    def after(self, following: pytest.Item | None) -> None:
        """A test has ended, and this is the next one of this process: the turn is over, unless it goes on."""
        if group_of(following) is not self._group:
            self._held.close()
            self._group = Group.NONE
