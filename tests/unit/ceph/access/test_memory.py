"""Answers of a moment ago: what is remembered, and what ends that."""

from __future__ import annotations

from typing import Any

import pytest

from controller.ceph.access.memory import OLD, READS, Memory

DUMP = ("osd dump", '{"prefix": "osd dump"}')
CONFIG = ("config dump", '{"prefix": "config dump"}')
MGR = ("mgr dump", '{"prefix": "mgr dump"}')


class Time:
    """A clock that is moved by hand."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def status(*, epoch: int = 1, standbys: int = 1, election: int = 4, **more: Any) -> dict[str, Any]:
    return {
        "osdmap": {"epoch": epoch, "num_osds": 3, "num_up_osds": 3, "num_in_osds": 3, **more},
        "mgrmap": {"available": True, "num_standbys": standbys},
        "monmap": {"epoch": 1},
        "election_epoch": election,
        "quorum_names": ["a"],
    }


def remembering(clock: Time) -> Memory:
    memory = Memory(clock)
    memory.heard(status())
    for question in (DUMP, CONFIG, MGR):
        memory.keep(question, b"x", memory.writes)
    return memory


def test_an_answer_holds_while_nothing_changes() -> None:
    clock = Time()
    memory = remembering(clock)
    clock.now += OLD
    memory.heard(status(num_remapped_pgs=7))
    assert [memory.recall(q) for q in (DUMP, CONFIG, MGR)] == [b"x"] * 3
    clock.now += 0.1
    assert [memory.recall(q) for q in (DUMP, CONFIG, MGR)] == [None] * 3


@pytest.mark.parametrize(
    ("change", "left"),
    [
        ({"epoch": 2}, [CONFIG, MGR]),
        ({"num_up_osds": 2}, [CONFIG, MGR]),
        ({"standbys": 0}, [DUMP, CONFIG]),
        ({"election": 6}, [DUMP, CONFIG]),
    ],
)
def test_a_part_of_the_status_that_changes_ends_what_depends_on_it(change: dict[str, Any], left: list[Any]) -> None:
    memory = remembering(Time())
    memory.heard(status(**change))
    assert [q for q in (DUMP, CONFIG, MGR) if memory.recall(q)] == left


def test_a_write_ends_everything_also_what_was_asked_before_it() -> None:
    memory = remembering(Time())
    asked_at = memory.writes
    memory.wrote()
    memory.keep(DUMP, b"old", asked_at)
    assert [memory.recall(q) for q in (DUMP, CONFIG, MGR)] == [None] * 3


def test_nothing_is_remembered_of_a_cluster_whose_status_is_not_known() -> None:
    memory = Memory(Time())
    memory.keep(DUMP, b"x", 0)
    assert memory.recall(DUMP) is None


def test_no_command_that_changes_anything_is_remembered() -> None:
    words = {"set", "rm", "create", "add", "enable", "disable", "delete", "out", "purge"}
    assert not [command for command in READS if words & set(command.split())]
