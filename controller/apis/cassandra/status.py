"""What a Cassandra cluster's status says."""

from typing import Annotated

from msgspec import field

from controller.apis.meta import ApiStruct, Condition, Int32, Int64, Schema, Timestamp
from controller.apis.plan import PlanStatus

LIST_OF_CONDITIONS = Schema(list_type="map", list_map_keys=("type",))


class RackCondition(ApiStruct, frozen=True, kw_only=True):
    """One aspect of a rack, as in 2018."""

    type: Annotated[str, Schema(required=True)] = ""
    """MemberLeaving: a member hands on its data."""
    status: Annotated[str, Schema(required=True, enum=("True", "False", "Unknown"))] = ""
    """Whether it holds."""


class RackStatus(ApiStruct, frozen=True, kw_only=True, omit_defaults=False):
    """How a rack is."""

    members: Int32 = 0
    """Members that it has."""
    ready_members: Int32 = 0
    """Those of them that serve clients."""
    conditions: tuple[RackCondition, ...] = ()
    """As in 2018."""


class MemberStatus(ApiStruct, frozen=True, kw_only=True):
    """How a member is."""

    rack: str = ""
    """Its rack."""
    host_id: str = field(name="hostID", default="")
    """What Cassandra knows it by; empty until it has joined."""
    address: str = ""
    """Its address within the ring."""
    state: str = ""
    """Pending, Joining, Replacing, Normal, Unseen (by other members), Zombie, Down, Leaving or Left."""
    since: Timestamp = ""
    """When it came into this state."""
    message: str = ""
    """Why, where it is not Normal."""
    node: str = ""
    """The node that it runs on."""
    version: str = ""
    """The version that it runs."""


class ClusterStatus(ApiStruct, frozen=True, kw_only=True):
    """How a Cassandra cluster is."""

    observed_generation: Int64 = 0
    """The metadata.generation that this was found for."""
    phase: str = ""
    """Progressing, Ready, Degraded, Failure or Deleting."""
    message: str = ""
    """What it is at."""
    founded: bool = False
    """Whether the cluster was made; from then on members only ever join it."""
    version: str = ""
    """The version that all members run, or the oldest and the newest of them."""
    storage_compatibility: str = ""
    """How the members write files, or are about to."""
    member_count: Int32 = 0
    """Members in the ring."""
    ready_members: Int32 = 0
    """Those of them that serve clients."""
    racks: dict[str, RackStatus] = field(default_factory=dict)
    """By rack; as in 2018."""
    members: dict[str, MemberStatus] = field(default_factory=dict)
    """By member: those that are not Normal first, and up to 100 in all."""
    members_omitted: Int32 = 0
    """Members that `members` does not list."""
    repairs: dict[str, Timestamp] = field(default_factory=dict)
    """By keyspace: when the last repair of all members by an Operation that succeeded was begun; of 100 keyspaces."""
    conditions: Annotated[tuple[Condition, ...], LIST_OF_CONDITIONS] = ()
    """Ready, Progressing, Degraded, UpdateAvailable, RolloutStopped and FieldsHonoured; Failure while a step fails;
    Deleting while it is deleted; RepairOverdue where a schedule repairs it; CertificatesCurrent where members have
    certificates."""
    timers: dict[str, str] = field(default_factory=dict)
    """Since when what is waited for has been so."""
    plan: PlanStatus = PlanStatus()
    """What the operator is about to do."""
