"""Operations: acts on a system that are carried out once, piece by piece, with a queue, progress and a deadline. Pure.

An operation is a list of pieces, such as the members of a ring; a piece is a list of parts, such as keyspaces, which
are done in order. A system says which pieces there are, what it hears of the parts that `asked` names, and what keeps
any further part from being begun; `decide` says what is to be begun or broken off, and what the status keeps. Nothing
but the status is kept: an operator that is restarted finds there what is done, and hears of what is under way from
whoever does it, so that a part that ended meanwhile is not done again.

Of the operations of one subject, such as a cluster, `ahead` lets one go on at a time: the one that runs, else the one
that was made first.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from controller.apis.meta import Condition
from controller.apis.operations import Progress
from controller.framework.pieces import (
    FAILED,
    MAX_TEXT,
    RUNNING,
    TRIES,
    Said,
    Task,
    Word,
    begun,
    candidates,
    follow,
    index_of,
    seconds_of,
    task_of,
)
from controller.framework.status import timestamp
from controller.framework.text import cut, some

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from controller.apis.operations import OperationStatus, PieceStatus
    from controller.framework.pieces import Piece

GRACE = 120.0
"""Seconds that what is broken off has to end."""
MAX_NAMED = 3
"""Pieces that an operation's message names."""


class Phase(StrEnum):
    """Where an operation stands."""

    PENDING = "Pending"
    RUNNING = "Running"
    PAUSED = "Paused"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"


