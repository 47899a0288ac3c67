"""MDS daemons get another release of Ceph, in Ceph's order. Pure.

No daemon follows another one, one rank is left, its holder alone is left, it gets the release, then the others are made
(https://docs.ceph.com/en/latest/cephfs/upgrading/). Daemons of two releases never serve one file system. What there was
before is in the status from before the first of these steps; the spec brings it back after the last.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from controller.ceph.access.filesystems import STANDBY_REPLAY
from controller.ceph.filesystem.act import SetMaxMds, SetStandbyReplay, StopMds
from controller.ceph.filesystem.objects import daemon_of, mds_deployment
from controller.ceph.pods import is_kept, kept_by
from controller.framework.children import Apply
from controller.framework.plan import Step

if TYPE_CHECKING:
    from collections.abc import Iterator

    from controller.apis.ceph import CephFilesystem
    from controller.ceph.access.filesystems import FilesystemState
    from controller.ceph.filesystem.observe import FilesystemObservation
    from controller.ceph.pods import Context


def is_under_way(seen: FilesystemObservation) -> bool:
    """Whether MDS daemons of a file system are to get another release."""
    return bool(seen.late) and seen.state is not None


def steps(
    filesystem: CephFilesystem, context: Context, seen: FilesystemObservation, state: FilesystemState
) -> Iterator[Step]:
    """The next steps of an upgrade, all in one lane.

    Args:
        filesystem: The CephFilesystem.
        context: What its daemons are given of their cluster, the release among it.
        seen: What there is.
        state: The file system.
    """
    name = filesystem.metadata.name
    subject, lane = f"file system {name}", f"upgrade of file system {name}"
    reason = f"MDS daemons are to run Ceph {context.release.version}"
    waits_for = seen.hold_upgrade
    if not waits_for and not filesystem.status.mds_upgrade.max_mds:
        waits_for = "the status to have how many ranks there were before"
    if waits_for:
        yield Step(subject=subject, reason=reason, waits_for=waits_for, lane=lane)
        return
    if state.standby_replay:
        yield Step(subject=subject, action=SetStandbyReplay(name, False), reason=reason, lane=lane)
    if state.max_mds > 1:
        yield Step(subject=subject, action=SetMaxMds(name, 1), reason=reason, lane=lane)
    waits_for = _one_rank(state)
    if waits_for:
        yield Step(subject=subject, reason=reason, waits_for=waits_for, lane=lane)
        return
    yield from _replacement(filesystem, context, seen, _last(seen, state), lane)


def _one_rank(state: FilesystemState) -> str:
    """What has to happen until there is one rank that nobody follows; empty: nothing."""
    following = [mds.name for mds in state.daemons if mds.state == STANDBY_REPLAY]
    if following:
        return f"mds {following[0]} to follow no rank any more"
    extra = [rank for rank in state.ranks if rank > 0]
    if state.max_mds > 1 or extra:
        return f"rank {max(extra, default=1)} to be stopped by Ceph"
    return ""


def _replacement(
    filesystem: CephFilesystem, context: Context, seen: FilesystemObservation, last: str, lane: str
) -> Iterator[Step]:
    """Stops all of the old release but the last one, and then replaces that."""
    name, others = filesystem.metadata.name, [mds for mds in seen.late if mds != last]
    reason = f"MDS daemons are to run Ceph {context.release.version}"
    for mds in (*others, *([last] if last in seen.late else [])):
        if is_kept(seen.deployments[mds]):
            yield Step(subject=f"mds {mds}", reason=reason, waits_for=kept_by(daemon_of(mds)), lane=lane)
            return
    for mds in others:
        meta = seen.deployments[mds].metadata
        why = f"{reason}, and the holder of rank 0 gets it while no other one stands by"
        yield Step(subject=f"mds {mds}", action=StopMds(name, mds, meta.name, meta.uid), reason=why, lane=lane)
    if last not in seen.late:
        return
    # Whoever still stands by could take rank 0 over, and be of the old release beside one of the new.
    known = {mds for mds in seen.standbys if mds.rpartition("-")[0] == name}
    gone = sorted(mds for mds in known.union(seen.pods, others) if mds != last)
    waits_for = f"mds {gone[0]} to be gone" if gone else ""
    action = Apply(mds_deployment(filesystem, context, last))
    why = f"{reason}, the holder of rank 0 first"
    yield Step(subject=f"mds {last}", action=action, reason=why, waits_for=waits_for, lane=lane)


def _last(seen: FilesystemObservation, state: FilesystemState) -> str:
    """The daemon that gets the release first, and that is the last one of the old release: the holder of rank 0."""
    holder = state.holder(0)
    if holder is not None and holder.name in seen.deployments:
        return holder.name
    newer = sorted(set(seen.deployments) - set(seen.late))
    return next(iter([*newer, *seen.late]))
