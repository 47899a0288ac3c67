"""Histories that chance rarely comes to: what goes wrong at just the moment when it would do harm."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from controller.cassandra.access.answers import Decommission, Mode
from controller.cassandra.member.roster import Standing
from tests.unit.cassandra.daemons import KEYS
from tests.unit.cassandra.rounds import PREFIX, Rounds

if TYPE_CHECKING:
    from collections.abc import Callable

FIRST, SECOND, LAST, NEXT = (f"{PREFIX}-a-{ordinal}" for ordinal in range(4))


def go_on(rounds: Rounds, until: Callable[[], object], *, most: int = 10) -> None:
    """Seconds pass, with a look in each, until something is so; what must never be has never been."""
    for _ in range(600):
        if until():
            return
        rounds.operate(most)
        rounds.tick()
        assert rounds.world.violations == []
    raise AssertionError([(step.subject, step.reason, step.waits_for) for step in rounds.operate(0)])


def settled(count: int = 3) -> Rounds:
    """A ring of so many members in one rack, at rest."""
    rounds = Rounds({"a": count})
    go_on(rounds, rounds.settled)
    return rounds


def stands(rounds: Rounds, name: str) -> Standing | None:
    """How a member belongs to the ring, as it is written."""
    seat = rounds.roster.seats.get(name) if rounds.roster is not None else None
    return seat.standing if seat is not None else None


def told(rounds: Rounds) -> list[str]:
    """Who was told to leave."""
    return [name for name, command in rounds.world.told if isinstance(command, Decommission)]


def test_who_joins_gets_its_rows_and_is_nobody_s_seed_before() -> None:
    rounds = settled(2)
    rounds.world.slow = 20
    rounds.scale("a", 3)
    go_on(rounds, lambda: LAST in rounds.world.processes and rounds.world.processes[LAST].mode is Mode.JOINING)
    process = rounds.world.processes[LAST]
    assert process.address not in process.seeds

    go_on(rounds, rounds.settled)
    rows = rounds.world.holders[process.volume.host_id]
    assert rows
    assert rows < set(KEYS)


@pytest.mark.parametrize("gone", ["decommission", "frozen", "silent", "split", "kill"])
def test_nobody_begins_to_join_while_another_is_not_well(gone: str) -> None:
    rounds = settled(3)
    world = rounds.world
    world.slow = 20
    match gone:
        case "decommission":
            rounds.tell_by_hand(SECOND, alone=True)
        case "split":
            world.split_schema(SECOND)
            for process in world.processes.values():
                world.hear(process)
        case "kill":
            world.blocked.add(SECOND)
            world.kill(SECOND)
        case _:
            getattr(world, gone).add(SECOND)
    rounds.scale("a", 4)
    for _ in range(10):
        rounds.operate()
        assert stands(rounds, NEXT) is None
        rounds.tick()
        assert world.violations == []


def test_who_is_told_to_leave_by_hand_is_not_told_by_the_operator() -> None:
    rounds = settled()
    rounds.scale("a", 2)
    go_on(rounds, lambda: stands(rounds, LAST) is Standing.LEAVING, most=1)
    rounds.tell_by_hand(LAST, alone=False)

    go_on(rounds, rounds.settled)
    assert told(rounds) == []


def test_who_is_told_to_leave_is_told_once_whenever_the_operator_dies() -> None:
    rounds = settled()
    rounds.world.slow = 20
    rounds.scale("a", 2)

    go_on(rounds, rounds.settled, most=1)
    assert told(rounds) == [LAST]


def test_who_has_left_is_not_told_again_after_it_was_restarted() -> None:
    rounds = settled()
    rounds.scale("a", 2)
    go_on(rounds, lambda: told(rounds))
    while not rounds.world.processes[LAST].volume.left:
        rounds.tick()
    rounds.world.kill(LAST)

    go_on(rounds, rounds.settled)
    assert told(rounds) == [LAST]


@pytest.mark.parametrize("seed", range(4))
def test_who_stopped_leaving_halfway_begins_anew(seed: int) -> None:
    """Some say so, and are told again after a while; others go on as if they left, and are restarted first."""
    rounds = Rounds({"a": 3}, seed=seed)
    go_on(rounds, rounds.settled)
    rounds.world.slow = 20
    rounds.scale("a", 2)
    go_on(rounds, lambda: told(rounds))
    rounds.world.break_off(LAST)

    go_on(rounds, rounds.settled)
    assert told(rounds) == [LAST, LAST]


@pytest.mark.parametrize("deaf", [(FIRST,), (SECOND,), (FIRST, SECOND)])
def test_who_left_is_stopped_when_everybody_has_heard_of_it(deaf: tuple[str, ...]) -> None:
    rounds = settled()
    rounds.scale("a", 2)
    go_on(rounds, lambda: told(rounds))
    rounds.world.deaf |= set(deaf)
    go_on(rounds, lambda: stands(rounds, LAST) is Standing.LEFT)
    for _ in range(30):
        rounds.operate()
        rounds.tick()
        assert stands(rounds, LAST) is Standing.LEFT
        assert LAST in rounds.world.processes
    rounds.world.deaf.clear()

    go_on(rounds, rounds.settled)
    assert len(rounds.world.ring) == 2


def test_who_joined_unseen_and_died_at_once_keeps_its_volume_though_it_is_not_wanted() -> None:
    rounds = settled(2)
    rounds.scale("a", 3)
    go_on(rounds, lambda: LAST in rounds.world.processes)
    process = rounds.world.processes[LAST]
    while not process.volume.bootstrapped:  # nobody looks
        rounds.tick()
    rounds.tick()
    for other in rounds.world.processes.values():
        rounds.world.hear(other)
    rounds.world.frozen.add(LAST)
    rounds.world.kill(LAST)
    rounds.scale("a", 2)
    for _ in range(10):
        rounds.operate()
        rounds.tick()
    assert stands(rounds, LAST) is Standing.JOINING
    rounds.world.frozen.clear()

    go_on(rounds, rounds.settled)
    assert told(rounds) == [LAST]
