"""Whatever happens, in whatever order: one ring, one change at a time, and no row is lost."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from controller.cassandra.access.answers import Mode
from controller.cassandra.member.roster import Standing
from tests.unit.cassandra.rounds import PREFIX, Rounds
from tests.unit.cassandra.world import World

if TYPE_CHECKING:
    from collections.abc import Callable

RACKS = ("a", "b")
NAMES = [f"{PREFIX}-{rack}-{ordinal}" for rack in RACKS for ordinal in range(3)]
SETTLING = 600
"""Seconds in which a ring becomes what is wanted, when nothing goes wrong any more."""


FAULTS: dict[str, Callable[[World, str], object]] = {
    "kill": World.kill,
    "freeze": lambda world, name: world.frozen.add(name),
    "silence": lambda world, name: world.silent.add(name),
    "deafen": lambda world, name: world.deaf.add(name),
    "change the schema of": World.split_schema,
    "break off what leaves": World.break_off,
}


EVENTS = ("pass", "pass", "operate", "thaw", "lose", "lose the newcomer", "take out by hand", "tell by hand", *FAULTS)


def take_out(rounds: Rounds) -> None:
    """Somebody takes the member that is replaced out of the ring by hand, while all others are up."""
    moving, down = rounds.roster.moving if rounds.roster is not None else None, rounds.world.down
    if moving is None or moving[1].standing is not Standing.REPLACING or down != [moving[1].host_id]:
        return
    process = rounds.world.processes.get(moving[0])
    if process is None or process.mode is not Mode.JOINING:
        rounds.world.take_out(moving[1].host_id)


def thaw(world: World) -> None:
    """What went wrong goes on no more."""
    for away in (world.frozen, world.silent, world.deaf):
        away.clear()
    world.split = ""


def happen(rounds: Rounds, chance: random.Random) -> str:
    """Something goes wrong, or the operator dies after some steps, or some seconds pass."""
    world, name = rounds.world, chance.choice(NAMES)
    event = chance.choice(EVENTS)
    # Of two copies one is left: nobody else is lost before there are two again.
    may_lose = not world.frozen and rounds.settled() and len(world.ring) > 2
    match event:
        case "pass":
            for _ in range(chance.randint(1, 8)):
                rounds.tick()
                rounds.operate()
        case "operate":
            rounds.operate(chance.randint(0, 1))
        case "thaw":
            thaw(world)
        case "lose" if may_lose:
            rounds.give_up(name)
        case "lose the newcomer":
            rounds.give_up_newcomer()
        case "take out by hand":
            take_out(rounds)
        case "tell by hand":
            rounds.tell_by_hand(name, alone=may_lose)
        case fault if fault in FAULTS:
            FAULTS[fault](world, name)
    rounds.tick()
    return f"{event} {name}"


def settle(rounds: Rounds) -> None:
    """Nothing goes wrong any more."""
    thaw(rounds.world)
    rounds.restart_who_stopped()
    for _ in range(SETTLING):
        rounds.operate()
        rounds.tick()
        if rounds.settled():
            return
    raise AssertionError([(step.subject, step.reason, step.waits_for) for step in rounds.operate(0)])


@settings(max_examples=60, phases=[Phase.generate])
@given(seed=st.integers(0, 1_000_000))
def test_a_ring_is_one_loses_nothing_and_becomes_what_is_wanted(seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311
    rounds = Rounds({"a": 2, "b": 1}, seed=seed)
    if seed % 4:
        settle(rounds)
    for _ in range(chance.randint(1, 3)):
        rounds.scale(chance.choice(RACKS), chance.randint(0, 3))
        if sum(rounds.wish.racks.values()) < 2:  # there are rows with two copies
            rounds.scale("a", 2)
        for _ in range(chance.randint(3, 12)):
            event = happen(rounds, chance)
            assert rounds.world.violations == [], event
    settle(rounds)
    assert rounds.world.violations == []
    assert rounds.world.rings == 1
