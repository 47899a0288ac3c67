"""Scale-in: what is next for a member that leaves, and that none of its data goes, wherever it is interrupted."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.framework.scalein import Act, Member, Next, ScaleIn, plan

if TYPE_CHECKING:
    from collections.abc import Iterable

WHOLE = Member(name="a", stored=True, consent="spec.wipe")
LEFT = Member(name="a", begun=True, counted=False, elsewhere=True, serves=False, made=False, stored=True)


def one(member: Member) -> Next:
    """What is next for a member that is one too many."""
    (step,) = plan([member], 0).steps
    return step


@pytest.mark.parametrize(
    ("member", "act", "waits_for", "consent"),
    [
        (WHOLE, Act.DRAIN, "", ""),
        (replace(WHOLE, hold="room elsewhere"), Act.DRAIN, "room elsewhere", ""),
        (replace(WHOLE, begun=True, draining=True), None, "the data of a to be elsewhere", ""),
        (replace(WHOLE, begun=True, draining=True, progress="40 %"), None, "the data of a to be elsewhere: 40 %", ""),
        (replace(WHOLE, begun=True), Act.DRAIN, "", ""),
        (replace(WHOLE, elsewhere=True), Act.DRAIN, "", ""),
        (replace(WHOLE, begun=True, elsewhere=True), Act.STOP, "", ""),
        (replace(WHOLE, begun=True, elsewhere=True, serves=False), Act.REMOVE, "", ""),
        (replace(WHOLE, elsewhere=True, counted=False), Act.STOP, "", ""),
        (replace(WHOLE, elsewhere=True, counted=False, serves=False), Act.STOP, "", ""),
        (replace(LEFT, consent="spec.wipe"), Act.WIPE, "", "spec.wipe"),
        (LEFT, Act.WIPE, "", ""),
        (replace(WHOLE, counted=None), None, "the system to say whether a is a member", ""),
        (replace(LEFT, counted=None), None, "the system to say whether a is a member", ""),
        (replace(LEFT, elsewhere=False), None, "the data of a to be elsewhere", ""),
    ],
)
def test_what_is_next(member: Member, act: Act | None, waits_for: str, consent: str) -> None:
    assert one(member) == Next(member=member, act=act, waits_for=waits_for, consent=consent)


def test_nothing_is_next_for_one_of_which_nothing_is_left() -> None:
    assert plan([replace(LEFT, stored=False)], 0) == ScaleIn()


def members(*names: str, **changes: Member) -> list[Member]:
    return [changes.get(name) or replace(WHOLE, name=name) for name in names]


def told(found: ScaleIn) -> list[tuple[str, Act | None]]:
    return [(step.member.name, step.act) for step in found.steps]


def test_as_many_leave_as_there_are_too_many_one_after_the_other_in_the_order_given() -> None:
    assert told(plan(members("c", "b", "a"), 3)) == []
    assert told(plan(members("c", "b", "a"), 1)) == [("c", Act.DRAIN)]
    assert told(plan(members("c", "b", "a"), 1, at_once=None)) == [("c", Act.DRAIN), ("b", Act.DRAIN)]


def test_one_that_has_begun_goes_first_and_to_the_end_whatever_number_is_wanted_by_now() -> None:
    begun = replace(WHOLE, name="a", begun=True, draining=True)
    for wanted in (0, 2, 3, 9):
        found = plan(members("c", "b", "a", a=begun), wanted)
        assert told(found) == [("a", None)]
        assert found.growth_waits_for == "a to have left"


def test_a_store_that_waits_for_consent_holds_up_no_other_that_leaves_but_a_new_member() -> None:
    left = replace(LEFT, name="d", consent="spec.wipe")
    found = plan(members("d", "c", "b", d=left), 1)
    assert told(found) == [("d", Act.WIPE), ("c", Act.DRAIN)]
    assert found.growth_waits_for == "d to have left"


@dataclass
class Place:
    """A member as it is, whether or not anybody sees it.

    `data`: what of it nobody else has.
    """

    data: int = 2
    asked: bool = False
    moving: bool = False
    counted: bool = True
    serves: bool = True
    made: bool = True
    stored: bool = True


class World:
    """A system with one member a place, where data moves a piece at a time, and an operator that looks at it."""

    def __init__(self, size: int) -> None:
        self.places = {number: Place() for number in range(size)}
        self.total = 2 * size
        self.wanted, self.consent, self.answers = size, False, True

    def seen(self) -> list[Member]:
        return [self._member(number) for number in sorted(self.places, reverse=True)]

    def _member(self, number: int) -> Member:
        place = self.places[number]
        return Member(
            name=str(number),
            begun=place.asked,
            counted=place.counted if self.answers else None,
            draining=self.answers and place.moving,
            elsewhere=self.answers and not place.data,
            serves=place.serves,
            made=place.made,
            stored=place.stored,
            consent="" if self.consent else "spec.wipe",
        )

    def look(self, *, dies_after: int | None = None) -> bool:
        """One look of the operator, which may die after so many acts. Whether there was anything to do."""
        found = plan(self.seen(), self.wanted)
        ready = [step for step in found.steps if step.act is not None and not step.waits_for and not step.consent]
        for step in ready[:dies_after]:
            assert step.act is not None
            self.carry_out(int(step.member.name), step.act)
        grows = not found.growth_waits_for and len(self.places) < self.wanted
        if grows and dies_after is None:
            free = min(set(range(self.wanted)) - self.places.keys())
            self.places[free] = Place(data=0)
        return bool(ready) or grows

    def carry_out(self, number: int, act: Act) -> None:
        place = self.places[number]
        if act is Act.DRAIN:
            assert not any(p.moving and p.data for p in self.places.values()), "one at a time"
            place.asked = place.moving = True
            return
        assert place.data == 0, f"{act} of a member that has data"
        if act is Act.STOP:
            place.serves = place.made = False
        elif act is Act.REMOVE:
            assert not place.serves
            place.counted = False
        else:
            assert self.consent, "a store is destroyed without consent"
            assert not any((place.counted, place.serves, place.made)), "a store is destroyed under its member"
            place.stored = False
        if not (place.counted or place.serves or place.made or place.stored):
            del self.places[number]

    def moves(self) -> bool:
        """Time goes by: a piece of data finds another place. Whether any did."""
        for number, place in self.places.items():
            others = [p for n, p in self.places.items() if n != number and p.serves and not p.asked]
            if place.moving and place.data and others:
                place.data -= 1
                others[0].data += 1
                return True
            place.moving = place.moving and bool(place.data)
        return False

    def settle(self) -> None:
        """Nothing disturbs any more."""
        self.answers = self.consent = True
        for _ in range(200):
            # Both go on, whichever of them had something to do.
            if not any([self.look(), self.moves()]):
                return
        pytest.fail(f"it never ends: {self.places}")


@given(
    size=st.integers(min_value=1, max_value=5),
    events=st.lists(
        st.one_of(
            st.tuples(st.just("want"), st.integers(min_value=1, max_value=6)),
            st.tuples(st.just("look"), st.none() | st.integers(min_value=0, max_value=1)),
            st.tuples(st.sampled_from(["move", "move stops", "consent", "silence"]), st.none()),
        ),
        max_size=40,
    ),
)
def test_it_ends_the_same_wherever_it_is_interrupted(size: int, events: Iterable[tuple[str, int | None]]) -> None:
    """The operator dies, the system is silent, a move breaks off, the number and the consent change."""
    world = World(size)
    for event, number in events:
        if event == "want":
            assert number is not None
            world.wanted = number
        elif event == "look":
            world.look(dies_after=number)
        elif event == "move":
            world.moves()
        elif event == "move stops":
            for place in world.places.values():
                place.moving = False
        elif event == "consent":
            world.consent = not world.consent
        else:
            world.answers = not world.answers
        assert sum(place.data for place in world.places.values()) == world.total
    world.settle()
    assert len(world.places) == world.wanted
    whole = [p for p in world.places.values() if p.counted and p.serves and p.made and p.stored and not p.asked]
    assert len(whole) == world.wanted
    assert sum(place.data for place in whole) == world.total
