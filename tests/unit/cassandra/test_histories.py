"""Histories that chance rarely comes to: what goes wrong at just the moment when it would do harm."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from controller.cassandra.access.answers import Decommission, Mode
from controller.cassandra.member.roster import Standing
from controller.cassandra.member.steps import DeleteVolume
from controller.cassandra.member.volumes import objection
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


@pytest.mark.parametrize("seed", range(6))
def test_who_could_not_leave_stays_when_it_is_wanted_again(seed: int) -> None:
    rounds = Rounds({"a": 3}, seed=seed)
    go_on(rounds, rounds.settled)
    before = host(rounds, LAST)
    rounds.world.slow = 20
    rounds.scale("a", 2)
    go_on(rounds, lambda: told(rounds))
    rounds.world.break_off(LAST)
    rounds.scale("a", 3)

    go_on(rounds, rounds.settled)
    assert told(rounds) == [LAST]
    assert host(rounds, LAST) == before
    assert len(rounds.world.ring) == 3


def test_who_leaves_already_joins_anew_when_it_is_wanted_again() -> None:
    rounds = settled()
    before = host(rounds, LAST)
    rounds.world.slow = 20
    rounds.scale("a", 2)
    go_on(rounds, lambda: told(rounds))
    rounds.scale("a", 3)

    go_on(rounds, rounds.settled)
    assert told(rounds) == [LAST]
    assert host(rounds, LAST) != before
    assert len(rounds.world.ring) == 3


@pytest.mark.parametrize("count", [3, 2])
def test_who_stopped_leaving_as_somebody_told_it_is_named_until_it_is_restarted(count: int) -> None:
    rounds = Rounds({"a": 3}, seed=1)
    go_on(rounds, rounds.settled)
    rounds.world.slow = 20
    rounds.tell_by_hand(SECOND, alone=True)
    rounds.tick()
    rounds.world.break_off(SECOND)
    assert rounds.world.processes[SECOND].mode is Mode.LEAVING
    rounds.scale("a", count)
    if count == 2:
        for _ in range(30):
            rounds.operate()
            rounds.tick()
        (only,) = rounds.operate(0)
        assert f"{SECOND} leaves the ring, told by hand; it streams nothing: if it has stopped, delete its pod" in (
            only.waits_for
        )
    rounds.restart_who_stopped()

    go_on(rounds, rounds.settled)
    assert host(rounds, SECOND) in rounds.world.ring
    assert len(rounds.world.ring) == count


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
    assert stands(rounds, LAST) is Standing.MEMBER
    rounds.world.frozen.clear()

    go_on(rounds, rounds.settled)
    assert told(rounds) == [LAST]


def host(rounds: Rounds, name: str) -> str:
    """The host ID that is written of a member."""
    assert rounds.roster is not None
    return rounds.roster.seats[name].host_id


@pytest.mark.parametrize("seed", range(4))
def test_who_takes_a_place_that_nobody_knows_any_more_joins(seed: int) -> None:
    rounds = Rounds({"a": 3}, seed=seed)
    go_on(rounds, rounds.settled)
    lost = host(rounds, SECOND)
    rounds.world.blocked.add(SECOND)
    rounds.give_up(SECOND)
    go_on(rounds, lambda: stands(rounds, SECOND) is Standing.REPLACING)
    rounds.world.take_out(lost)  # by hand

    go_on(rounds, rounds.settled)
    assert host(rounds, SECOND) != lost


@pytest.mark.parametrize("known", [True, False])
def test_of_two_that_are_lost_one_is_replaced_after_the_other(known: bool) -> None:
    """Whoever is not known to the others any more joins, and can only do so when all of them are up: it comes last."""
    rounds = Rounds({"a": 4}, copies=3)
    go_on(rounds, rounds.settled)
    before = {name: host(rounds, name) for name in (FIRST, LAST)}
    rounds.give_up(FIRST)
    rounds.give_up(LAST)
    if not known:
        rounds.world.take_out(before[FIRST])

    go_on(rounds, rounds.settled)
    assert all(host(rounds, name) != gone for name, gone in before.items())
    assert len(rounds.world.ring) == 4


def test_two_that_are_lost_and_not_wanted_are_taken_out_one_after_the_other() -> None:
    rounds = Rounds({"a": 5}, copies=3)
    go_on(rounds, rounds.settled)
    rounds.scale("a", 3)
    for name in (NEXT, f"{PREFIX}-a-4"):
        rounds.world.blocked.add(name)
        rounds.give_up(name)

    go_on(rounds, rounds.settled)
    assert told(rounds) == []
    assert len(rounds.world.ring) == 3


def test_who_has_not_begun_to_leave_stays_where_another_is_lost() -> None:
    rounds = settled(4)
    rounds.scale("a", 3)
    go_on(rounds, lambda: stands(rounds, NEXT) is Standing.LEAVING)
    rounds.give_up(SECOND)

    go_on(rounds, rounds.settled)
    assert told(rounds) == [NEXT]


def test_who_is_lost_while_it_leaves_is_taken_out() -> None:
    rounds = settled(4)
    rounds.world.slow = 50
    rounds.scale("a", 3)
    go_on(rounds, lambda: told(rounds))
    lost = host(rounds, NEXT)
    rounds.world.lose_node(NEXT)
    rounds.wish = replace(rounds.wish, lost={NEXT: lost})

    go_on(rounds, rounds.settled)
    assert told(rounds) == [NEXT]
    assert len(rounds.world.ring) == 3


def test_who_joined_counts_though_another_was_lost_meanwhile() -> None:
    rounds = settled(3)
    rounds.scale("a", 4)
    go_on(rounds, lambda: NEXT in rounds.world.processes and rounds.world.processes[NEXT].volume.bootstrapped)
    rounds.give_up(SECOND)

    go_on(rounds, rounds.settled)
    assert len(rounds.world.ring) == 4


@pytest.mark.parametrize("another", [True, False])
def test_who_is_lost_before_it_joined_is_given_up_and_joins_anew(another: bool) -> None:
    rounds = settled(3)
    rounds.world.slow = 60
    rounds.scale("a", 4)
    go_on(rounds, lambda: NEXT in rounds.world.processes and rounds.world.processes[NEXT].mode is Mode.JOINING)
    rounds.give_up_newcomer()
    if another:  # which is not to wait for a join that cannot end
        rounds.give_up(SECOND)
    rounds.world.slow = 3

    go_on(rounds, rounds.settled)
    assert len(rounds.world.ring) == 4


def test_a_successor_that_is_lost_before_it_took_the_place_is_given_up_too() -> None:
    rounds = settled(3)
    rounds.world.slow = 60
    rounds.give_up(SECOND)
    go_on(rounds, lambda: SECOND in rounds.world.processes and rounds.world.processes[SECOND].mode is Mode.JOINING)
    rounds.give_up_newcomer()
    rounds.world.slow = 3

    go_on(rounds, rounds.settled)
    assert len(rounds.world.ring) == 3


def test_a_volume_stays_where_a_member_counts_its_data_at_the_moment_of_the_act() -> None:
    rounds = settled()
    rounds.scale("a", 2)
    go_on(rounds, lambda: stands(rounds, LAST) is Standing.STOPPING and LAST not in rounds.world.processes)
    (wipe,) = (step.action for step in rounds.operate(0))
    process = rounds.world.processes[FIRST]
    process.view = replace(process.view, host_ids={**process.view.host_ids, "10.9.9.9": host(rounds, LAST)})

    assert isinstance(wipe, DeleteVolume)
    assert rounds.roster is not None
    assert FIRST in objection(wipe, rounds.roster, rounds.scene())
    (waits,) = rounds.operate()
    assert waits.waits_for == f"{FIRST} to see that"


def test_members_of_a_new_rack_get_their_rows_before_they_serve() -> None:
    """Whoever is its own seed would take its place without them."""
    rounds = settled(2)
    rounds.scale("b", 2)
    newcomers = [f"{PREFIX}-b-{ordinal}" for ordinal in range(2)]
    joined = set()

    def done() -> bool:
        for name in newcomers:
            process = rounds.world.processes.get(name)
            if process is not None and process.mode is Mode.JOINING:
                assert process.address not in process.seeds
                joined.add(name)
        return rounds.settled()

    go_on(rounds, done)
    assert joined == set(newcomers)
    assert all(rounds.world.holders[host(rounds, name)] for name in newcomers)


def test_a_member_that_is_lost_twice_is_replaced_twice_each_time_by_its_host_id_of_then() -> None:
    rounds = settled(3)
    before = host(rounds, SECOND)
    rounds.give_up(SECOND)
    go_on(rounds, rounds.settled)
    first = host(rounds, SECOND)
    rounds.world.lose(SECOND)
    for _ in range(30):  # consent for one loss is none for the next
        rounds.operate()
        rounds.tick()
        assert stands(rounds, SECOND) is Standing.MEMBER
    rounds.give_up(SECOND)
    go_on(rounds, rounds.settled)
    assert len({before, first, host(rounds, SECOND)}) == 3


def test_after_a_full_outage_those_that_start_find_each_other_though_one_never_does() -> None:
    rounds = settled(3)
    before = {name: host(rounds, name) for name in (FIRST, SECOND, LAST)}
    rounds.world.blocked.add(FIRST)
    for name in reversed(before):
        rounds.world.kill(name)
    go_on(rounds, lambda: all(n in rounds.world.processes and rounds.world.processes[n].serves for n in (SECOND, LAST)))
    for _ in range(60):
        rounds.operate()
        rounds.tick()
        assert rounds.world.violations == []
    assert rounds.world.rings == 1
    assert {name: host(rounds, name) for name in before} == before
    assert set(rounds.world.processes[SECOND].view.host_ids.values()) == set(before.values())
