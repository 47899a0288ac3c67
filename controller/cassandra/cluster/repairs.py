"""When keyspaces were last repaired by Operations, and whether a repair that is scheduled is overdue. Pure."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from controller.apis.meta import Condition
from controller.framework.operations import Phase
from controller.framework.text import some

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from controller.apis.cassandra import CassandraCluster
    from controller.cassandra.cluster.observe import Observation

OVERDUE = "RepairOverdue"
"""A type of condition."""
GC_GRACE = 10 * 86400.0
"""Seconds after which Cassandra forgets that a row was deleted, where a table says nothing else (gc_grace_seconds)."""
MARGIN = 2 * 86400.0
"""Seconds before that at which a repair is overdue: it takes its time."""
MOST, MAX_NAMED = 100, 3
"""Keyspaces that the status has, and that a message names."""


def repaired(previous: Mapping[str, str], seen: Observation) -> dict[str, str]:
    """By keyspace: when the last repair of all members that succeeded was begun, as RFC 3339 text.

    Args:
        previous: The same as it was known before: Operations are deleted after a while.
        seen: What there is of the cluster.
    """
    if seen.scene.keyspaces is None:
        return dict(previous)
    known = sorted(keyspace.name for keyspace in seen.scene.keyspaces)[:MOST]
    found = {name: previous[name] for name in known if name in previous}
    for operation in seen.operations:
        repair, status = operation.spec.repair, operation.status
        if repair is None or status.phase != Phase.SUCCEEDED or status.started is None:
            continue
        for name in known:
            if not repair.keyspaces or name in repair.keyspaces:
                found[name] = max(found.get(name, ""), status.started)
    return found


def overdue(cluster: CassandraCluster, seen: Observation, repairs: Mapping[str, str]) -> tuple[Condition, ...]:
    """The condition of a cluster that a schedule repairs; none of another, or while its keyspaces are not known.

    Args:
        cluster: The cluster.
        seen: What there is of it.
        repairs: As `repaired` found them.
    """
    wanted = _scheduled(seen)
    if not wanted:
        return ()
    made = cluster.metadata.creation_timestamp or ""
    late = [name for name in sorted(wanted) if _is_late(repairs.get(name) or made, seen.scene.now)]
    if not late:
        return (Condition(type=OVERDUE, status="False", reason="RepairedInTime"),)
    last = [f"{name} ({repairs.get(name, 'never')})" for name in late]
    message = (
        f"no repair of {(GC_GRACE - MARGIN) / 86400:.0f} days has succeeded, by keyspace and begin of the last one: "
        f"{some(last, MAX_NAMED)}; after gc_grace_seconds, ten days by default, deleted rows may come back"
    )
    return (Condition(type=OVERDUE, status="True", reason="NoRepairInTime", message=message),)


def is_scheduled(seen: Observation) -> bool:
    """Whether a schedule repairs a cluster."""
    return any(schedule.spec.operation.repair is not None for schedule in seen.schedules)


def _scheduled(seen: Observation) -> Collection[str]:
    """The keyspaces that a schedule repairs."""
    known = {keyspace.name for keyspace in seen.scene.keyspaces or ()}
    found: set[str] = set()
    for schedule in seen.schedules:
        repair = schedule.spec.operation.repair
        if repair is not None:
            found |= known & set(repair.keyspaces) if repair.keyspaces else known
    return found


def _is_late(last: str, now: float) -> bool:
    return bool(last) and now > datetime.fromisoformat(last).timestamp() + GC_GRACE - MARGIN
