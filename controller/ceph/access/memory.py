"""What a cluster's mons answered a moment ago, so that not every event costs the whole set of questions.

`status` is asked at every look: it is short, whatever the cluster's size, and has the versions of the maps that the
long answers are made of. An answer is remembered until the part of `status` that it depends on changes, until the
operator changes anything in the cluster, or until it is old.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

OLD = 30.0
"""Seconds after which an answer is asked for again, though nothing says that it changed.

Less than the time between two looks at a cluster at rest, so that those ask for everything.
"""

OSDS, MGRS, MONS = "osdmap", "mgrmap", "quorum"

READS: Mapping[str, frozenset[str]] = {
    "df": frozenset(),
    "mgr dump": frozenset({MGRS, MONS}),
    "versions": frozenset({OSDS, MGRS, MONS}),
    "config dump": frozenset(),
    "config-key dump": frozenset(),
    "osd dump": frozenset({OSDS}),
    "osd tree": frozenset({OSDS}),
    "osd metadata": frozenset({OSDS}),
    "osd count-metadata": frozenset({OSDS}),
    "osd pool ls": frozenset({OSDS}),
    "osd pool get": frozenset({OSDS}),
    "osd crush rule dump": frozenset({OSDS}),
    "osd crush class ls": frozenset({OSDS}),
    "osd erasure-code-profile get": frozenset({OSDS}),
}
"""Commands whose answers are remembered, and the parts of `status` that each depends on."""
QUESTIONS = frozenset(
    {
        "status",
        "quorum_status",
        "mon dump",
        "auth get",
        "config get",
        "osd pool get-quota",
        "fs dump",
        "osd blocklist ls",
        "mgr metadata",
        "service dump",
        "nvme-gw show",
        "nvme-gw listeners",
    }
)
"""Commands that change nothing either, and are asked each time. Every other command counts as a write."""

type Question = tuple[str, str]
"""A command's name and the whole of it."""


@dataclass(frozen=True, slots=True)
class _Answer:
    output: bytes
    at: float
    parts: Mapping[str, object]


class Memory:
    """The answers of one connection.

    Args:
        clock: Seconds that only move forward.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._answers: dict[Question, _Answer] = {}
        self._parts: dict[str, object] = {}
        self._writes = 0

    @property
    def writes(self) -> int:
        """Counts what may have changed the cluster; an answer that was asked for before it is not remembered."""
        return self._writes

    def recall(self, question: Question) -> bytes | None:
        """The answer, if it still holds."""
        found = self._answers.get(question)
        if found is None:
            return None
        parts = READS[question[0]]
        if self._clock() - found.at > OLD or any(found.parts.get(p) != self._parts.get(p) for p in parts):
            del self._answers[question]
            return None
        return found.output

    def keep(self, question: Question, output: bytes, writes: int) -> None:
        """Remembers an answer to a question that was asked when there had been so many writes."""
        if writes == self._writes and self._parts:
            self._answers[question] = _Answer(output, self._clock(), dict(self._parts))

    def heard(self, status: Mapping[str, Any]) -> None:
        """Takes note of an answer to `status`."""
        osds, mgrs, mons = status.get("osdmap", {}), status.get("mgrmap", {}), status.get("monmap", {})
        self._parts = {
            OSDS: (osds.get("epoch"), osds.get("num_osds"), osds.get("num_up_osds"), osds.get("num_in_osds")),
            MGRS: (mgrs.get("available"), mgrs.get("num_standbys"), mgrs.get("modules")),
            MONS: (mons.get("epoch"), status.get("election_epoch"), status.get("quorum_names")),
        }
        now = self._clock()
        self._answers = {question: a for question, a in self._answers.items() if now - a.at <= OLD}

    def wrote(self) -> None:
        """Forgets every answer: something in the cluster may be another now."""
        self._writes += 1
        self._answers.clear()
