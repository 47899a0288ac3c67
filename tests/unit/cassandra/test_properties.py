"""Whatever happens, in whatever order: one ring, one change at a time, and no row is lost."""

from __future__ import annotations

import random

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from tests.unit.cassandra.rounds import PREFIX, Rounds

RACKS = ("a", "b")
NAMES = [f"{PREFIX}-{rack}-{ordinal}" for rack in RACKS for ordinal in range(3)]
SETTLING = 300
"""Seconds in which a ring becomes what is wanted, when nothing goes wrong any more."""


def happen(rounds: Rounds, chance: random.Random) -> str:
    """Something goes wrong, or the operator dies after some steps, or some seconds pass."""
    world, name = rounds.world, chance.choice(NAMES)
    event = chance.choice(("pass", "operate", "kill", "freeze", "silence", "thaw", "lose"))
    match event:
        case "pass":
            for _ in range(chance.randint(1, 8)):
                rounds.tick()
                rounds.operate()
        case "operate":
            rounds.operate(chance.randint(0, 1))
        case "kill":
            world.kill(name)
        case "freeze":
            world.frozen.add(name)
        case "silence":
            world.silent.add(name)
        case "thaw":
            world.frozen.clear()
            world.silent.clear()
        case "lose" if not world.frozen and rounds.settled() and len(world.ring) > 2:
            # Of two copies one is left: nobody else is lost before there are two again.
            rounds.give_up(name)
    rounds.tick()
    return f"{event} {name}"


def settle(rounds: Rounds) -> None:
    """Nothing goes wrong any more."""
    rounds.world.frozen.clear()
    rounds.world.silent.clear()
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
