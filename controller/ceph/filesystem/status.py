"""`status` of a CephFilesystem: what all kinds show, the MDS daemons with their ranks, and whether anybody stands by.
Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from controller.apis.ceph.filesystem_status import MdsRank, MdsUpgradeStatus
from controller.apis.meta import Condition
from controller.ceph.filesystem.act import MAX_NAMED
from controller.ceph.filesystem.analyze import kept
from controller.ceph.filesystem.mirroring import status as mirroring
from controller.ceph.filesystem.mirroring.wanted import of
from controller.ceph.filesystem.spec import problems, unserved
from controller.ceph.filesystem.upgrade import is_under_way
from controller.framework import honoured
from controller.framework.plan import StepState
from controller.framework.status import Words, conditions, fields, is_settled, stage_of, timestamp
from controller.framework.text import some

if TYPE_CHECKING:
    from collections.abc import Iterator

    from controller.apis.ceph import CephFilesystem, CephFilesystemStatus
    from controller.ceph.filesystem.observe import FilesystemObservation
    from controller.framework.kind import Look
    from controller.framework.plan import Outcome

WORDS = Words(well="The file system is as the spec has it", leaving="The CephFilesystem is being deleted")
REDUNDANT = "Redundant"
"""Whether an MDS daemon stands by that can take a rank over."""


def show(look: Look[CephFilesystem], seen: FilesystemObservation, outcome: Outcome) -> CephFilesystemStatus:
    """See `controller.framework.kind.ControlLoop`."""
    filesystem, present = look.obj, look.obj.status
    if is_settled(present, look, outcome):
        return present
    stage = stage_of(look, outcome, WORDS, invalid="; ".join(problems(filesystem)))
    generation = filesystem.metadata.generation
    found = (
        *conditions(stage, WORDS, blocked=_blocked(seen, outcome)),
        honoured.differing(() if seen.waits_for else kept(filesystem, seen), unserved(look.spec), generation),
        *_redundant(filesystem, seen),
    )
    state = seen.state
    wanted = of(filesystem)
    info = {**mirroring.info(filesystem, wanted), **({"fscid": str(state.fscid)} if state is not None else {})}
    servers = present.metadata_servers
    if state is not None:
        servers = tuple(MdsRank(name=mds.name, rank=mds.rank, state=mds.state) for mds in state.daemons)
    return msgspec.structs.replace(
        present,
        **fields(present, look, outcome, stage, found),
        info=info,
        metadata_servers=servers,
        mds_upgrade=_upgrade(filesystem, seen),
        **mirroring.fields(present, wanted, seen.mirroring, timestamp(look.now)),
    )


def _redundant(filesystem: CephFilesystem, seen: FilesystemObservation) -> Iterator[Condition]:
    state = seen.state
    if state is None:
        return
    own = filesystem.metadata.name
    standing = sorted(
        {mds.name for mds in state.daemons if not mds.holds}
        | {name for name in seen.standbys if name.rpartition("-")[0] == own}
    )
    if standing:
        reason, message = "StandbyAvailable", f"{some(standing, MAX_NAMED)} can take a rank over"
    else:
        reason, message = "NoStandby", "no MDS daemon stands by: if one fails, its directories wait until it is back"
    yield Condition(type=REDUNDANT, status=str(bool(standing)), reason=reason, message=message)


def _upgrade(filesystem: CephFilesystem, seen: FilesystemObservation) -> MdsUpgradeStatus:
    """What was there before an upgrade, from before its first step until all is as it was."""
    present, state, spec = filesystem.status.mds_upgrade, seen.state, filesystem.spec.metadata_server
    if state is None:
        return present
    if not present.max_mds:
        if not is_under_way(seen) or seen.hold_upgrade:
            return present
        versions = {found.metadata.labels.get("ceph-version", "") for found in seen.deployments.values()}
        return MdsUpgradeStatus(
            max_mds=state.max_mds, standby_replay=state.standby_replay, from_version=min(versions, default="")
        )
    restored = state.serves and (state.max_mds, state.standby_replay) == (spec.active_count, spec.active_standby)
    return MdsUpgradeStatus() if restored and not is_under_way(seen) else present


def _blocked(seen: FilesystemObservation, outcome: Outcome) -> str:
    """What the deletion is held back by, and what may be done about it, in words; empty: by nothing."""
    if seen.users:
        return f"to be deleted first: {some(seen.users, MAX_NAMED)}"
    held = next((r.step for r in outcome.results if r.state is StepState.NEEDS_CONSENT), None)
    return f"{held.subject}: {held.reason}; delete that, or set {held.consent}" if held is not None else ""
