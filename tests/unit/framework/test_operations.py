"""Operations as tables: what is begun, what is waited for, and how one ends."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from controller.apis.operations import OperationStatus, PieceStatus
from controller.framework.operations import (
    GRACE,
    Decision,
    Ledger,
    Order,
    Phase,
    Queued,
    ahead,
    asked,
    conditions,
    decide,
    ledger_of,
    progress,
)
from controller.framework.pieces import MOST_RETRYING, Piece, Said, Task, Word
from controller.framework.status import timestamp

if TYPE_CHECKING:
    from collections.abc import Mapping

NOW = 1_000_000.0
PIECES = (Piece("a", ("x", "y")), Piece("b", ("x", "y")))
A_X, A_Y, B_X = Task("a", "x", 0), Task("a", "y", 0), Task("b", "x", 0)
NEW, RUNS, DONE = Word(Said.UNKNOWN), Word(Said.RUNNING, "3 of 8"), Word(Said.SUCCEEDED)


def at(state: str = "Running", part: str = "x", attempts: int = 0, ago: float = 0.0, message: str = "") -> PieceStatus:
    return PieceStatus(state=state, part=part, attempts=attempts, since=timestamp(NOW - ago), message=message)


def running(ago: float = 10.0, finished: tuple[str, ...] = (), **rows: PieceStatus) -> Ledger:
    """An operation that was begun so many seconds ago."""
    return underway(rows, ago, finished)


def underway(rows: Mapping[str, PieceStatus], ago: float = 10.0, finished: tuple[str, ...] = ()) -> Ledger:
    return Ledger(phase=Phase.RUNNING, started=timestamp(NOW - ago), finished=finished, rows=rows)


def decided(
    ledger: Ledger = Ledger(),  # noqa: B008 -- it is frozen
    heard: dict[Task, Word] | None = None,
    *,
    order: Order = Order(),  # noqa: B008
    hold: str = "",
    pieces: tuple[Piece, ...] | None = PIECES,
) -> Decision:
    return decide(order, ledger, pieces, heard or {}, hold=hold, now=NOW)


def test_the_first_piece_is_begun_with_its_first_part_and_one_at_a_time() -> None:
    found = decided(heard={A_X: NEW, A_Y: NEW, B_X: NEW})

    assert found.begin == (A_X,)
    assert found.ledger == Ledger(phase=Phase.RUNNING, started=timestamp(NOW))
    assert found.message == "a: x"
    assert progress(found, "Members").total == 2


def test_as_many_are_begun_as_may_be_done_at_once() -> None:
    heard = {A_X: NEW, B_X: NEW}

    assert decided(heard=heard, order=Order(at_once=2)).begin == (A_X, B_X)
    assert decided(running(a=at()), {A_X: RUNS, B_X: NEW}, order=Order(at_once=2)).begin == (B_X,)


@pytest.mark.parametrize(
    ("ledger", "tasks"),
    [
        (Ledger(), (A_X, A_Y)),
        (running(a=at()), (A_X, A_Y, B_X, Task("b", "y", 0))),
        (running(a=at(part="y", attempts=1)), (Task("a", "y", 1), B_X, Task("b", "y", 0))),
        (running(finished=("a",)), (B_X, Task("b", "y", 0))),
        (Ledger(phase=Phase.SUCCEEDED), ()),
    ],
)
def test_asks_for_what_is_under_way_what_follows_and_what_is_next(ledger: Ledger, tasks: tuple[Task, ...]) -> None:
    assert asked(ledger, PIECES) == tasks


def test_what_runs_is_waited_for_and_shows_how_far_it_is() -> None:
    found = decided(running(a=at()), {A_X: RUNS, A_Y: NEW})

    assert (found.begin, found.at_work, found.message) == ((), (A_X,), "a: x")
    assert found.ledger.rows["a"] == at(message="3 of 8")


def test_after_a_part_comes_the_next_and_after_the_last_the_next_piece() -> None:
    assert decided(running(a=at()), {A_X: DONE, A_Y: NEW}).begin == (A_Y,)

    found = decided(running(a=at(part="y")), {A_Y: DONE, B_X: NEW})
    assert (found.ledger.finished, found.begin) == (("a",), (B_X,))


def test_it_has_succeeded_when_all_pieces_are_done() -> None:
    found = decided(running(finished=("a",), b=at(part="y")), {Task("b", "y", 0): DONE})

    assert found.ledger.phase == Phase.SUCCEEDED
    assert found.ledger.completed == timestamp(NOW)
    assert progress(found, "Members").done == 2
    assert {c.type: c.status for c in conditions(found)} == {
        "Progressing": "False",
        "Complete": "True",
        "Failed": "False",
    }


@pytest.mark.parametrize("word", [RUNS, DONE, Word(Said.FAILED, "no")], ids=lambda word: word.said)
def test_what_was_begun_and_not_written_down_is_not_begun_again(word: Word) -> None:
    assert A_X not in decided(heard={A_X: word, A_Y: NEW}).begin


@pytest.mark.parametrize(
    ("ledger", "heard"),
    [
        (running(a=at()), {A_X: Word(Said.FAILED, "no room")}),
        (running(a=at()), {A_X: NEW}),
    ],
    ids=["failed", "forgotten"],
)
def test_what_failed_is_tried_again_after_a_while_and_others_go_on(ledger: Ledger, heard: dict[Task, Word]) -> None:
    found = decided(ledger, heard | {B_X: NEW})

    row = found.ledger.rows["a"]
    assert (row.state, row.attempts, row.part) == ("Retrying", 1, "x")
    assert found.begin == (B_X,)

    again = Task("a", "x", 1)
    assert decided(running(finished=("b",), a=at("Retrying", attempts=1, ago=59)), {again: NEW}).begin == ()
    assert decided(running(finished=("b",), a=at("Retrying", attempts=1, ago=60)), {again: NEW}).begin == (again,)
    assert (
        decided(running(finished=("b",), a=at("Retrying", attempts=2, ago=119)), {Task("a", "x", 2): NEW}).begin == ()
    )


def test_an_answer_that_did_not_come_says_nothing() -> None:
    found = decided(running(a=at()), {})

    assert (found.begin, found.at_work, found.ledger.rows["a"].attempts) == ((), (A_X,), 0)
    assert decided(running(), {}).message == "waits for a to answer"


def test_it_has_failed_with_who_and_why_when_a_piece_failed_too_often() -> None:
    found = decided(running(a=at(attempts=2)), {Task("a", "x", 2): Word(Said.FAILED, "no room")})

    assert found.ledger.phase == Phase.FAILED
    assert found.message == "failed 3 times: a: x: no room"
    assert {c.type: c.status for c in conditions(found)}["Failed"] == "True"


def test_what_else_is_at_work_ends_before_it_has_failed() -> None:
    rows = {"a": at("Failed", attempts=3, message="x: no room"), "b": at()}
    found = decided(underway(rows), {B_X: RUNS}, order=Order(at_once=2))

    assert (found.ledger.phase, found.begin, found.at_work) == (Phase.RUNNING, (), (B_X,))
    assert found.message == "b: x is the last one, since another one failed"


def test_a_piece_is_begun_when_those_are_done_that_it_comes_after() -> None:
    pieces = (Piece("a", ("x",)), Piece("b", ("x",)), Piece("last", ("x",), after=("a", "b")))
    order, last = Order(at_once=3), Task("last", "x", 0)
    assert asked(Ledger(), pieces, 3) == (A_X, B_X)
    heard = {A_X: NEW, B_X: NEW, last: NEW}
    assert decided(heard=heard, order=order, pieces=pieces).begin == (A_X, B_X)
    assert decided(running(finished=("a",), b=at()), {**heard, B_X: RUNS}, order=order, pieces=pieces).begin == ()

    ledger = running(finished=("a", "b"))
    assert asked(ledger, pieces, 3) == (last,)
    assert decided(ledger, heard, order=order, pieces=pieces).begin == (last,)


def test_what_would_fail_again_is_not_tried_again() -> None:
    found = decided(running(a=at()), {A_X: Word(Said.FAILED, "no bucket", final=True)})

    assert (found.ledger.phase, found.message) == (Phase.FAILED, "failed: a: x: no bucket")


def test_a_piece_that_has_to_be_done_in_one_go_begins_anew_when_a_part_failed() -> None:
    pieces = (Piece("a", ("x", "y"), anew=True),)
    found = decided(running(a=at(part="y")), {A_Y: Word(Said.FAILED, "no")}, pieces=pieces)
    assert (found.ledger.rows["a"].part, found.ledger.rows["a"].attempts) == ("x", 1)

    again = Task("a", "x", 1)
    later = running(a=at("Retrying", attempts=1, ago=60))
    assert decided(later, {again: NEW}, pieces=pieces).begin == (again,)


def test_few_pieces_are_begun_while_many_fail() -> None:
    names = [f"m{number}" for number in range(MOST_RETRYING + 5)]
    pieces = tuple(Piece(name, ("x",)) for name in names)
    rows = {name: at("Retrying", attempts=1) for name in names[:MOST_RETRYING]}
    heard = {Task(name, "x", 0): NEW for name in names}

    assert decided(underway(rows), heard, pieces=pieces).begin == ()
    rows.pop("m0")
    assert decided(underway(rows), heard, pieces=pieces).begin == (Task("m0", "x", 0),)


def test_a_pause_lets_what_runs_end_and_begins_nothing() -> None:
    paused = Order(paused=True)
    found = decided(running(a=at()), {A_X: RUNS, A_Y: NEW}, order=paused)
    assert (found.ledger.phase, found.message) == (Phase.RUNNING, "a: x is the last one before it pauses")

    found = decided(running(a=at()), {A_X: DONE, A_Y: NEW}, order=paused)
    assert (found.ledger.phase, found.begin, found.at_work) == (Phase.PAUSED, (), ())

    assert decided(found.ledger, {A_Y: NEW}).begin == (A_Y,)


def test_a_hold_lets_what_runs_end_and_begins_nothing() -> None:
    found = decided(running(a=at()), {A_X: DONE, A_Y: NEW}, hold="the ring to have changed")

    assert (found.ledger.phase, found.begin) == (Phase.RUNNING, ())
    assert found.message == "waits for the ring to have changed"
    assert decided(hold="x").ledger.phase == Phase.PENDING
    assert decided(hold="x").ledger.started is None


def test_a_deadline_breaks_off_what_runs() -> None:
    order = Order(deadline=60)
    assert not decided(running(59, a=at()), {A_X: RUNS}, order=order).break_off

    found = decided(running(60, a=at()), {A_X: RUNS, B_X: NEW}, order=order)
    assert (found.break_off, found.begin, found.ledger.phase) == (True, (), Phase.RUNNING)

    ended = decided(running(61, a=at()), {A_X: Word(Said.FAILED, "broken off"), B_X: NEW}, order=order)
    assert (ended.ledger.phase, ended.message) == (Phase.FAILED, "not done within spec.deadlineSeconds, 60")

    stuck = decided(running(60 + GRACE, a=at()), {A_X: RUNS}, order=order)
    assert stuck.ledger.phase == Phase.FAILED
    assert stuck.message == "not done within spec.deadlineSeconds, 60; still at work: a with x"


def test_a_deadline_counts_from_the_begin() -> None:
    assert decided(hold="x", order=Order(deadline=1)).ledger.phase == Phase.PENDING


def test_what_is_deleted_is_broken_off() -> None:
    found = decided(running(a=at()), {A_X: RUNS}, order=Order(deleting=True))

    assert found.break_off
    assert decided(running(), {A_X: NEW}, order=Order(deleting=True)).begin == ()


def test_nothing_is_begun_while_the_pieces_are_not_known() -> None:
    found = decided(running(a=at()), {A_X: DONE}, pieces=None, hold="the members to answer")

    assert (found.begin, found.at_work) == ((), (A_X,))
    assert found.ledger == running(a=at())


def test_pieces_that_are_gone_are_dropped_and_new_ones_are_done() -> None:
    ledger = running(finished=("gone", "a"), lost=at())
    found = decided(ledger, {B_X: NEW})

    assert (found.ledger.finished, found.ledger.rows, found.begin) == (("a",), {}, (B_X,))


def test_a_piece_whose_part_is_gone_begins_anew() -> None:
    assert decided(running(a=at(part="gone")), {A_X: NEW}).begin == (A_X,)


def test_what_has_ended_stays_so() -> None:
    ledger = Ledger(phase=Phase.FAILED, completed=timestamp(NOW - 5))

    assert decided(ledger, {A_X: NEW}) == Decision(ledger=ledger)


def test_the_ledger_is_what_the_status_has() -> None:
    status = OperationStatus(phase="Running", started="2026-01-01T00:00:00Z", finished=("a",))

    assert ledger_of(status, {"b": at()}) == Ledger(
        phase=Phase.RUNNING, started="2026-01-01T00:00:00Z", finished=("a",), rows={"b": at()}
    )


FIRST = Queued(name="z", created="2026-01-01T00:00:00Z")
SECOND = Queued(name="a", created="2026-01-01T00:00:01Z")


@pytest.mark.parametrize(
    ("queue", "name", "before"),
    [
        ([FIRST, SECOND], "z", ""),
        ([FIRST, SECOND], "a", "z"),
        ([FIRST, replace(SECOND, phase="Running")], "z", "a"),
        ([replace(FIRST, waived=True), SECOND], "a", ""),
        ([replace(FIRST, waived=True, phase="Running"), SECOND], "a", "z"),
        ([replace(FIRST, phase="Failed"), SECOND], "a", ""),
        ([replace(FIRST, created=SECOND.created), SECOND], "z", "a"),
    ],
)
def test_who_goes_first(queue: list[Queued], name: str, before: str) -> None:
    assert ahead(name, queue) == before
