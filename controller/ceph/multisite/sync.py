"""How far a zone has what others have, as `radosgw-admin sync status` tells it: by the admin API of their gateways.

A source's log is in parts, its shards. The zone remembers how far it has come in each; where the source is further, it
is behind. Source: RGW's src/rgw/rgw_rest_log.cc and radosgw-admin.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import anyio

from controller.apis.ceph.object_multisite_status import SyncStatus
from controller.ceph.rgw.admin import AdminError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from controller.ceph.multisite.period import Period, Zone
    from controller.ceph.rgw.admin import Admin

CAUGHT_UP, BEHIND, FULL, NOT_STARTED, MASTER, UNKNOWN = (
    "CaughtUp",
    "Behind",
    "FullSync",
    "NotStarted",
    "Master",
    "Unknown",
)
"""`SyncStatus.state`."""
PATIENCE = 25.0
"""Seconds that it may take to find out how far a zone has what one other has."""
MOST_LISTED = 4
"""Shards that are behind of which the oldest change is looked for."""

EARLIER_PERIOD = "it has not got as far as the realm's present period"
OF_ANOTHER_REALM = "its pools are left of a zone of another realm, whose changes it waits for: it needs new pools"
"""Why a zone is behind on users and buckets that compares with no shard."""

METADATA, DATA = "metadata", "data"
"""The logs, as the API calls them."""
_FULL_SYNC = (0, "full-sync")
"""How the markers of the two logs say that all there is is being copied."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Replication:
    """How far a zone has what others have.

    Attributes:
        metadata: Users and buckets, from the realm's master.
        data: Objects, from each source.
        newer: A term that another zone knows and that is later than this zone's; empty: there is none.
        newer_at: Where that is known.
    """

    metadata: SyncStatus = field(default_factory=SyncStatus)
    data: tuple[SyncStatus, ...] = ()
    newer: str = ""
    newer_at: str = ""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a zone has come with one log of a source: its state, and its position in each shard."""

    state: str
    positions: Mapping[int, str] = field(default_factory=dict)


def progress(answer: Mapping[str, Any]) -> Progress:
    """How far a zone has come, by what its gateways tell. Pure."""
    status = answer["info"]["status"]
    if status == "init":
        return Progress(NOT_STARTED)
    markers = {entry["key"]: entry["val"] for entry in answer["markers"]}
    copies = any(marker.get("state", marker.get("status")) in _FULL_SYNC for marker in markers.values())
    state = FULL if status != "sync" or copies else CAUGHT_UP
    return Progress(state, {shard: marker["marker"] for shard, marker in markers.items()})


def behind(found: Progress, ends: Mapping[int, str]) -> tuple[int, ...]:
    """The shards in which the source is further. Positions are text that is in the order of the changes. Pure."""
    return tuple(sorted(shard for shard, end in ends.items() if end > found.positions.get(shard, "")))


async def metadata(own: Admin, master: Admin, name: str, period: Period) -> SyncStatus:
    """How far a zone has the users and buckets of the master.

    Args:
        own: Its gateways.
        master: Those of the master.
        name: The master's name.
        period: What the zone goes by.
    """

    async def ask() -> SyncStatus:
        answer = await _status(own, METADATA)
        found = progress(answer)
        if found.state == CAUGHT_UP and answer["info"]["period"] != period.id:
            later = answer["info"].get("realm_epoch", 0) > period.epoch
            return SyncStatus(source=name, state=BEHIND, message=OF_ANOTHER_REALM if later else EARLIER_PERIOD)
        of_period = {"period": period.id}
        return await _compared(master, name, METADATA, found, of_period)

    return await _patiently(name, ask)


async def data(own: Admin, source: Admin, zone: Zone) -> SyncStatus:
    """How far a zone has the objects of a source.

    Args:
        own: Its gateways.
        source: Those of the source.
        zone: The source.
    """

    async def ask() -> SyncStatus:
        found = progress(await _status(own, DATA, **{"source-zone": zone.id}))
        return await _compared(source, zone.name, DATA, found, {})

    return await _patiently(zone.name, ask)


async def _status(own: Admin, log: str, **more: str) -> Mapping[str, Any]:
    """What a zone tells of its progress. One that has noted nothing yet has not begun."""
    try:
        answer: Mapping[str, Any] = await own.get("log", type=log, status="", **more)
    except AdminError as error:
        if not error.is_not_found:
            raise
        return {"info": {"status": "init"}, "markers": []}
    return answer


async def _compared(source: Admin, name: str, log: str, found: Progress, more: Mapping[str, str]) -> SyncStatus:
    """How far a zone has come, against how far the source is."""
    if found.state == NOT_STARTED:
        return SyncStatus(source=name, state=NOT_STARTED)
    ends: dict[int, str] = {}

    async def end_of(shard: int) -> None:
        ends[shard] = (await source.get("log", type=log, id=shard, info="", **more))["marker"]

    # One question first: where nobody answers it, the others need not be asked.
    shards = sorted(found.positions)
    for first in shards[:1]:
        await end_of(first)
    await _all(end_of, shards[1:])
    late = behind(found, ends)
    state = found.state if found.state == FULL or not late else BEHIND
    times: list[str] = []

    async def first_of(shard: int) -> None:
        after: dict[str, str | int] = {"marker": found.positions[shard], "max-entries": 1}
        listed = await source.get("log", type=log, id=shard, **more, **after)
        times.extend(entry["timestamp"] for entry in listed["entries"][:1])

    await _all(first_of, late[:MOST_LISTED])
    oldest = f"{min(times)[:19]}Z" if times else ""
    return SyncStatus(source=name, state=state, behind_shards=len(late), oldest=oldest)


async def _all(ask: Callable[[int], Any], shards: list[int] | tuple[int, ...]) -> None:
    """Asks for each shard; as many at once as the way to the gateways lets through."""
    failed: list[AdminError] = []

    async def one(shard: int) -> None:
        try:
            await ask(shard)
        except AdminError as error:
            failed.append(error)

    async with anyio.create_task_group() as tasks:
        for shard in shards:
            tasks.start_soon(one, shard)
    if failed:
        raise failed[0]


async def _patiently(name: str, ask: Callable[[], Any]) -> SyncStatus:
    """What `ask` finds out, or that it is not known, and why."""
    with anyio.move_on_after(PATIENCE):
        try:
            found: SyncStatus = await ask()
        except AdminError as error:
            return SyncStatus(source=name, state=UNKNOWN, message=str(error))
        return found
    return SyncStatus(source=name, state=UNKNOWN, message=f"the gateways took more than {PATIENCE:g} s to answer")
