"""`cassandra.rook.io/v1alpha1` `Operation`, an act on a Cluster that is carried out once, and `OperationSchedule`."""

from typing import Annotated

from msgspec import field

from controller.apis.meta import ApiStruct, Column, Int64, Kind, ObjectMeta, Rule, Schema, SpecStruct
from controller.apis.operations import OperationStatus, PieceStatus, ScheduleSpec, ScheduleStatus

PRESERVE = Schema(preserve_unknown=True)

type Keyspace = Annotated[str, Schema(min_length=1, max_length=48, pattern=r"^\w+$")]
"""The name of a keyspace."""
type Keyspaces = Annotated[tuple[Keyspace, ...], Schema(max_items=256, list_type="set")]
"""Names of keyspaces."""


class RepairSpec(SpecStruct, frozen=True, kw_only=True):
    """Make the copies of all rows alike, member by member: of each, the ranges that it has the first copy of."""

    keyspaces: Keyspaces = ()
    """The keyspaces; all that have copies, with system_auth, system_distributed and system_traces, when not set."""
    incremental: bool = False
    """Compare only what was written since the last incremental repair."""


class CleanupSpec(SpecStruct, frozen=True, kw_only=True):
    """Delete rows that members keep and that belong to other members, one member at a time."""

    keyspaces: Keyspaces = ()
    """The keyspaces; all that have copies when not set."""


class S3Spec(SpecStruct, frozen=True, kw_only=True):
    """A bucket of an object store that speaks S3."""

    bucket: Annotated[str, Schema(required=True, min_length=3, max_length=63, pattern=r"^[\w.-]+$")] = ""
    """The bucket. It must exist."""
    prefix: Annotated[str, Schema(max_length=512)] = ""
    """What the names of all objects begin with."""
    endpoint: Annotated[str, Schema(max_length=512, pattern=r"^(https?://[^\s/?#@]+(/[^\s?#@]*)?)?$")] = ""
    """URL of the object store, such as https://minio.example.org:9000, without credentials; that of AWS for the region
    when not set."""
    region: Annotated[str, Schema(max_length=64, pattern=r"^[\w-]*$")] = ""
    """Region of the bucket."""
    credentials_secret_name: Annotated[str, Schema(required=True, min_length=1, max_length=253)] = ""
    """Secret of this namespace with keys `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`."""
    ca_secret_name: Annotated[str, Schema(max_length=253)] = ""
    """Secret of this namespace with the authority of the object store's certificate under the key `ca.crt`; those that
    everybody trusts when not set."""
    path_style: bool | None = None
    """Whether the bucket is part of the URL's path, and not of its host. When not set, it is where `endpoint` is."""


class BackupDestinationSpec(SpecStruct, frozen=True, kw_only=True):
    """Where a backup goes."""

    s3: Annotated[S3Spec, Schema(required=True)] = S3Spec()
    """A bucket."""


class BackupSpec(SpecStruct, frozen=True, kw_only=True):
    """Copy the files of all members to an object store."""

    keyspaces: Keyspaces = ()
    """The keyspaces; all of the user's when not set."""
    destination: Annotated[BackupDestinationSpec, Schema(required=True)] = BackupDestinationSpec()
    """Where they go."""


class RestoreSourceSpec(SpecStruct, frozen=True, kw_only=True):
    """Where a backup is."""

    s3: Annotated[S3Spec, Schema(required=True)] = S3Spec()
    """A bucket."""


class RestoreSpec(SpecStruct, frozen=True, kw_only=True):
    """Load the rows of a backup into the Cluster, whatever members it has."""

    source: Annotated[RestoreSourceSpec, Schema(required=True)] = RestoreSourceSpec()
    """Where the backup is."""
    backup: Annotated[str, Schema(required=True, min_length=1, max_length=253)] = ""
    """The backup's name."""
    keyspaces: Keyspaces = ()
    """The keyspaces; all of the backup when not set."""
    overwrite: Keyspaces = ()
    """Consent: keyspaces of which tables that exist lose their rows first. Without it, a restore of such is refused."""


class OperationSpec(SpecStruct, frozen=True, kw_only=True):
    """An act, and on which Cluster."""

    cluster: Annotated[str, Schema(required=True, min_length=1, max_length=253)] = ""
    """The Cluster, in the same namespace."""
    deadline_seconds: Annotated[Int64, Schema(minimum=1)] | None = None
    """Seconds after its begin at which it is broken off, and has failed; never when not set."""
    paused: bool = False
    """Begin no further piece of it."""
    repair: RepairSpec | None = None
    """Make the copies of all rows alike."""
    cleanup: CleanupSpec | None = None
    """Delete rows that belong to other members."""
    backup: BackupSpec | None = None
    """Copy the files of all members to an object store."""
    restore: RestoreSpec | None = None
    """Load the rows of a backup."""


