"""What the operations of all storage systems have in common: acts that are carried out once, and schedules of them."""

from typing import Annotated

from msgspec import field

from controller.apis.meta import ApiStruct, Condition, Int32, Int64, Schema, SpecStruct, Timestamp
from controller.apis.plan import PlanStatus

LIST_OF_CONDITIONS = Schema(list_type="map", list_map_keys=("type",))

FORBID = "Forbid"
"""The one value of `concurrency`."""


class Progress(ApiStruct, frozen=True, kw_only=True, omit_defaults=False):
    """How far an operation has come."""

    done: Int64 = 0
    """So much is done."""
    total: Int64 = 0
    """Of so much in all; 0: not known yet."""
    unit: str = ""
    """What is counted, such as Members."""


class PieceStatus(ApiStruct, frozen=True, kw_only=True):
    """How one piece of an operation is."""

    state: Annotated[str, Schema(enum=("Waiting", "Running", "Retrying", "Failed"))] = ""
    """Waiting (begun, and goes on with `part`), Running, Retrying (it failed, and is tried again) or Failed."""
    part: str = ""
    """What it is at, such as a keyspace."""
    attempts: Int32 = 0
    """How often it failed."""
    since: Timestamp = ""
    """When it came into this state."""
    message: str = ""
    """How far it is, or why it failed."""


class OperationStatus(ApiStruct, frozen=True, kw_only=True):
    """How an operation is."""

    observed_generation: Int64 = 0
    """The metadata.generation that this was found for."""
    phase: Annotated[str, Schema(enum=("", "Pending", "Running", "Paused", "Succeeded", "Failed"))] = ""
    """Pending (not begun), Running, Paused, Succeeded or Failed."""
    message: str = ""
    """What it is at, what it waits for, or why it failed."""
    started: Timestamp | None = None
    """When it was begun."""
    completed: Timestamp | None = None
    """When it succeeded or failed."""
    progress: Progress = Progress()
    """How far it is."""
    finished: tuple[str, ...] = ()
    """The pieces that are done. An operator that is restarted does not do them again."""
    conditions: Annotated[tuple[Condition, ...], LIST_OF_CONDITIONS] = ()
    """Ready, Progressing, Complete, Failed and FieldsHonoured."""
    plan: PlanStatus = PlanStatus()
    """What the operator is about to do."""


class HistorySpec(SpecStruct, frozen=True, kw_only=True):
    """How many operations of a schedule are kept after they ended. Older ones are deleted."""

    succeeded: Annotated[Int32, Schema(default=3, minimum=0, maximum=100)] = 3
    """Operations that succeeded."""
    failed: Annotated[Int32, Schema(default=1, minimum=0, maximum=100)] = 1
    """Operations that failed."""


class ScheduleSpec(SpecStruct, frozen=True, kw_only=True):
    """When operations are made, as a CronJob says it."""

    schedule: Annotated[str, Schema(required=True, min_length=1, max_length=256)] = ""
    """Minutes, hours, days of the month, months and days of the week in cron's notation, such as "0 3 * * 6"; or
    @hourly, @daily, @weekly, @monthly or @yearly."""
    time_zone: Annotated[str, Schema(max_length=64)] = ""
    """Time zone of the schedule by its name, such as Europe/Berlin; UTC when not set."""
    suspend: bool = False
    """Make no further operation. What falls due meanwhile is left out, but for the last one if
    `startingDeadlineSeconds` allows it."""
    concurrency: Annotated[str, Schema(enum=("", FORBID))] = FORBID
    """Forbid: none is made while the one before has not ended."""
    starting_deadline_seconds: Annotated[Int64, Schema(minimum=0)] | None = None
    """Seconds after its time within which an operation may still be made; at any later time when not set."""
    history: Annotated[HistorySpec, Schema(default={})] = HistorySpec()
    """How many operations are kept after they ended."""


class ScheduleStatus(ApiStruct, frozen=True, kw_only=True):
    """How a schedule is."""

    observed_generation: Int64 = 0
    """The metadata.generation that this was found for."""
    phase: str = ""
    """Progressing, Ready or Failure."""
    message: str = ""
    """What is wrong, or what is next."""
    active: tuple[str, ...] = ()
    """Operations that have not ended."""
    last_scheduled: Timestamp | None = None
    """The time that the last operation was due at."""
    last_succeeded: Timestamp | None = None
    """When an operation last succeeded."""
    next: Timestamp | None = None
    """When the next operation is due; not set while none is."""
    conditions: Annotated[tuple[Condition, ...], LIST_OF_CONDITIONS] = field(default=())
    """Ready, Progressing and FieldsHonoured."""
    plan: PlanStatus = PlanStatus()
    """What the operator is about to do."""