ENDED = frozenset({Phase.SUCCEEDED, Phase.FAILED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Queued:
    """An operation as the others of its subject see it.

    Attributes:
        name: Its name.
        created: When it was made, as RFC 3339 text.
        phase: Its phase, as its status has it.
        waived: Whether it lets others go first: it is paused or being deleted.
    """

    name: str
    created: str = ""
    phase: str = ""
    waived: bool = False

    @property
    def rank(self) -> tuple[bool, str, str]:
        """Whoever has the least goes first: who runs already, then who was made first."""
        return self.phase != Phase.RUNNING, self.created, self.name


def ahead(name: str, queue: Iterable[Queued]) -> str:
    """The operation that goes before `name`; empty: it is the first one.

    Args:
        name: One of the queue.
        queue: The operations of one subject.
    """
    waiting = [q for q in queue if q.phase not in ENDED and (q.phase == Phase.RUNNING or not q.waived)]
    first = min(waiting, key=lambda queued: queued.rank, default=None)
    return "" if first is None or first.name == name else first.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What the user wants of an operation.

    Attributes:
        paused: Begin no further part.
        deadline: Seconds after its begin at which it is broken off; None: never.
        deleting: It is being deleted: what is under way is broken off.
        at_once: Pieces that are done at the same time.
    """

    paused: bool = False
    deadline: float | None = None
    deleting: bool = False
    at_once: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """What is known of an operation for good; its status has all of it.

    Attributes:
        phase: A `Phase`; empty before the first look.
        started: When it was begun, completed: when it ended, as RFC 3339 text.
        finished: The pieces that are done.
        rows: Pieces that are neither done nor untouched.
    """

    phase: str = ""
    started: str | None = None
    completed: str | None = None
    finished: tuple[str, ...] = ()
    rows: Mapping[str, PieceStatus] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What is to be done about an operation.

    Attributes:
        ledger: What is known of it now.
        message: What it is at, what it waits for, or why it failed.
        begin: What is to be begun.
        at_work: What was begun and has not ended, as far as is known.
        unsure: What may have been begun by an operator that died before it wrote that down: nothing is heard of it.
        break_off: Whether what is at work is to be broken off.
        total: Pieces in all; 0: not known.
    """

    ledger: Ledger
    message: str = ""
    begin: tuple[Task, ...] = ()
    at_work: tuple[Task, ...] = ()
    unsure: tuple[Task, ...] = ()
    break_off: bool = False
    total: int = 0


def ledger_of(status: OperationStatus, rows: Mapping[str, PieceStatus]) -> Ledger:
    """The ledger that a status has; `rows` are its pieces, under whatever name the kind has them."""
    return Ledger(
        phase=status.phase, started=status.started, completed=status.completed, finished=status.finished, rows=rows
    )


def asked(ledger: Ledger, pieces: Sequence[Piece], at_once: int = 1) -> tuple[Task, ...]:
    """The tasks that `decide` has to hear of: what was begun, what follows it, and what comes next."""
    if ledger.phase in ENDED:
        return ()
    found: list[Task] = []
    untouched = 0
    for piece in pieces:
        row = ledger.rows.get(piece.name)
        if row is not None:
            start = index_of(piece, row)
            found += [Task(piece.name, part, row.attempts) for part in piece.parts[start : start + 2]]
        elif piece.name not in ledger.finished and piece.is_due(ledger.finished) and untouched < at_once:
            untouched += 1
            found += [Task(piece.name, part, 0) for part in piece.parts[:2]]
    return tuple(found)


def decide(
    order: Order,
    ledger: Ledger,
    pieces: Sequence[Piece] | None,
    heard: Mapping[Task, Word],
    *,
    hold: str = "",
    now: float,
) -> Decision:
    """What is to be done about an operation now.

    Args:
        order: What the user wants.
        ledger: What is known of it.
        pieces: Its pieces in the order in which they are begun; None: that is not known now.
        heard: What is heard of the tasks that `asked` names; of one that is not in it, nothing.
        hold: Why nothing may be begun now, in words; empty: it may.
        now: Seconds since the epoch.
    """
    if ledger.phase in ENDED:
        return Decision(ledger=ledger)
    if pieces is not None:
        ledger = _followed(ledger, pieces, heard, now)
    total = len(pieces) if pieces is not None else 0
    at_work = tuple(task_of(name, row) for name, row in sorted(ledger.rows.items()) if row.state == RUNNING)
    due = _due(order, ledger)
    late = due is not None and now >= due
    unsure = _unsure(order, ledger, pieces or (), heard, now)
    if due is not None and late and (not (at_work or unsure) or now >= due + GRACE):
        why = f"not done within spec.deadlineSeconds, {order.deadline:g}{_still(at_work)}"
        return ended(ledger, Phase.FAILED, why, now, total)
    lost = {name: row for name, row in sorted(ledger.rows.items()) if row.state == FAILED}
    if lost and not at_work:
        times = f" {TRIES} times" if all(row.attempts >= TRIES for row in lost.values()) else ""
        told = some([f"{name}: {row.message}" for name, row in lost.items()], MAX_NAMED)
        return ended(ledger, Phase.FAILED, f"failed{times}: {told}", now, total)
    if pieces and not ledger.rows and {piece.name for piece in pieces} <= set(ledger.finished):
        return ended(ledger, Phase.SUCCEEDED, f"all {total} are done", now, total)
    stopped = late or order.deleting or order.paused or bool(lost)
    begin: tuple[Task, ...] = ()
    waits = hold
    if pieces and not (stopped or hold):
        begin, waits = _next(order, ledger, pieces, heard, now)
    started = ledger.started or (timestamp(now) if begin or at_work else None)
    return Decision(
        ledger=replace(ledger, phase=_phase(order, ledger, bool(at_work or begin)), started=started),
        message=_message(order, begin, at_work, ledger, waits=waits, late=late),
        begin=begin,
        at_work=at_work,
        unsure=unsure,
        break_off=bool(at_work) and (late or order.deleting),
        total=total,
    )


def progress(decision: Decision, unit: str) -> Progress:
    """How far an operation is, for its status."""
    done = decision.total if decision.ledger.phase == Phase.SUCCEEDED else len(decision.ledger.finished)
    return Progress(done=done, total=decision.total, unit=unit)


def conditions(decision: Decision) -> tuple[Condition, ...]:
    """The conditions of an operation: Progressing, Complete and Failed, which mean what they mean of a Job."""
    phase, message = decision.ledger.phase, decision.message
    busy, reason = phase == Phase.RUNNING, phase or Phase.PENDING
    over = phase in ENDED
    return (
        Condition(type="Progressing", status=str(busy), reason=reason, message="" if over else message),
        Condition(
            type="Complete",
            status=str(phase == Phase.SUCCEEDED),
            reason=reason,
            message=message if phase == Phase.SUCCEEDED else "",
        ),
        Condition(
            type="Failed",
            status=str(phase == Phase.FAILED),
            reason=reason,
            message=message if phase == Phase.FAILED else "",
        ),
    )


def _followed(ledger: Ledger, pieces: Sequence[Piece], heard: Mapping[Task, Word], now: float) -> Ledger:
    """The ledger after what is heard: pieces that are done are finished, and those that are gone are dropped."""
    before = set(ledger.finished)
    rows: dict[str, PieceStatus] = {}
    finished: list[str] = []
    for piece in pieces:
        if piece.name in before:
            finished.append(piece.name)
            continue
        row = ledger.rows.get(piece.name) or begun(piece, heard, now)
        if row is None:
            continue
        followed = follow(piece, row, heard, now)
        if followed is None:
            finished.append(piece.name)
        else:
            rows[piece.name] = followed
    return replace(ledger, rows=rows, finished=tuple(finished))


def _next(
    order: Order, ledger: Ledger, pieces: Sequence[Piece], heard: Mapping[Task, Word], now: float
) -> tuple[tuple[Task, ...], str]:
    """What is to be begun; or, where nothing is, what it waits for."""
    places = order.at_once - sum(row.state == RUNNING for row in ledger.rows.values())
    found: list[Task] = []
    waits: list[str] = []
    for task in candidates(ledger.rows, pieces, ledger.finished, now, waits):
        if len(found) >= places:
            break
        if heard.get(task, Word()).said is Said.UNKNOWN:
            found.append(task)
        else:
            # It may be at work.
            places -= 1
            waits.append(f"{task.piece} to answer")
    return tuple(found), "" if found or not waits else waits[0]


def _unsure(
    order: Order, ledger: Ledger, pieces: Sequence[Piece], heard: Mapping[Task, Word], now: float
) -> tuple[Task, ...]:
    """What might be begun now, and perhaps was, as nothing is heard of it."""
    touched = {*ledger.rows, *ledger.finished}
    untouched = [piece for piece in pieces if piece.name not in touched][: order.at_once]
    tasks = candidates(ledger.rows, untouched, ledger.finished, now, [])
    return tuple(task for task in tasks if heard.get(task, Word()).said is Said.NOTHING)


def _phase(order: Order, ledger: Ledger, busy: bool) -> Phase:
    if busy:
        return Phase.RUNNING
    if order.paused:
        return Phase.PAUSED
    return Phase.RUNNING if ledger.started and ledger.phase == Phase.RUNNING else Phase.PENDING


def _message(
    order: Order, begin: Sequence[Task], at_work: Sequence[Task], ledger: Ledger, *, waits: str, late: bool
) -> str:
    if at_work:
        told = [f"{task.piece}: {task.part}" for task in at_work]
        ends = "is broken off, since it is being deleted" if order.deleting else ""
        ends = "is broken off, since spec.deadlineSeconds have passed" if late else ends
        ends = ends or ("is the last one before it pauses" if order.paused else "")
        ends = ends or ("is the last one, since another one failed" if _has_failed(ledger) else "")
        return some(told, MAX_NAMED) + (f" {ends}" if ends else "")
    if order.deleting:
        return "it is being deleted"
    if order.paused:
        return "spec.paused is true"
    if begin:
        return some([f"{task.piece}: {task.part}" for task in begin], MAX_NAMED)
    return cut(f"waits for {waits}", 2 * MAX_TEXT) if waits else "it is to be begun"


def ended(ledger: Ledger, phase: Phase, message: str, now: float, total: int = 0) -> Decision:
    """That an operation has succeeded or failed now, with a message that says why; `total`: its pieces."""
    over = replace(ledger, phase=phase, completed=timestamp(now))
    return Decision(ledger=over, message=cut(message, 2 * MAX_TEXT), total=total)


def _still(at_work: Sequence[Task]) -> str:
    told = some([f"{task.piece} with {task.part}" for task in at_work], MAX_NAMED)
    return f"; still at work: {told}" if at_work else ""


def _due(order: Order, ledger: Ledger) -> float | None:
    """When an operation is broken off, in seconds since the epoch; None: never, or it has not begun."""
    if order.deadline is None or ledger.started is None:
        return None
    return seconds_of(ledger.started) + order.deadline


def _has_failed(ledger: Ledger) -> bool:
    return any(row.state == FAILED for row in ledger.rows.values())
