"""What every change of the ring waits for: nobody joins, leaves or is given up while another is not well."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from controller.cassandra.access.answers import Bootstrap, Job, JobState, Keyspace, Mode, Phase, Report, Stream
from controller.cassandra.member.analyze import analyze
from controller.cassandra.member.roster import Chore, ChoreKind, Standing
from controller.cassandra.member.steps import LANE, Replicate, Tell, WriteRoster
from tests.unit.cassandra.member import scenes
from tests.unit.cassandra.member.scenes import ALL, FIRST, HOSTS, LAST, NEXT, RING, SECOND, scene, seen, state

if TYPE_CHECKING:
    from controller.cassandra.member.ring import Scene

UNSEEN = replace(RING, live=ALL - {f"ip-{LAST}"}, unreachable=frozenset({f"ip-{LAST}"}))

FULL = Report(Phase.RUNNING, "", f"host-{SECOND}", 100, 0, "the volume is full")

UNWELL = [
    pytest.param(scene((SECOND, scenes.unanswered(SECOND))), f"{SECOND} does not answer", id="one does not answer"),
    pytest.param(
        scene((SECOND, seen(SECOND, None, report=Report(Phase.REFUSED, "why", f"host-{SECOND}")))),
        f"{SECOND} runs no Cassandra: why",
        id="one is not started",
    ),
    pytest.param(
        scene((SECOND, seen(SECOND, state(SECOND, mode=Mode.STARTING, native_running=False)))),
        f"{SECOND} is STARTING",
        id="one starts",
    ),
    pytest.param(
        scene((SECOND, seen(SECOND, state(SECOND, gossip_running=False)))),
        f"{SECOND} runs with gossip off",
        id="one is a zombie",
    ),
    pytest.param(
        scene((SECOND, seen(SECOND, state(SECOND, gossip_running=False), report=FULL))),
        f"{SECOND} does not serve: the volume is full",
        id="one is a zombie for want of room",
    ),
    pytest.param(
        scene((SECOND, seen(SECOND, None, report=replace(FULL, phase=Phase.REFUSED, message="the volume is full")))),
        f"{SECOND} does not serve: the volume is full",
        id="one is not started for want of room",
    ),
    pytest.param(
        scene((SECOND, seen(SECOND, state(SECOND, bootstrap=Bootstrap.DECOMMISSIONED, mode=Mode.DECOMMISSIONED)))),
        f"{SECOND} has left the ring without being told to",
        id="one was told to leave by hand",
    ),
    pytest.param(
        scene((SECOND, seen(SECOND, state(SECOND, mode=Mode.LEAVING)))),
        f"{SECOND} leaves the ring, told by hand; it streams nothing: if it has stopped, delete its pod",
        id="one leaves by hand",
    ),
    pytest.param(
        scene((SECOND, seen(SECOND, state(SECOND, host_id="host-else")))),
        f"{SECOND} has the data of host ID host-else",
        id="one has another's volume",
    ),
    pytest.param(
        scene((FIRST, seen(FIRST, state(FIRST, ring=UNSEEN)))), f"{FIRST} does not see {LAST} up", id="views differ"
    ),
    pytest.param(
        scene(ring=replace(RING, host_ids={**HOSTS, "ip-x": "host-x"})),
        "a member at ip-x with host ID host-x that is not the operator's",
        id="a stranger is in the ring",
    ),
    pytest.param(scene(ring=replace(RING, joining=frozenset({"ip-x"}))), "sees that ip-x joins", id="another joins"),
    pytest.param(
        scene(ring=replace(RING, leaving=frozenset({f"ip-{FIRST}"}))),
        f"sees that {FIRST} leaves",
        id="another leaves",
    ),
    pytest.param(scene(ring=replace(RING, moving=frozenset({f"ip-{FIRST}"}))), f"{FIRST} moves", id="another moves"),
    pytest.param(
        scene(ring=replace(RING, schema={"one": ALL - {f"ip-{LAST}"}, "two": frozenset({f"ip-{LAST}"})})),
        "2 versions of the schema",
        id="schemas differ",
    ),
    pytest.param(
        scene(ring=replace(RING, schema={"one": ALL - {f"ip-{LAST}"}, "UNREACHABLE": frozenset({f"ip-{LAST}"})})),
        f"does not know which schema {LAST} has",
        id="a schema is not known",
    ),
    pytest.param(
        scene((SECOND, seen(SECOND, state(SECOND, release="4.1.7")))),
        "members run 4.1.7 and 5.0.3",
        id="versions are mixed",
    ),
]
BUSY = [
    pytest.param(
        scene((SECOND, seen(SECOND, state(SECOND, streams=(Stream("Repair"),))))),
        f"{SECOND} streams data",
        id="data are streamed",
    ),
    pytest.param(
        scene(jobs={(SECOND, "repair-x"): Job("repair-x", JobState.RUNNING)}),
        f"{SECOND} does repair-x",
        id="one is busy",
    ),
]


@pytest.mark.parametrize(("found", "why"), [*UNWELL, *BUSY])
def test_nobody_joins_meanwhile(found: Scene, why: str) -> None:
    only = scenes.step(scenes.wish(4), scenes.roster(), found)

    assert only.action is None
    assert why in only.waits_for


@pytest.mark.parametrize(("found", "why"), [*UNWELL, *BUSY])
def test_nobody_begins_to_leave_meanwhile(found: Scene, why: str) -> None:
    found = replace(found, keyspaces=scenes.keyspaces(system=2))
    only = scenes.step(scenes.wish(2), scenes.roster(), found)

    assert only.action is None
    assert why in only.waits_for


@pytest.mark.parametrize(("found", "why"), UNWELL)
def test_who_is_to_leave_is_not_told_meanwhile(found: Scene, why: str) -> None:
    known = scenes.roster(a3=scenes.seat(3, standing=Standing.LEAVING))
    ring = replace(RING, host_ids={**HOSTS, f"ip-{NEXT}": f"host-{NEXT}"})
    leaver = seen(NEXT, state(NEXT, ring=ring))
    found = replace(found, seen={**found.seen, NEXT: leaver}, jobs={(NEXT, f"decommission-host-{NEXT}-0"): None})
    only = scenes.step(scenes.wish(3), known, found)

    assert only.action is None
    assert why in only.waits_for


@pytest.mark.parametrize(("found", "why"), UNWELL)
def test_copies_are_not_changed_meanwhile(found: Scene, why: str) -> None:
    only = scenes.step(scenes.wish(3), scenes.roster(), replace(found, keyspaces=scenes.keyspaces(system=1)))

    assert only.action is None
    assert why in only.waits_for


@pytest.mark.parametrize(("found", "why"), UNWELL)
def test_nobody_cleans_up_meanwhile(found: Scene, why: str) -> None:
    chore = Chore(kind=ChoreKind.CLEANUP, member=FIRST, cause="x")
    known = scenes.roster().with_chores(chore)
    only = scenes.step(scenes.wish(3), known, replace(found, jobs={(FIRST, "cleanup-x-0-shop"): None}))

    assert only.action is None
    assert why in only.waits_for


def test_members_join_and_leave_where_all_are_well() -> None:
    joins = scenes.step(scenes.wish(4), scenes.roster(), scene())
    assert isinstance(joins.action, WriteRoster)
    assert joins.action.roster.seats[NEXT].standing is Standing.JOINING

    leaves = scenes.step(scenes.wish(2), scenes.roster(), scene(keyspaces=scenes.keyspaces(system=2)))
    assert isinstance(leaves.action, WriteRoster)
    assert leaves.action.roster.seats[LAST].standing is Standing.LEAVING


def test_what_the_spec_holds_up_is_not_begun() -> None:
    for count in (2, 4):
        found = scene(keyspaces=scenes.keyspaces(system=2 if count == 2 else 3))
        only = scenes.step(scenes.wish(count, hold="all members to run 5.0.3"), scenes.roster(), found)
        assert only.action is None
        assert "all members to run 5.0.3" in only.waits_for


def test_nobody_joins_where_a_volume_is_nearly_full() -> None:
    full = Report(Phase.RUNNING, "", f"host-{SECOND}", 100, 14)
    only = scenes.step(scenes.wish(4), scenes.roster(), scene((SECOND, seen(SECOND, state(SECOND), report=full))))

    assert only.action is None
    assert f"the volume of {SECOND} is more than 85% full; spec.datacenter has its size" in only.waits_for


def test_a_second_change_waits_for_the_first() -> None:
    moves = [scenes.seat(2, standing=standing) for standing in Standing if standing is not Standing.MEMBER]
    for moving in moves:
        for count in (1, 2, 3, 5):
            for only in analyze(scenes.wish(count), scenes.roster(a2=moving), scene()):
                if isinstance(only.action, WriteRoster):
                    begun = [s.standing for s in only.action.roster.seats.values() if s.standing is not Standing.MEMBER]
                    assert len(begun) <= 1
                assert only.subject == LAST


COPIES = [
    pytest.param(3, 1, 3, id="three of three"),
    pytest.param(3, 2, 3, id="more members have come"),
    pytest.param(2, 3, 2, id="one is to leave"),
    pytest.param(1, 3, 2, id="two are to leave, one after the other"),
]


@pytest.mark.parametrize(("count", "has", "wanted"), COPIES)
def test_only_cassandra_s_own_keyspaces_are_written(count: int, has: int, wanted: int) -> None:
    repairs = [Chore(kind=ChoreKind.REPAIR_SYSTEM, member=name, cause=str(wanted)) for name in scenes.NAMES]
    known = scenes.roster().with_chores(*repairs)
    found = scene(keyspaces=scenes.keyspaces(system=has, shop=3))
    told = [s.action for s in analyze(scenes.wish(count), known, found)]

    assert told == [
        Replicate(FIRST, name, "dc1", wanted) for name in ("system_auth", "system_distributed", "system_traces")
    ]


def test_the_schema_is_changed_through_one_member_one_after_the_other_where_all_have_the_same() -> None:
    """Two changes at once through two members come to be two schemas, or two tables of one name."""
    repairs = [Chore(kind=ChoreKind.REPAIR_SYSTEM, member=name, cause="3") for name in scenes.NAMES]
    known, few = scenes.roster().with_chores(*repairs), scenes.keyspaces(system=1)
    steps = analyze(scenes.wish(3), known, scene(keyspaces=few))
    assert [type(step.action) for step in steps] == [Replicate] * 3
    assert {step.action.via for step in steps if isinstance(step.action, Replicate)} == {FIRST}
    assert {step.lane for step in steps} == {LANE}  # steps of a lane are done one after the other

    split = replace(RING, schema={"one": ALL - {f"ip-{FIRST}"}, "two": frozenset({f"ip-{FIRST}"})})
    (waits,) = analyze(scenes.wish(3), known, scene(ring=split, keyspaces=few))
    assert waits.action is None
    assert "2 versions of the schema" in waits.waits_for


def test_copies_of_cassandra_s_own_keyspaces_are_fewer_before_a_member_leaves() -> None:
    """Also where somebody has made them more since it was decided that it leaves."""
    known = scenes.roster(a2=scenes.seat(2, standing=Standing.LEAVING))
    job = (LAST, f"decommission-host-{LAST}-0")
    held = scenes.step(scenes.wish(2), known, scene(jobs={job: None}))
    assert held.waits_for == "keyspace system_auth to have at most 2 copies: it has 3"
    assert held.action is None

    told = scenes.step(scenes.wish(2), known, scene(jobs={job: None}, keyspaces=scenes.keyspaces(system=2)))
    assert isinstance(told.action, Tell)


def test_a_user_s_keyspace_keeps_its_copies_unless_that_is_said() -> None:
    known = scenes.roster(a2=scenes.seat(2, standing=Standing.LEAVING))
    job = (LAST, f"decommission-host-{LAST}-0")
    simple = Keyspace("old", "SimpleStrategy", {"": 3})
    for more in (scenes.keyspaces(system=2, shop=3), (*scenes.keyspaces(system=2), simple)):
        name = "shop" if more[-1] is not simple else "old"
        found = scene(jobs={job: None}, keyspaces=more)
        held = scenes.step(scenes.wish(2), known, found)
        assert held.action is None
        assert f"keyspace {name} to ask for at most 2 copies, and not 3" in held.waits_for
        said = scenes.step(scenes.wish(2, lose_copies=frozenset({name})), known, found)
        assert isinstance(said.action, Tell)
        assert said.action.lose == (name,)
