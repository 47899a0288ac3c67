"""`status` of a CephObjectZone: what all kinds show, who is master, and what is in sync. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from controller.apis.ceph.object_multisite_status import MasterStatus, SyncStatus
from controller.apis.meta import Condition
from controller.ceph.multisite.period import term
from controller.ceph.multisite.status import blocked
from controller.ceph.multisite.sync import CAUGHT_UP, MASTER, UNKNOWN
from controller.ceph.rgw import tool
from controller.ceph.zone.analyze import kept
from controller.ceph.zone.spec import endpoints_of, problems, unserved
from controller.framework import honoured
from controller.framework.status import Words, conditions, fields, stage_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from controller.apis.ceph import CephObjectZone, CephObjectZoneStatus
    from controller.ceph.multisite.sync import Replication
    from controller.ceph.zone.observe import ZoneObservation
    from controller.framework.kind import Look
    from controller.framework.plan import Outcome

WORDS = Words(well="The zone is as the spec has it", leaving="The CephObjectZone is being deleted")
IN_SYNC = "InSync"
"""Whether the zone has what the others have; not there where it is the only one."""


def show(look: Look[CephObjectZone], seen: ZoneObservation, outcome: Outcome) -> CephObjectZoneStatus:
    """See `controller.framework.kind.ControlLoop`."""
    zone, present = look.obj, look.obj.status
    stage = stage_of(look, outcome, WORDS, invalid="; ".join(problems(zone)))
    differs = () if seen.ground.waits_for else kept(zone, seen)
    found = (
        *conditions(stage, WORDS, blocked=blocked(seen.users)),
        honoured.differing(differs, unserved(look.spec), zone.metadata.generation),
        *_in_sync(seen.replication),
    )
    replication = seen.replication
    return msgspec.structs.replace(
        present,
        **fields(present, look, outcome, stage, found),
        id=tool.answer(seen.ground.run).get("id", present.id),
        endpoints=endpoints_of(zone, seen.stores) if seen.ground.exists else present.endpoints,
        master=_master(seen, present.master),
        metadata_sync=replication.metadata if replication is not None else SyncStatus(),
        data_sync=replication.data if replication is not None else (),
    )


def _master(seen: ZoneObservation, present: MasterStatus) -> MasterStatus:
    """The master by the zone's gateways; before there are any, by what its Job has told."""
    if seen.period is not None:
        return MasterStatus(zone=seen.period.master, term=seen.period.term)
    told = tool.answer(seen.ground.run)
    if present.zone or not told.get("master"):
        return present
    return MasterStatus(zone=told["master"], term=term(told["master"], told["epoch"]))


def _in_sync(replication: Replication | None) -> Iterator[Condition]:
    if replication is None or not (replication.data or replication.newer):
        return
    if replication.newer:
        message = (
            f"{replication.newer} is the realm's master by what {replication.newer_at} says, and this cluster goes by "
            "an earlier one: have the CephObjectRealm here pull from there"
        )
        yield Condition(type=IN_SYNC, status="False", reason="OtherMaster", message=message)
        return
    metadata = replication.metadata
    states = [("users and buckets", metadata)] if metadata.state != MASTER else []
    states += [("objects", found) for found in replication.data]
    unknown = [f"{what} of {found.source}: {found.message}" for what, found in states if found.state == UNKNOWN]
    late = [_words(what, found) for what, found in states if found.state not in (CAUGHT_UP, UNKNOWN)]
    if late:
        yield Condition(type=IN_SYNC, status="False", reason="Behind", message="; ".join([*late, *unknown]))
    elif unknown:
        yield Condition(type=IN_SYNC, status="Unknown", reason="NotAnswered", message="; ".join(unknown))
    else:
        message = "the zone has all that the others have"
        yield Condition(type=IN_SYNC, status="True", reason=CAUGHT_UP, message=message)


def _words(what: str, found: SyncStatus) -> str:
    since = f" since {found.oldest}" if found.oldest else ""
    told = found.message or f"{found.state}{since}"
    return f"{what} of {found.source}: {told}"
