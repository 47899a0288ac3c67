"""How a ring is made, once, and how members come to it: with others for seeds, and counted when all see them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from controller.cassandra.access.answers import Bootstrap, Mode, Phase, Report, ResumeBootstrap, Ring
from controller.cassandra.member.joining import found
from controller.cassandra.member.orders import orders
from controller.cassandra.member.ring import Scene, Seen
from controller.cassandra.member.roster import ChoreKind, Roster, Seat, Standing
from controller.cassandra.member.steps import DeleteVolume, Tell, WriteRoster
from tests.unit.cassandra.member import scenes
from tests.unit.cassandra.member.scenes import (
    ALL,
    FIRST,
    HOSTS,
    LAST,
    NAMES,
    NEXT,
    NOW,
    RING,
    SECOND,
    scene,
    seen,
    state,
)

if TYPE_CHECKING:
    from controller.framework.plan import Step

NEW = Roster(cluster="store", datacenter="dc1", num_tokens=16)
ADDRESSES = {name: f"ip-{name}" for name in (*NAMES, NEXT)}
HAS_PLACE = {Standing.FOUNDING, Standing.MEMBER}
"""Standings with which one's own address may be among one's seeds."""


@pytest.mark.parametrize("standing", [standing for standing in Standing if standing not in HAS_PLACE])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_who_has_no_place_in_the_ring_is_never_told_itself(standing: Standing, count: int) -> None:
    for ordinal, name in enumerate((*NAMES[:count], NEXT)):
        known = scenes.roster(a3=scenes.seat(3))
        kept = {n: s for n, s in known.seats.items() if n in (*NAMES[:count], NEXT)}
        moving = msgspec.structs.replace(kept[name], standing=standing, ordinal=ordinal)
        told = orders(msgspec.structs.replace(known, seats={**kept, name: moving}), ADDRESSES, {})
        for member, record in told.items():
            assert ADDRESSES[name] not in record.seeds, member
            assert not record.founder
            assert record.seeds


def test_members_without_an_address_are_told_nothing_and_are_nobody_s_seed() -> None:
    told = orders(scenes.roster(), {**ADDRESSES, SECOND: ""}, {})

    assert told.keys() == {FIRST, LAST}
    assert {record.seeds for record in told.values()} == {(ADDRESSES[FIRST], ADDRESSES[LAST])}


def test_nobody_is_a_founder_after_the_ring_was_made() -> None:
    for standing in Standing:
        if standing is not Standing.FOUNDING:
            told = orders(scenes.roster(a1=scenes.seat(1, standing=standing)), ADDRESSES, {})
            assert not any(record.founder for record in told.values())


def founding(known: Roster, **changes: Any) -> Step:
    (only,) = found(scenes.wish(), known, Scene(now=NOW, **changes))
    return only


def test_a_ring_is_made_by_one_whose_address_is_known() -> None:
    waits = founding(NEW)
    assert (waits.action, waits.waits_for) == (None, f"Service {FIRST} to have an address")

    begins = founding(NEW, seen={FIRST: Seen(address="ip")})
    assert isinstance(begins.action, WriteRoster)
    assert begins.action.roster.seats == {FIRST: Seat(rack="a", standing=Standing.FOUNDING)}
    assert not begins.action.roster.founded


def test_a_ring_is_not_made_over_the_volumes_of_an_earlier_one() -> None:
    only = founding(NEW, seen={FIRST: Seen(address="ip")}, strangers={SECOND: "claim"})

    assert only.action is None
    assert f"or the claims of {SECOND} to be deleted" in only.waits_for


ALONE = Ring({f"ip-{FIRST}": f"host-{FIRST}"}, live=frozenset({f"ip-{FIRST}"}))
NOT_ALONE = [
    pytest.param({"ring": ALONE, "native_running": False, "mode": Mode.STARTING}, "STARTING", id="it starts"),
    pytest.param({"ring": RING}, "it to be alone in cluster store", id="others are there"),
    pytest.param({"ring": ALONE, "cluster_name": "else"}, "it is in cluster else", id="another cluster's volume"),
]


@pytest.mark.parametrize(("changes", "why"), NOT_ALONE)
def test_a_ring_is_not_made_before_its_founder_is_alone_in_it(changes: dict[str, Any], why: str) -> None:
    known = msgspec.structs.replace(NEW, seats={FIRST: Seat(rack="a", standing=Standing.FOUNDING)})
    only = scenes.step(scenes.wish(), known, scene((FIRST, seen(FIRST, state(FIRST, **changes)))))

    assert only.action is None
    assert why in only.waits_for


def test_a_ring_that_is_made_is_so_for_good() -> None:
    known = msgspec.structs.replace(NEW, seats={FIRST: Seat(rack="a", standing=Standing.FOUNDING)})
    only = scenes.step(scenes.wish(), known, scene((FIRST, seen(FIRST, state(FIRST, ring=ALONE)))))

    assert isinstance(only.action, WriteRoster)
    assert only.action.roster.founded
    assert only.action.roster.seats == {FIRST: Seat(rack="a", host_id=f"host-{FIRST}")}


JOINS = scenes.roster(a3=Seat(rack="a", ordinal=3, standing=Standing.JOINING))
FOUR = Ring({**HOSTS, f"ip-{NEXT}": f"host-{NEXT}"}, live=ALL | {f"ip-{NEXT}"})
COMES = replace(FOUR, joining=frozenset({f"ip-{NEXT}"}))


def joined(*rings: Ring, **changes: Any) -> Scene:
    """A member that joined by its own word, and how the three others see the ring."""
    others = [(name, seen(name, state(name, ring=ring))) for name, ring in zip(NAMES, rings, strict=True)]
    return scene(*others, (NEXT, seen(NEXT, state(NEXT, ring=FOUR, **changes))))


@pytest.mark.parametrize(
    ("others", "why"),
    [
        pytest.param(joined(RING, RING, RING), f"{FIRST}, {SECOND}, {LAST} to see it up", id="nobody sees it"),
        pytest.param(joined(FOUR, FOUR, COMES), f"{LAST} to see it up", id="one sees it join"),
        pytest.param(joined(FOUR, replace(FOUR, live=ALL), FOUR), f"{SECOND} to see it up", id="one sees it down"),
        pytest.param(
            joined(FOUR, FOUR, FOUR, bootstrap=Bootstrap.IN_PROGRESS, mode=Mode.JOINING),
            "it is JOINING",
            id="it has not all data",
        ),
        pytest.param(joined(FOUR, FOUR, FOUR, native_running=False), "to serve clients", id="it serves nobody"),
    ],
)
def test_who_joins_is_no_member_before_all_others_see_it(others: Scene, why: str) -> None:
    only = scenes.step(scenes.wish(4), JOINS, others)

    assert only.action is None
    assert why in only.waits_for


def test_who_joined_is_a_member_and_the_others_clean_up() -> None:
    only = scenes.step(scenes.wish(4), JOINS, joined(FOUR, FOUR, FOUR))

    assert isinstance(only.action, WriteRoster)
    assert only.action.roster.seats[NEXT] == Seat(rack="a", ordinal=3, host_id=f"host-{NEXT}")
    assert [(c.kind, c.member) for c in only.action.roster.chores] == [(ChoreKind.CLEANUP, name) for name in NAMES]


def test_a_join_that_failed_goes_on_once() -> None:
    failed = seen(NEXT, state(NEXT, mode=Mode.JOINING_FAILED, bootstrap=Bootstrap.IN_PROGRESS, native_running=False))
    job = (NEXT, f"join-pod-{NEXT}")

    assert scenes.step(scenes.wish(4), JOINS, scene((NEXT, failed))).action is None
    told = scenes.step(scenes.wish(4), JOINS, scene((NEXT, failed), jobs={job: None}))
    assert told.action == Tell(*job, ResumeBootstrap())


@pytest.mark.parametrize(
    ("newcomer", "stops"),
    [
        pytest.param(Seen(address=f"ip-{NEXT}"), True, id="it has no pod"),
        pytest.param(seen(NEXT, report=Report(Phase.WAITING)), True, id="it waits to be told"),
        pytest.param(seen(NEXT, report=Report(Phase.RUNNING)), False, id="it runs"),
        pytest.param(seen(NEXT, state(NEXT, mode=Mode.JOINING, native_running=False)), False, id="it joins"),
    ],
)
def test_a_join_is_taken_back_only_before_it_has_begun(newcomer: Seen, stops: bool) -> None:
    only = scenes.step(scenes.wish(3), JOINS, scene((NEXT, newcomer)))

    assert isinstance(only.action, WriteRoster) == stops
    if isinstance(only.action, WriteRoster):
        assert only.action.roster.seats[NEXT].standing is Standing.STOPPING


UNANSWERED = (NEXT, Seen(address=f"ip-{NEXT}", pod="p", claim="c"))


def test_a_join_is_not_taken_back_while_others_see_it() -> None:
    only = scenes.step(scenes.wish(3), JOINS, scene(UNANSWERED, ring=COMES))

    assert only.action is None


@pytest.mark.parametrize("ring", [FOUR, replace(FOUR, live=ALL)], ids=["it is up", "it is down"])
@pytest.mark.parametrize("standing", [Standing.JOINING, Standing.STOPPING])
def test_who_joined_unseen_is_a_member_whether_or_not_it_answers(ring: Ring, standing: Standing) -> None:
    known = scenes.roster(a3=Seat(rack="a", ordinal=3, standing=standing, volume="c"))
    only = scenes.step(scenes.wish(3, lost={NEXT: "c"}), known, scene(UNANSWERED, ring=ring))

    assert isinstance(only.action, WriteRoster)
    assert only.action.roster.seats[NEXT] == Seat(rack="a", ordinal=3, host_id=f"host-{NEXT}")
    assert [(c.kind, c.member) for c in only.action.roster.chores] == [(ChoreKind.CLEANUP, name) for name in NAMES]


ELSE = replace(FOUR, host_ids={**HOSTS, f"ip-{NEXT}": "host-else"})
UNSURE = [
    pytest.param(joined(FOUR, FOUR, RING), id="one does not count it"),
    pytest.param(joined(FOUR, FOUR, COMES), id="one sees it join"),
    pytest.param(joined(FOUR, FOUR, ELSE), id="one knows another host ID"),
    pytest.param(joined(*[replace(FOUR, host_ids={**HOSTS, f"ip-{NEXT}": f"host-{LAST}"})] * 3), id="it is another's"),
    pytest.param(scene((LAST, scenes.unanswered(LAST)), ring=FOUR), id="one does not answer"),
]


@pytest.mark.parametrize("found", UNSURE)
def test_who_does_not_answer_is_no_member_before_all_others_count_it(found: Scene) -> None:
    only = scenes.step(scenes.wish(4), JOINS, replace(found, seen={**found.seen, NEXT: UNANSWERED[1]}))

    assert only.action is None


@pytest.mark.parametrize(
    ("lost", "ring", "stops"),
    [
        pytest.param({}, RING, False, id="nobody has said so"),
        pytest.param({NEXT: "claim-before"}, RING, False, id="another claim is given up"),
        pytest.param({NEXT: "c"}, COMES, False, id="others see it join"),
        pytest.param({NEXT: "c"}, Ring({}), False, id="nobody says whom they see"),
        pytest.param({NEXT: "c"}, RING, True, id="it is lost"),
    ],
)
def test_who_cannot_join_is_given_up_by_its_claim(lost: dict[str, str], ring: Ring, stops: bool) -> None:
    only = scenes.step(scenes.wish(4, lost=lost), JOINS, scene(UNANSWERED, ring=ring))

    assert isinstance(only.action, WriteRoster) == stops
    if isinstance(only.action, WriteRoster):
        assert only.action.roster.seats[NEXT] == Seat(rack="a", ordinal=3, standing=Standing.STOPPING, volume="c")
        told = scenes.step(scenes.wish(4, lost=lost), only.action.roster, scene(UNANSWERED))
        assert told.action == DeleteVolume(NEXT, "c", "p", lost="c")
    elif not lost:
        assert only.waits_for.endswith(f"give it up in spec.lostMembers: {{member: {NEXT}, claimUID: c}}")
