"""Whatever happens, in whatever order: one ring, one change at a time, and no row is lost."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.cassandra.rounds import PREFIX, Rounds

RACKS = ("a", "b")
NAMES = [f"{PREFIX}-{rack}-{ordinal}" for rack in RACKS for ordinal in range(3)]

names = st.sampled_from(NAMES)
faults = st.one_of(
    st.tuples(st.just("pass"), st.integers(1, 8)),
    st.tuples(st.just("operate"), st.integers(0, 1)),
    st.tuples(st.just("kill"), names),
    st.tuples(st.just("freeze"), names),
    st.tuples(st.just("silence"), names),
    st.tuples(st.just("thaw"), st.just("")),
    st.tuples(st.just("lose"), names),
)
scaling = st.tuples(st.just("scale"), st.tuples(st.sampled_from(RACKS), st.integers(0, 3)))
chapters = st.lists(
    st.tuples(scaling, st.lists(faults, min_size=3, max_size=12)).map(lambda found: [found[0], *found[1]]),
    min_size=2,
    max_size=4,
).map(lambda found: [event for chapter in found for event in chapter])


def happen(rounds: Rounds, event: str, what: object) -> None:
    world = rounds.world
    match event, what:
        case "operate", int(most):
            rounds.operate(most)
        case "pass", int(ticks):
            for _ in range(ticks):
                rounds.tick()
                rounds.operate()
        case "kill", str(name):
            world.kill(name)
        case "freeze", str(name):
            world.frozen.add(name)
        case "silence", str(name):
            world.silent.add(name)
        case "thaw", _:
            world.frozen.clear()
            world.silent.clear()
        case "scale", (str(rack), int(count)):
            rounds.scale(rack, count)
            if sum(rounds.wish.racks.values()) < 2:  # there are rows with two copies
                rounds.scale("a", 2)
        case "lose", str(name):
            # Of two copies one is left: nobody else is lost before there are two again.
            if not world.frozen and rounds.settled() and len(world.ring) > 2:
                rounds.give_up(name)
    rounds.tick()


def settle(rounds: Rounds, most: int = 900) -> None:
    """Nothing goes wrong any more."""
    rounds.world.frozen.clear()
    rounds.world.silent.clear()
    for _ in range(most):
        rounds.operate()
        rounds.tick()
        if rounds.settled():
            return
    raise AssertionError([(step.subject, step.reason, step.waits_for) for step in rounds.operate(0)])


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(seed=st.integers(0, 10_000), history=chapters)
def test_a_ring_is_one_loses_nothing_and_becomes_what_is_wanted(seed: int, history: list[tuple[str, object]]) -> None:
    rounds = Rounds({"a": 2, "b": 1}, seed=seed)
    if seed % 4:
        settle(rounds)
    for event, what in history:
        happen(rounds, event, what)
        assert rounds.world.violations == []
    settle(rounds)
    assert rounds.world.violations == []
    assert rounds.world.rings == 1
