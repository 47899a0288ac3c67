"""What an Operation has members do: its pieces are members, the parts of a piece keyspaces. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from controller.cassandra.access.answers import Cleanup, Repair, StopCleanups, StopRepairs
from controller.framework.pieces import Piece

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from controller.apis.cassandra import CassandraOperation, OperationSpec
    from controller.cassandra.access.answers import Command, Keyspace
    from controller.cassandra.member.roster import Roster
    from controller.framework.pieces import Task


@dataclass(frozen=True, slots=True)
class Act:
    """An act that members carry out, one keyspace after the other.

    Attributes:
        name: What it is called, as the status has it.
        keyspaces: Those that the spec names; empty: all that have copies.
        reason: Why a member is told to do it.
        command: What a member is told for a keyspace.
        stop: What breaks it off.
    """

    name: str
    keyspaces: tuple[str, ...]
    reason: str
    command: Callable[[str], Command]
    stop: Command


def act_of(spec: OperationSpec) -> Act | None:
    """What an Operation is to do; None: this operator does not do it."""
    repair, cleanup = spec.repair, spec.cleanup
    if repair is not None:
        return Act(
            name="Repair",
            keyspaces=repair.keyspaces,
            reason="copies are made alike",
            command=lambda keyspace: Repair(keyspace, incremental=repair.incremental),
            stop=StopRepairs(),
        )
    if cleanup is not None:
        return Act(
            name="Cleanup",
            keyspaces=cleanup.keyspaces,
            reason="rows that belong to other members are deleted",
            command=Cleanup,
            stop=StopCleanups(),
        )
    return None


def name_of(spec: OperationSpec) -> str:
    """What an Operation is called by what it does, as the status has it."""
    acts = {"Repair": spec.repair, "Cleanup": spec.cleanup, "Backup": spec.backup, "Restore": spec.restore}
    return next((name for name, act in acts.items() if act is not None), "")


def pieces_of(act: Act, roster: Roster, keyspaces: Iterable[Keyspace]) -> tuple[Piece, ...]:
    """The pieces of an act: the members rack by rack, and of each the keyspaces by name."""
    names = [keyspace.name for keyspace in keyspaces if not act.keyspaces or keyspace.name in act.keyspaces]
    order = sorted(roster.members.items(), key=lambda item: (item[1].rack, item[1].ordinal))
    return tuple(Piece(name, tuple(sorted(names))) for name, _ in order) if names else ()


def job_id(operation: CassandraOperation, task: Task) -> str:
    """The ID of the job by which a member does a task; in it, a keyspace's underscores are dots."""
    act = name_of(operation.spec).lower()
    return f"{act}-{operation.metadata.uid}-{task.attempt}-{task.part.replace('_', '.')}"
