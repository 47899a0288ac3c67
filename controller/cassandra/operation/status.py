"""`status` of an Operation: phase, progress, members at work, conditions. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from controller.apis.cassandra import OperationSpec
from controller.apis.cassandra.operation import BackupStatus
from controller.apis.cassandra.served import OPERATION
from controller.apis.plan import PlanStatus
from controller.cassandra.backup.acts import sealed
from controller.cassandra.backup.objects import Verb
from controller.cassandra.operation.analyze import decision_of
from controller.cassandra.operation.work import act_of, name_of
from controller.framework import honoured
from controller.framework.operations import Phase, conditions, progress
from controller.framework.pieces import Said
from controller.framework.plan import plan_status
from controller.framework.status import timestamp, told
from controller.runtime.conditions import set_conditions

if TYPE_CHECKING:
    from controller.apis.cassandra import CassandraOperation, CassandraOperationStatus
    from controller.cassandra.operation.observe import Observation
    from controller.framework.kind import Look
    from controller.framework.plan import Outcome


def show(look: Look[CassandraOperation], seen: Observation, outcome: Outcome) -> CassandraOperationStatus:
    """See `controller.framework.kind.ControlLoop`."""
    operation, now = look.obj, timestamp(look.now)
    present, generation = operation.status, operation.metadata.generation
    decision = decision_of(operation, seen)
    ledger, act = decision.ledger, act_of(operation)
    found = [
        *conditions(decision),
        honoured.condition(honoured.unhonoured(look.spec, OPERATION, OperationSpec), (), generation),
    ]
    found = [replace(condition, observed_generation=generation) for condition in found]
    return replace(
        present,
        observed_generation=generation,
        phase=ledger.phase,
        message=told(outcome.failures[0]) if outcome.failures else decision.message,
        act=name_of(operation.spec),
        started=ledger.started,
        completed=ledger.completed,
        progress=progress(decision, act.unit) if decision.total and act is not None else present.progress,
        # What it was needed for is over, and the number of members is in the progress.
        finished=() if ledger.phase == Phase.SUCCEEDED else ledger.finished,
        members=dict(ledger.rows),
        backup=_backup(operation, seen) or present.backup,
        conditions=set_conditions(present.conditions, found, now),
        plan=PlanStatus(
            mode=look.mode,
            observed_generation=generation,
            steps=plan_status(outcome, present.plan.steps, now),
        ),
    )


def _backup(operation: CassandraOperation, seen: Observation) -> BackupStatus | None:
    """The backup that was made whole; None: nobody tells of it now."""
    for task, word in seen.heard.items():
        if task.piece == Verb.SEAL and word.said is Said.SUCCEEDED and (found := sealed(word.message)) is not None:
            return BackupStatus(
                name=operation.metadata.name,
                bytes=found.bytes,
                files=found.files,
                release=found.release,
                keyspaces=found.keyspaces,
            )
    return None
