"""What a Cluster does about Operations on its ring: it lets the one end a piece that has the turn. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from controller.cassandra.member.steps import DeleteVolume, NewAddress, Replicate, Restart, Tell, WriteRoster
from controller.framework.plan import Step

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from controller.cassandra.cluster.observe import Observation
    from controller.framework.turns import Holder

CHANGES = (WriteRoster, Tell, Replicate, DeleteVolume, NewAddress, Restart)
"""Actions that are not begun while an Operation has the turn."""


@dataclass(frozen=True, slots=True)
class EndTurn:
    """Take the turn from an Operation that does not exist any more."""

    of: Holder


def after_operation(steps: Iterable[Step], seen: Observation) -> Iterator[Step]:
    """The steps by which the ring changes; they wait for the Operation that has the turn."""
    for step in steps:
        if seen.turn is not None and isinstance(step.action, CHANGES) and step.held_by is None:
            yield replace(step, waits_for=f"Operation {seen.turn.name} to end what it has begun")
        else:
            yield step


def abandoned(seen: Observation) -> Iterator[Step]:
    """The step that ends the turn of an Operation that is gone, though it ends it itself before it goes."""
    turn = seen.turn
    if turn is not None and all(found.metadata.uid != turn.uid for found in seen.operations):
        yield Step(subject="ring", reason=f"Operation {turn.name} is gone, and had the turn", action=EndTurn(turn))
