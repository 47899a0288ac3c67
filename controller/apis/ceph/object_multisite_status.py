"""What realms, zone groups and zones report of themselves: upstream's fields, and who is master and what is in sync."""

from typing import Annotated

from controller.apis.ceph.status import CONDITIONS
from controller.apis.meta import ApiStruct, Condition, Int64, SpecStruct, Timestamp
from controller.apis.plan import PlanStatus


class _Status(SpecStruct, frozen=True, kw_only=True):
    observed_generation: Int64 = 0
    """The metadata.generation that this status is of."""
    phase: str = ""
    """Ready, Progressing, Failure or Deleting."""
    conditions: Annotated[tuple[Condition, ...], CONDITIONS] = ()
    """Aspects of its state."""
    id: str = ""
    """Its id in Ceph."""
    plan: PlanStatus = PlanStatus()
    """What is about to be done."""


class CephObjectRealmStatus(_Status, frozen=True, kw_only=True):
    """State of a realm."""


class CephObjectZoneGroupStatus(_Status, frozen=True, kw_only=True):
    """State of a zone group."""

    is_master: bool = False
    """Whether it is the realm's master zone group."""


class MasterStatus(ApiStruct, frozen=True, kw_only=True):
    """The zone that users and buckets are made in."""

    zone: str = ""
    """Its name; empty: not known."""
    term: str = ""
    """Its name and the realm's epoch, which grows whenever another zone becomes master. What names a term has no effect
    in a later one."""


class SyncStatus(ApiStruct, frozen=True, kw_only=True):
    """How far the zone has what another one has."""

    source: str = ""
    """The other zone."""
    state: str = ""
    """CaughtUp, Behind, FullSync (it copies all that there is), NotStarted, Master (it is the source for others) or
    Unknown."""
    behind_shards: int = 0
    """Parts of the other zone's log with changes that it does not have yet."""
    oldest: Timestamp = ""
    """Until when it has all changes of the parts that it is behind on; empty: not known."""
    message: str = ""
    """Why the state is not known."""


class CephObjectZoneStatus(_Status, frozen=True, kw_only=True):
    """State of a zone."""

    endpoints: tuple[str, ...] = ()
    """URLs by which other zones reach it."""
    master: MasterStatus = MasterStatus()
    """The zone that users and buckets are made in."""
    metadata_sync: SyncStatus = SyncStatus()
    """Users and buckets, which come from the master."""
    data_sync: tuple[SyncStatus, ...] = ()
    """Objects, which come from each other zone of the zone group."""
