"""The kind OperationSchedule: makes Operations at their times, and deletes those that ended long ago."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import msgspec

from controller.apis.cassandra import (
    CASSANDRA_OPERATION,
    CASSANDRA_OPERATION_SCHEDULE,
    CassandraOperation,
    CassandraOperationSchedule,
    OperationScheduleSpec,
)
from controller.apis.cassandra.served import SCHEDULE
from controller.apis.operations import ScheduleStatus
from controller.cassandra.cluster.observe import OPERATIONS, SCHEDULES
from controller.framework import children, honoured
from controller.framework.kind import ControlLoop, controller_of
from controller.framework.names import label_value
from controller.framework.operations import ENDED, Phase
from controller.framework.plan import Plan, Step, StepState
from controller.framework.schedules import Due, ScheduleError, due, operation_name, surplus, times
from controller.framework.status import READY, Words, conditions, fields, stage_of, timestamp
from controller.framework.workload import Owner
from controller.runtime.mapping import owned_by

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from controller.framework.kind import Look
    from controller.framework.plan import Outcome
    from controller.framework.settings import Settings
    from controller.runtime import Manager
    from informers import JsonObject

LABEL = "cassandra.rook.io/schedule"
"""Names the schedule that an Operation is of."""
DUE_ANNOTATION = "cassandra.rook.io/scheduled-at"
"""The time that an Operation was due at, which is earlier than when it was made where it had to wait."""
LONGEST = 3600.0
"""Seconds until the next look at most: a clock may be set."""
WORDS = Words(well="The next Operation is made at its time", leaving="The OperationSchedule is being deleted")


@dataclass(frozen=True, slots=True)
class Observation:
    """The Operations of a schedule, at a time in seconds since the epoch."""

    now: float
    operations: tuple[CassandraOperation, ...] = ()

    @property
    def active(self) -> list[str]:
        """Those that have not ended, the oldest first."""
        found = [o.metadata for o in self.operations if o.status.phase not in ENDED]
        return [meta.name for meta in sorted(found, key=lambda meta: (meta.creation_timestamp or "", meta.name))]

    def ended(self, phase: Phase) -> list[tuple[str, str]]:
        """Those that ended so: when, and their names."""
        return [(o.status.completed or "", o.metadata.name) for o in self.operations if o.status.phase == phase]


def analyze(schedule: CassandraOperationSchedule, seen: Observation) -> Plan:
    """The plan for a schedule."""
    if schedule.metadata.deletion_timestamp is not None:
        return Plan()
    found = due_of(schedule, seen)
    next_look = min(max(found.next - seen.now, 1.0), LONGEST) if found.next is not None else None
    return Plan(steps=tuple(_steps(schedule, seen, found)), look_again=next_look)


def due_of(schedule: CassandraOperationSchedule, seen: Observation) -> Due:
    """What is due; nothing where the schedule means nothing."""
    last = schedule.status.last_scheduled or schedule.metadata.creation_timestamp
    since = datetime.fromisoformat(last).timestamp() if last else seen.now
    try:
        return due(schedule.spec, times(schedule.spec), since=since, active=seen.active, now=seen.now)
    except ScheduleError:
        return Due()


def problem(schedule: CassandraOperationSchedule) -> str:
    """Why a schedule means nothing, in words; empty: it does."""
    try:
        times(schedule.spec)
    except ScheduleError as error:
        return str(error)
    return ""


def _steps(schedule: CassandraOperationSchedule, seen: Observation, found: Due) -> Iterator[Step]:
    if wrong := problem(schedule):
        yield Step(subject="spec", reason=wrong, waits_for="it to be mended")
    if found.waits_for:
        yield Step(subject="the next Operation", reason="it is due", waits_for=found.waits_for)
    if found.make is not None:
        wanted = operation(schedule, found.make)
        reason = f"it was due at {timestamp(found.make)}"
        yield Step(subject=f"Operation {wanted['metadata']['name']}", reason=reason, action=children.Create(wanted))
    gone = surplus(schedule.spec.history, seen.ended(Phase.SUCCEEDED), seen.ended(Phase.FAILED))
    uids = {found.metadata.name: found.metadata.uid for found in seen.operations}
    for name in gone:
        delete = children.Delete(OPERATIONS, schedule.metadata.namespace, name, uids[name])
        yield Step(subject=f"Operation {name}", reason="spec.history keeps later ones", action=delete)


def operation(schedule: CassandraOperationSchedule, time: float) -> JsonObject:
    """The Operation of a schedule that was due at a time, in seconds since the epoch."""
    meta = schedule.metadata
    return {
        "apiVersion": CASSANDRA_OPERATION.api_version,
        "kind": CASSANDRA_OPERATION.kind,
        "metadata": Owner.of(CASSANDRA_OPERATION_SCHEDULE, meta).metadata(
            operation_name(meta.name, time),
            {LABEL: label_value(meta.name)},
            annotations={DUE_ANNOTATION: timestamp(time)},
        ),
        "spec": msgspec.to_builtins(schedule.spec.operation),
    }


def show(look: Look[CassandraOperationSchedule], seen: Observation, outcome: Outcome) -> ScheduleStatus:
    """See `controller.framework.kind.ControlLoop`."""
    schedule, present = look.obj, look.obj.status
    found = due_of(schedule, seen)
    made = any(isinstance(r.step.action, children.Create) and r.state is StepState.DONE for r in outcome.results)
    stage = stage_of(look, outcome, WORDS, invalid=problem(schedule))
    unserved = honoured.unhonoured(look.spec, SCHEDULE, OperationScheduleSpec)
    told = [*conditions(stage, WORDS), honoured.condition(unserved, (), schedule.metadata.generation)]
    succeeded = max((time for time, _ in seen.ended(Phase.SUCCEEDED)), default="")
    following = timestamp(found.next) if found.next is not None else None
    well = f"the next Operation is due at {following}" if following else "no Operation is due any more"
    well = "spec.suspend is true: no Operation is made" if schedule.spec.suspend else well
    return msgspec.structs.replace(
        present,
        **fields(present, look, outcome, stage, told),
        message=well if stage.phase == READY else stage.message,
        active=tuple(seen.active),
        last_scheduled=timestamp(found.make) if made and found.make is not None else present.last_scheduled,
        last_succeeded=max(succeeded, present.last_succeeded or "") or None,
        next=following,
    )


def register(manager: Manager, settings: Settings, *, clock: Callable[[], float] = time.time) -> None:
    """Has `manager` make Operations by their schedules.

    Args:
        manager: Runs the controller.
        settings: Of the operator.
        clock: Seconds since the epoch.
    """
    schedules = manager.informers.informer(SCHEDULES, CassandraOperationSchedule, optional=True)
    operations = manager.informers.informer(OPERATIONS, CassandraOperation, optional=True)

    async def observe(schedule: CassandraOperationSchedule, now: float) -> Observation:
        uid = schedule.metadata.uid
        own = [o for o in operations.list(schedule.metadata.namespace) if _owner(o) == uid]
        return Observation(now, tuple(own))

    loop = ControlLoop(
        resource=SCHEDULES,
        observe=observe,
        analyze=analyze,
        handlers=lambda _, __: children.handlers(manager.applier, manager.client, (operations,)),
        show=show,
    )
    controller = controller_of(
        manager, loop, schedules, workers=settings.workers, name="cassandraoperationschedule", clock=clock
    )
    controller.watch(operations, owned_by(SCHEDULES))
    manager.add(controller)


def _owner(found: CassandraOperation) -> str:
    return next((reference.uid for reference in found.metadata.owner_references if reference.controller), "")