ACTS = ("repair", "cleanup", "backup", "restore")
"""The fields of which an Operation has exactly one."""


def _unchanged(name: str) -> str:
    return f"has(self.{name}) == has(oldSelf.{name}) && (!has(self.{name}) || self.{name} == oldSelf.{name})"


ONE_ACT = Rule(
    f"[{', '.join(f'has(self.{act})' for act in ACTS)}].filter(is_set, is_set).size() == 1",
    "set exactly one of repair, cleanup, backup and restore",
)
UNCHANGED = Rule(
    " && ".join(["self.cluster == oldSelf.cluster", *map(_unchanged, ("deadlineSeconds", *ACTS))]),
    "an Operation is carried out once as it was made, and only paused can be changed: make another Operation",
)


class BackupStatus(ApiStruct, frozen=True, kw_only=True):
    """A backup that was made."""

    name: str = ""
    """Its name in the bucket."""
    bytes: Int64 = 0
    """Bytes of its files."""
    files: Int64 = 0
    """Its files."""
    release: str = ""
    """The version of Cassandra that wrote them."""
    keyspaces: tuple[str, ...] = ()
    """Whose files they are: the first 60 keyspaces."""


class CassandraOperationStatus(OperationStatus, frozen=True, kw_only=True):
    """How an Operation is."""

    act: str = ""
    """Repair, Cleanup, Backup or Restore."""
    members: dict[str, PieceStatus] = field(default_factory=dict)
    """Members at work, and those with which it failed. Others are among `finished`, or their turn is still to come."""
    backup: BackupStatus | None = None
    """The backup that was made."""


class CassandraOperation(SpecStruct, frozen=True, kw_only=True, omit_defaults=False):
    """An act on a Cassandra cluster that is carried out once."""

    api_version: str = "cassandra.rook.io/v1alpha1"
    kind: str = "Operation"
    metadata: ObjectMeta = ObjectMeta()
    spec: Annotated[OperationSpec, Schema(required=True, rules=(ONE_ACT, UNCHANGED))] = OperationSpec()
    status: Annotated[CassandraOperationStatus, PRESERVE] = CassandraOperationStatus()


class OperationScheduleSpec(ScheduleSpec, frozen=True, kw_only=True):
    """When Operations are made, and which."""

    operation: Annotated[OperationSpec, Schema(required=True, rules=(ONE_ACT,))] = OperationSpec()
    """The spec of each Operation."""


class CassandraOperationSchedule(SpecStruct, frozen=True, kw_only=True, omit_defaults=False):
    """Makes Operations at certain times, as a CronJob makes Jobs."""

    api_version: str = "cassandra.rook.io/v1alpha1"
    kind: str = "OperationSchedule"
    metadata: ObjectMeta = ObjectMeta()
    spec: Annotated[OperationScheduleSpec, Schema(required=True)] = OperationScheduleSpec()
    status: Annotated[ScheduleStatus, PRESERVE] = ScheduleStatus()


CASSANDRA_OPERATION = Kind(
    "cassandra.rook.io",
    "v1alpha1",
    "Operation",
    "operations",
    short_names=("cassop",),
    columns=(
        Column("Cluster", ".spec.cluster", description="The Cluster that it is carried out on"),
        Column("Act", ".status.act", description="What is done"),
        Column("Phase", ".status.phase", description="Phase"),
        Column("Done", ".status.progress.done", "integer", description="How much is done"),
        Column("Of", ".status.progress.total", "integer", description="Of how much in all"),
        Column("Age", ".metadata.creationTimestamp", "date"),
        Column("Message", ".status.message", description="What it is at", priority=1),
    ),
)
CASSANDRA_OPERATION_SCHEDULE = Kind(
    "cassandra.rook.io",
    "v1alpha1",
    "OperationSchedule",
    "operationschedules",
    short_names=("cassops",),
    columns=(
        Column("Cluster", ".spec.operation.cluster", description="The Cluster that operations are carried out on"),
        Column("Schedule", ".spec.schedule", description="When"),
        Column("Suspend", ".spec.suspend", "boolean", description="Whether no operation is made"),
        Column("Last", ".status.lastScheduled", "date", description="When the last operation was due"),
        Column("Succeeded", ".status.lastSucceeded", "date", description="When an operation last succeeded"),
        Column("Age", ".metadata.creationTimestamp", "date"),
        Column("Message", ".status.message", description="What is wrong, or what is next", priority=1),
    ),
)
