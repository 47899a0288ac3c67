"""Who is given up: a member that is down by everybody's word, whose host ID the spec names."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from controller.cassandra.access.answers import Mode, Phase, RemoveNode, Report, Ring
from controller.cassandra.member.roster import Standing
from controller.cassandra.member.steps import DeleteVolume, NewAddress, Restart, Tell, WriteRoster
from tests.unit.cassandra.member import scenes
from tests.unit.cassandra.member.scenes import ALL, FIRST, HOSTS, LAST, RING, SECOND, scene, seen, state, unanswered

if TYPE_CHECKING:
    from controller.cassandra.member.ring import Scene, Seen

LOST = {SECOND: f"host-{SECOND}"}
DOWN = replace(RING, live=ALL - {f"ip-{SECOND}"}, unreachable=frozenset({f"ip-{SECOND}"}))
GONE = (SECOND, unanswered(SECOND))


def viewing(first: Ring, last: Ring, lost: tuple[str, Seen] = GONE) -> Scene:
    """What the two others see of the one that is lost."""
    return scene((FIRST, seen(FIRST, state(FIRST, ring=first))), (LAST, seen(LAST, state(LAST, ring=last))), lost)


NOT_LOST = [
    pytest.param(scene(), f"{SECOND} to be down: it answers", id="it is well"),
    pytest.param(
        viewing(DOWN, DOWN, (SECOND, seen(SECOND, state(SECOND, native_running=False)))),
        f"{SECOND} to be down: it answers",
        id="it speaks with the others",
    ),
    pytest.param(viewing(RING, RING), f"{FIRST}, {LAST} to see it down", id="all see it up"),
    pytest.param(viewing(DOWN, RING), f"{LAST} to see it down", id="one sees it up"),
    pytest.param(
        scene((FIRST, unanswered(FIRST)), (LAST, unanswered(LAST)), GONE),
        "another member to serve",
        id="nobody else is there",
    ),
    pytest.param(
        scene((FIRST, seen(FIRST, state(FIRST, ring=DOWN))), (LAST, unanswered(LAST)), GONE),
        f"{LAST} does not answer",
        id="another does not answer",
    ),
]


@pytest.mark.parametrize(("found", "why"), NOT_LOST)
def test_nobody_is_given_up_who_may_be_alive(found: Scene, why: str) -> None:
    only = scenes.step(scenes.wish(3, lost=LOST), scenes.roster(), found)

    assert only.action is None
    assert why in only.waits_for


def test_nobody_is_given_up_whose_host_id_is_not_named() -> None:
    for lost in ({}, {SECOND: "host-before"}, {LAST: f"host-{SECOND}"}):
        found = viewing(DOWN, DOWN)
        taken = scenes.step(scenes.wish(4, lost=lost), scenes.roster(), found)
        assert taken.action is None


def test_who_is_down_by_all_others_is_given_up() -> None:
    only = scenes.step(scenes.wish(3, lost=LOST), scenes.roster(), viewing(DOWN, DOWN))

    assert isinstance(only.action, WriteRoster)
    given_up = only.action.roster.seats[SECOND]
    assert given_up.standing is Standing.REPLACING
    assert (given_up.replaces, given_up.volume) == (f"ip-{SECOND}", f"claim-{SECOND}")


REPLACED = scenes.roster(
    a1=scenes.seat(1, standing=Standing.REPLACING, replaces=f"ip-{SECOND}", volume=f"claim-{SECOND}")
)


def test_its_volume_goes_first_and_then_its_address() -> None:
    lost = unanswered(SECOND)

    wipe = scenes.step(scenes.wish(3, lost=LOST), REPLACED, viewing(DOWN, DOWN))
    assert wipe.action == DeleteVolume(SECOND, f"claim-{SECOND}", f"pod-{SECOND}", lost=LOST[SECOND])
    emptied = (SECOND, replace(lost, claim="claim-new"))
    move = scenes.step(scenes.wish(3, lost=LOST), REPLACED, viewing(DOWN, DOWN, emptied))
    assert move.action == NewAddress(member=SECOND, service=f"service-{SECOND}", lost=LOST[SECOND])
    moved = (SECOND, replace(lost, claim="claim-new", address="ip-new"))
    assert scenes.step(scenes.wish(3, lost=LOST), REPLACED, viewing(DOWN, DOWN, moved)).action is None
    pending = (SECOND, replace(lost, claim="", address="ip-new"))
    assert scenes.step(scenes.wish(3, lost=LOST), REPLACED, viewing(DOWN, DOWN, pending)).action == Restart(
        SECOND, f"pod-{SECOND}"
    )


def successor(**changes: Any) -> tuple[str, Seen]:
    told = state(SECOND, host_id="host-new", **changes)
    report = Report(Phase.RUNNING, "", "host-new", 100, 90)
    return SECOND, replace(seen(SECOND, told, report=report), address="ip-new", claim="claim-new")


PLACED = Ring(
    {**{a: h for a, h in HOSTS.items() if h != f"host-{SECOND}"}, "ip-new": "host-new"},
    live=(ALL - {f"ip-{SECOND}"}) | {"ip-new"},
)
BOTH = replace(PLACED, host_ids={**HOSTS, "ip-new": "host-new"})


@pytest.mark.parametrize(
    ("found", "why"),
    [
        pytest.param(viewing(DOWN, DOWN, successor(mode=Mode.JOINING, native_running=False)), "JOINING", id="it comes"),
        pytest.param(viewing(PLACED, DOWN, successor()), f"{LAST} to see it up", id="one has not seen it"),
        pytest.param(viewing(PLACED, BOTH, successor()), f"{LAST} to forget host ID", id="one counts the lost one"),
    ],
)
def test_a_place_is_not_taken_before_all_others_see_it(found: Scene, why: str) -> None:
    only = scenes.step(scenes.wish(3, lost=LOST), REPLACED, found)

    assert only.action is None
    assert why in only.waits_for


def test_a_place_is_taken_when_all_others_see_it() -> None:
    only = scenes.step(scenes.wish(3, lost=LOST), REPLACED, viewing(PLACED, PLACED, successor()))

    assert isinstance(only.action, WriteRoster)
    placed = only.action.roster.seats[SECOND]
    assert (placed.standing, placed.host_id, placed.replaces) == (Standing.MEMBER, "host-new", "")
    assert [chore.member for chore in only.action.roster.chores] == [SECOND]


def test_a_lost_member_that_nobody_wants_is_taken_out_by_another_and_told_once() -> None:
    lost, down = {LAST: f"host-{LAST}"}, replace(RING, live=ALL - {f"ip-{LAST}"})
    known = scenes.roster(a2=scenes.seat(2, standing=Standing.LEAVING, lost=True))
    job = (FIRST, f"remove-host-{LAST}")
    gone = (LAST, unanswered(LAST))

    told = scenes.step(scenes.wish(2, lost=lost), known, scene(gone, ring=down, jobs={job: None}))
    assert told.action == Tell(*job, RemoveNode(f"host-{LAST}"))
    unknown = scenes.step(scenes.wish(2, lost=lost), known, scene(gone, ring=down))
    assert unknown.action is None
