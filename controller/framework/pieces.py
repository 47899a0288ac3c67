"""The pieces of an operation, and what becomes of each by what is heard of it. Pure.

A piece is a list of parts that are done in order. A part that fails is tried again after a pause that doubles; after
`TRIES` failures its piece has failed.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING

from msgspec.structs import replace

from controller.apis.operations import PieceStatus
from controller.framework.status import timestamp
from controller.framework.text import cut

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

TRIES = 3
"""Times that a piece fails before its operation has failed."""
FIRST_PAUSE, LAST_PAUSE = 60.0, 3600.0
"""Seconds until a piece that failed is tried again: at first, and at most."""
MOST_RETRYING = 10
"""Pieces that failed and are to be tried again; while there are so many, no further piece is begun."""
MAX_TEXT = 200
"""Characters of a piece's message."""

WAITING, RUNNING, RETRYING, FAILED = "Waiting", "Running", "Retrying", "Failed"
"""States of a piece; see `PieceStatus`."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of an operation.

    Attributes:
        name: Its name.
        parts: What it consists of, in order; there is at least one.
        after: Pieces that have to be done before it is begun.
        anew: A part that failed is not tried again by itself: the piece is, from its first part on.
    """

    name: str
    parts: tuple[str, ...]
    after: tuple[str, ...] = ()
    anew: bool = False

    def is_due(self, finished: Collection[str]) -> bool:
        """Whether it may be begun, by the pieces that are done."""
        return all(name in finished for name in self.after)


@dataclass(frozen=True, slots=True, order=True)
class Task:
    """One try to do one part of a piece."""

    piece: str
    part: str
    attempt: int


class Said(StrEnum):
    """What is heard of a task."""

    NOTHING = "Nothing"
    """Nobody answered."""
    UNKNOWN = "Unknown"
    """Whoever would do it knows nothing of it: it was not begun, or was forgotten in a restart."""
    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"


@dataclass(frozen=True, slots=True)
class Word:
    """What is heard of a task.

    Attributes:
        said: How it is.
        message: How far it is, what came of it, or why it failed.
        final: It failed, and would again: somebody has to change something.
    """

    said: Said = Said.NOTHING
    message: str = ""
    final: bool = False


def begun(piece: Piece, heard: Mapping[Task, Word], now: float) -> PieceStatus | None:
    """The row of a piece of which nothing is written; None: it was not begun, as far as is known.

    An operator may have died before it wrote down what it had begun.
    """
    first = Task(piece.name, piece.parts[0], 0)
    if heard.get(first, Word()).said in (Said.NOTHING, Said.UNKNOWN):
        return None
    return PieceStatus(state=WAITING, part=first.part, since=timestamp(now))


def follow(piece: Piece, row: PieceStatus, heard: Mapping[Task, Word], now: float) -> PieceStatus | None:
    """A piece after what is heard of its parts; None: it is done."""
    index = index_of(piece, row)
    if row.part != piece.parts[index]:
        row = PieceStatus(state=WAITING, part=piece.parts[index], attempts=row.attempts, since=timestamp(now))
    while row.state != FAILED and (word := heard.get(task_of(piece.name, row), Word())).said is Said.SUCCEEDED:
        index += 1
        if index == len(piece.parts):
            return None
        row = PieceStatus(state=WAITING, part=piece.parts[index], attempts=row.attempts, since=timestamp(now))
    if row.state == FAILED:
        return row
    match word.said:
        case Said.RUNNING:
            since = row.since if row.state == RUNNING else timestamp(now)
            return replace(row, state=RUNNING, since=since, message=cut(word.message, MAX_TEXT))
        case Said.FAILED:
            return _failed(piece, row, word, now)
        case Said.UNKNOWN if row.state == RUNNING:
            before = f": {row.message}" if row.message else ", as after a restart"
            return _failed(piece, row, Word(message=f"nothing is known of it any more{before}"), now)
    return row


def _failed(piece: Piece, row: PieceStatus, word: Word, now: float) -> PieceStatus:
    attempts = row.attempts + 1
    state = FAILED if attempts >= TRIES or word.final else RETRYING
    message = cut(f"{row.part}: {word.message}", MAX_TEXT)
    part = piece.parts[0] if piece.anew and state == RETRYING else row.part
    return PieceStatus(state=state, part=part, attempts=attempts, since=timestamp(now), message=message)


def candidates(
    rows: Mapping[str, PieceStatus], pieces: Sequence[Piece], finished: Sequence[str], now: float, waits: list[str]
) -> Iterator[Task]:
    """What might be begun: first what goes on with a piece, then what is tried again, then further pieces.

    Args:
        rows: The pieces that are neither done nor untouched.
        pieces: All of them, in the order in which they are begun.
        finished: Those that are done.
        now: Seconds since the epoch.
        waits: Gets, in words, what is waited for before a piece is tried again.
    """
    yield from (task_of(name, row) for name, row in rows.items() if row.state == WAITING)
    retrying = {name: row for name, row in rows.items() if row.state == RETRYING}
    for name, row in retrying.items():
        due = seconds_of(row.since) + min(FIRST_PAUSE * 2 ** (row.attempts - 1), LAST_PAUSE)
        if now >= due:
            yield task_of(name, row)
        else:
            waits.append(f"the next try of {name} at {timestamp(due)}: {row.message}")
    if len(retrying) < MOST_RETRYING:
        touched = {*rows, *finished}
        further = (piece for piece in pieces if piece.name not in touched and piece.is_due(finished))
        yield from (Task(piece.name, piece.parts[0], 0) for piece in further)


def index_of(piece: Piece, row: PieceStatus) -> int:
    """Where a piece stands; one whose part is not there any more begins anew."""
    return piece.parts.index(row.part) if row.part in piece.parts else 0


def task_of(name: str, row: PieceStatus) -> Task:
    """What a piece is at."""
    return Task(name, row.part, row.attempts)


def seconds_of(time: str) -> float:
    """Seconds since the epoch, of RFC 3339 text."""
    return datetime.fromisoformat(time).timestamp()
