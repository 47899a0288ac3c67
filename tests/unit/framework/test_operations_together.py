"""Operations on one subject, whatever happens in whatever order: one at a time, each ends, and none is lost.

The subject's members do what they are told in their own time, fail, are restarted and forget, or do not answer. The
operator looks at one operation after another by what the caches showed some time ago, and dies between any two
instructions. Whose turn it is is asked of the subject itself, as `controller.framework.turns` asks.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from controller.framework.operations import (
    ENDED,
    GRACE,
    Ledger,
    Order,
    Phase,
    Queued,
    ahead,
    asked,
    decide,
    progress,
)
from controller.framework.pieces import TRIES, Piece, Said, Task, Word
from controller.framework.status import timestamp

if TYPE_CHECKING:
    from collections.abc import Mapping

MEMBERS, PARTS = ("a", "b", "c"), ("x", "y")
PIECES = tuple(Piece(name, PARTS) for name in MEMBERS)
EVENTS = ("pass", "look", "look", "look", "die", "refresh", "restart", "silence", "speak", "pause", "new")
PATIENCE = 20_000
"""Seconds in which all operations end when nothing goes wrong any more."""


@dataclass
class Operation:
    name: str
    created: float
    ledger: Ledger = field(default_factory=Ledger)
    order: Order = field(default_factory=Order)
    message: str = ""


class Subject:
    """Members and the operations on them; `violations` has what must never be."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)  # noqa: S311
        self.now = 1_000_000.0
        self.jobs: dict[str, dict[tuple[str, Task], Word]] = {name: {} for name in MEMBERS}
        self.silent: set[str] = set()
        self.turn = ""
        self.operations: dict[str, Operation] = {}
        self.cached: dict[str, Queued] = {}
        self.done: set[tuple[str, str, str]] = set()
        """Operations, members, and the parts that they did."""
        self.violations: list[str] = []
        self.failing = True

    @property
    def running(self) -> list[tuple[str, Task]]:
        return [key for jobs in self.jobs.values() for key, word in jobs.items() if word.said is Said.RUNNING]

    def create(self, name: str, deadline: float | None) -> None:
        self.operations[name] = Operation(name, self.now, order=Order(deadline=deadline))

    def pass_time(self, seconds: int) -> None:
        """Time passes; some of what is under way ends."""
        self.now += seconds
        for member, jobs in self.jobs.items():
            for key, word in list(jobs.items()):
                if word.said is not Said.RUNNING or self.chance.random() < 0.3:
                    continue
                fails = self.failing and self.chance.random() < 0.3
                jobs[key] = Word(Said.FAILED, "no room") if fails else Word(Said.SUCCEEDED)
                if not fails:
                    self.done.add((key[0], member, key[1].part))

    def restart(self, member: str) -> None:
        """A member forgets what it was told."""
        self.jobs[member] = {}

    def refresh(self) -> None:
        """The caches show what is written."""
        self.cached = {
            operation.name: Queued(
                name=operation.name,
                created=timestamp(operation.created),
                phase=operation.ledger.phase,
                waived=operation.order.paused or operation.order.deleting,
            )
            for operation in self.operations.values()
        }

    def look(self, name: str, *, dies: int = 99) -> None:
        """The operator looks at an operation, and dies after so many instructions."""
        operation = self.operations[name]
        own = replace(self.cached.get(name, Queued(name=name)), phase=operation.ledger.phase)
        first = ahead(name, {**self.cached, name: own}.values())
        hold = f"{first} to end" if first else f"{self.turn} to end" if self.turn not in ("", name) else ""
        tasks = asked(operation.ledger, PIECES)
        heard = {task: self._say(name, task) for task in tasks if task.piece not in self.silent}
        decision = decide(operation.order, operation.ledger, PIECES, heard, hold=hold, now=self.now)
        left = dies
        for task in decision.at_work if decision.break_off else ():
            left -= 1
            if left >= 0 and task.piece not in self.silent:
                self.jobs[task.piece][name, task] = Word(Said.FAILED, "broken off")
        for task in decision.begin:
            left -= 2
            if left >= 0 and self.turn in ("", name):
                self.turn = name
                self._tell(name, task)
            elif left == -1 and self.turn == "":
                self.turn = name  # it dies after it took the turn
        if not (decision.begin or decision.at_work or decision.unsure) and self.turn == name:
            left -= 1
            if left >= 0:
                self.turn = ""
        if left > 0:
            operation.ledger, operation.message = decision.ledger, decision.message
            self._check(operation, progress(decision, "Members").done)

    def _say(self, name: str, task: Task) -> Word:
        return self.jobs[task.piece].get((name, task), Word(Said.UNKNOWN))

    def _tell(self, name: str, task: Task) -> None:
        if task.piece in self.silent or (name, task) in self.jobs[task.piece]:
            return
        others = self.running
        if others:
            self.violations.append(f"{name} begins {task} while {others} run")
        if task.piece in self.operations[name].ledger.finished:
            self.violations.append(f"{name} begins {task}, which is finished")
        self.jobs[task.piece][name, task] = Word(Said.RUNNING)

    def _check(self, operation: Operation, done: int) -> None:
        ledger = operation.ledger
        said = MEMBERS if ledger.phase == Phase.SUCCEEDED else ledger.finished
        unfinished = [name for name in said if any((operation.name, name, part) not in self.done for part in PARTS)]
        if unfinished:
            self.violations.append(f"{operation.name} says that {unfinished} are done")
        if ledger.phase == Phase.FAILED and not operation.message:
            self.violations.append(f"{operation.name} does not say why it failed")
        if done > len(MEMBERS):
            self.violations.append(f"{operation.name} has done {done} of {len(MEMBERS)}")


