"""The health of a pool's mirroring, in Ceph's words, by what its daemons tell the mgr and by the state of its images.

It is found as `rbd mirror pool status` finds it.
"""

from __future__ import annotations

import json
from enum import IntEnum
from typing import TYPE_CHECKING, Any

from controller.apis.ceph.status import MirroringStates, MirroringSummary
from controller.ceph.mirroring.place import ImageState

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from controller.ceph.access.rados import Cluster

SERVICE = "rbd-mirror"
"""What the mgr calls the daemons."""


class Health(IntEnum):
    """How well it goes; the worst is the greatest."""

    UNKNOWN = 0
    OK = 1
    WARNING = 2
    ERROR = 3


async def of_daemons(ceph: Cluster, pool_id: int) -> Health:
    """How well the daemons mirror a pool.

    Raises:
        CephError: The mgr does not answer in time.
    """
    dump = await ceph.mgr("service dump") or {}
    daemons = dump.get("services", {}).get(SERVICE, {}).get("daemons", {})
    known = {number for number, daemon in daemons.items() if isinstance(daemon, dict) and "metadata" in daemon}
    if not known:
        return Health.UNKNOWN
    reports = (await ceph.mgr("service status") or {}).get(SERVICE, {})
    return daemons_health([report for number, report in reports.items() if number in known], pool_id)


def daemons_health(reports: list[Mapping[str, Any]], pool_id: int) -> Health:
    """How well daemons mirror a pool, by what each of them reports. Pure."""
    found = [_of_pool(report, pool_id) for report in reports]
    pools = [pool for pool in found if pool is not None]
    if not pools:
        worst = Health.ERROR
    elif not any(pool.get("leader") for pool in pools):
        worst = Health.WARNING
    else:
        worst = Health.OK
    silent = Health.WARNING if len(pools) < len(found) else Health.UNKNOWN
    return max(worst, silent, *(level for pool in pools for level in _levels(pool)))


def _of_pool(report: Mapping[str, Any], pool_id: int) -> Mapping[str, Any] | None:
    try:
        pools = json.loads(report["status"]["json"])
    except (KeyError, TypeError, ValueError):
        return None
    found = pools.get(str(pool_id)) if isinstance(pools, dict) else None
    return found if isinstance(found, dict) else None


def _levels(pool: Mapping[str, Any]) -> Iterator[Health]:
    yield Health.UNKNOWN
    for callout in pool.get("callouts", {}).values():
        level = callout.get("level")
        if level == "error":
            yield Health.ERROR
        elif level == "warning":
            yield Health.WARNING


def summary(daemons: Health, counts: Mapping[ImageState, int]) -> MirroringSummary:
    """What a status shows of both. Pure."""
    images = Health.OK
    for state, count in counts.items():
        if count and state is ImageState.ERROR:
            images = Health.ERROR
        elif count and state not in (ImageState.REPLAYING, ImageState.STOPPED):
            images = max(images, Health.WARNING)
    states = MirroringStates(**{state.word: count for state, count in counts.items()})
    return MirroringSummary(
        health=max(daemons, images).name,
        daemon_health=daemons.name,
        image_health=images.name,
        states=states,
        image_states=states,
    )
