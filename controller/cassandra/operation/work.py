"""What an Operation is: its act, the pieces of that, and who does them. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from controller.apis.cassandra import CASSANDRA_OPERATION
from controller.cassandra.access.answers import Cleanup, Repair, StopCleanups, StopRepairs
from controller.cassandra.backup.acts import Backup, Restore
from controller.cassandra.member.steps import Tell
from controller.framework.pieces import Piece
from controller.framework.workload import Owner

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from controller.apis.cassandra import CassandraOperation, OperationSpec
    from controller.cassandra.access.answers import Command, Keyspace
    from controller.cassandra.backup.acts import Ground, PrepareRestore
    from controller.cassandra.member.roster import Roster
    from controller.framework.jobs import RunJob
    from controller.framework.operations import Ledger
    from controller.framework.pieces import Task


class Act(Protocol):
    """What an Operation does. Its tasks are done by members, which are told to, or by Jobs."""

    @property
    def name(self) -> str:
        """What it is called, as the status has it."""

    @property
    def keyspaces(self) -> tuple[str, ...]:
        """Those that the spec names and the Cluster has to have."""

    @property
    def at_once(self) -> int:
        """Pieces that are done at the same time."""

    @property
    def unit(self) -> str:
        """What its pieces are called in the progress."""

    def refusal(self, ledger: Ledger, roster: Roster | None) -> str:
        """Why it can never be carried out, in words; empty: it can.

        Args:
            ledger: What was begun, and what is done.
            roster: Who belongs to the ring; None: that is not known now.
        """

    def pieces(self, roster: Roster, keyspaces: Iterable[Keyspace]) -> tuple[Piece, ...]:
        """Its pieces, in the order in which they are begun; none: there is nothing to do it with."""

    def way(self, task: Task, keyspaces: Iterable[Keyspace]) -> Tell | str:
        """What a member is told for a task, or the name of the Job that does it."""

    def job(self, task: Task, keyspaces: Iterable[Keyspace], ground: Ground) -> RunJob | PrepareRestore | str:
        """The action that makes a task's Job; or what it waits for, in words."""

    def reason(self, task: Task) -> str:
        """Why a task is done."""

    def stop(self, task: Task) -> Tell | None:
        """What a member is told to break a task off; None: its Job is deleted, or it ends by itself."""

    def tidy(self, roster: Roster) -> Iterator[Tell]:
        """What members are told when it has failed or is given up."""


@dataclass(frozen=True, slots=True)
class AtMembers:
    """An act that members carry out one after the other, one keyspace after the other.

    Attributes:
        name: What it is called, as the status has it.
        uid: The Operation's.
        keyspaces: Those that the spec names; empty: all that have copies.
        why: Why a member is told to do it.
        command: What a member is told for a keyspace.
        broken_off: What breaks it off.
    """

    name: str
    uid: str
    keyspaces: tuple[str, ...]
    why: str
    command: Callable[[str], Command]
    broken_off: Command

    at_once = 1
    unit = "Members"

    def refusal(self, ledger: Ledger, roster: Roster | None) -> str:
        """See `Act`."""
        return ""

    def pieces(self, roster: Roster, keyspaces: Iterable[Keyspace]) -> tuple[Piece, ...]:
        """The members rack by rack, and of each the keyspaces by name."""
        names = [keyspace.name for keyspace in keyspaces if not self.keyspaces or keyspace.name in self.keyspaces]
        order = sorted(roster.members.items(), key=lambda item: (item[1].rack, item[1].ordinal))
        return tuple(Piece(name, tuple(sorted(names))) for name, _ in order) if names else ()

    def way(self, task: Task, keyspaces: Iterable[Keyspace]) -> Tell | str:
        """See `Act`."""
        return Tell(task.piece, self._job_id(task), self.command(task.part))

    def job(self, task: Task, keyspaces: Iterable[Keyspace], ground: Ground) -> RunJob | PrepareRestore | str:
        """Nothing of it is done by Jobs."""
        raise NotImplementedError(f"{self.name} has no Jobs")

    def reason(self, task: Task) -> str:
        """See `Act`."""
        return f"keyspace {task.part}: {self.why}"

    def stop(self, task: Task) -> Tell | None:
        """See `Act`."""
        return Tell(task.piece, f"{self._job_id(task)}-stop", self.broken_off)

    def tidy(self, roster: Roster) -> Iterator[Tell]:
        """Nothing of it is left."""
        yield from ()

    def _job_id(self, task: Task) -> str:
        """The ID of a member's job; in it, a keyspace's underscores are dots."""
        return f"{self.name.lower()}-{self.uid}-{task.attempt}-{task.part.replace('_', '.')}"


def act_of(operation: CassandraOperation) -> Act | None:
    """What an Operation is to do; None: nothing that is known here."""
    spec, uid = operation.spec, operation.metadata.uid
    repair, owner = spec.repair, Owner.of(CASSANDRA_OPERATION, operation.metadata)
    if repair is not None:
        return AtMembers(
            name="Repair",
            uid=uid,
            keyspaces=repair.keyspaces,
            why="copies are made alike",
            command=lambda keyspace: Repair(keyspace, incremental=repair.incremental),
            broken_off=StopRepairs(),
        )
    if spec.cleanup is not None:
        return AtMembers(
            name="Cleanup",
            uid=uid,
            keyspaces=spec.cleanup.keyspaces,
            why="rows that belong to other members are deleted",
            command=Cleanup,
            broken_off=StopCleanups(),
        )
    if spec.backup is not None:
        return Backup(owner, spec.backup)
    return Restore(owner, spec.restore) if spec.restore is not None else None


def name_of(spec: OperationSpec) -> str:
    """What an Operation is called by what it does, as the status has it."""
    acts = {"Repair": spec.repair, "Cleanup": spec.cleanup, "Backup": spec.backup, "Restore": spec.restore}
    return next((name for name, act in acts.items() if act is not None), "")