def happen(subject: Subject, chance: random.Random) -> None:
    names = [name for name, found in subject.operations.items() if found.ledger.phase not in ENDED]
    match chance.choice(EVENTS):
        case "pass":
            subject.pass_time(chance.choice((1, 30, 90, 600)))
        case "look" if names:
            subject.look(chance.choice(names))
        case "die" if names:
            subject.look(chance.choice(names), dies=chance.randint(0, 3))
        case "refresh":
            subject.refresh()
        case "restart":
            subject.restart(chance.choice(MEMBERS))
        case "silence":
            subject.silent.add(chance.choice(MEMBERS))
        case "speak":
            subject.silent.clear()
        case "pause" if names:
            found = subject.operations[chance.choice(names)]
            found.order = replace(found.order, paused=not found.order.paused)
        case "new" if len(subject.operations) < 4:
            subject.create(f"{chance.choice('abc')}{len(subject.operations)}", chance.choice((None, None, 500.0)))
        case _:
            pass


def settle(subject: Subject) -> Mapping[str, Operation]:
    """Nothing goes wrong any more."""
    subject.failing = False
    subject.silent.clear()
    for found in subject.operations.values():
        found.order = replace(found.order, paused=False)
    for _ in range(PATIENCE // 20):
        subject.refresh()
        for name, found in subject.operations.items():
            if found.ledger.phase not in ENDED or subject.turn == name:
                subject.look(name)
        if all(found.ledger.phase in ENDED for found in subject.operations.values()) and not subject.turn:
            break
        subject.pass_time(20)
    return subject.operations


@given(st.integers(0, 2**32), st.integers(1, 120))
def test_one_at_a_time_each_ends_and_none_is_lost(seed: int, events: int) -> None:
    subject = Subject(seed)
    subject.create("a0", None)
    for _ in range(events):
        happen(subject, subject.chance)
        assert subject.violations == []

    for found in settle(subject).values():
        assert subject.violations == []
        assert found.ledger.phase in ENDED, found
        assert found.ledger.completed
        if found.order.deadline is None and found.ledger.phase == Phase.FAILED:
            assert f"failed {TRIES} times" in found.message
    assert subject.turn == ""


def test_the_grace_is_not_longer_than_the_patience_of_this_test() -> None:
    assert GRACE < PATIENCE
