"""MDS daemons: made, restarted in turn, and removed where they are too many. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from controller.ceph.access import users
from controller.ceph.access.filesystems import ACTIVE
from controller.ceph.access.users import CreateKeyring
from controller.ceph.crash import trouble
from controller.ceph.filesystem import upgrade
from controller.ceph.filesystem.act import FailMds, RemoveUser, SetMaxMds, SetStandbyReplay, StopMds
from controller.ceph.filesystem.objects import (
    APP,
    FILESYSTEM_LABEL,
    daemon_of,
    keyring_name,
    labels,
    mds_budget,
    mds_deployment,
)
from controller.ceph.filesystem.spec import mds_ids
from controller.ceph.pods import is_kept, kept_by
from controller.framework import disruption
from controller.framework.children import Apply, delete, explain
from controller.framework.plan import Step
from controller.framework.rollout import Member, Policy, decide
from controller.runtime.kube import SECRET

if TYPE_CHECKING:
    from collections.abc import Iterator

    from controller.apis.ceph import CephFilesystem
    from controller.ceph.access.filesystems import FilesystemState
    from controller.ceph.filesystem.observe import FilesystemObservation
    from controller.ceph.pods import Context

CAPS = {"mon": "allow profile mds", "osd": "allow *", "mds": "allow"}
"""What an MDS daemon may do; upstream's."""


def analyze(filesystem: CephFilesystem, context: Context, seen: FilesystemObservation) -> Iterator[Step]:
    """The steps for a file system's MDS daemons.

    Args:
        filesystem: The CephFilesystem.
        context: What they are given of their cluster.
        seen: What there is.
    """
    yield from _keys(filesystem, context, seen)
    if seen.state is not None and upgrade.is_under_way(seen):
        yield from upgrade.steps(filesystem, context, seen, seen.state)
    else:
        yield from _rollout(filesystem, context, seen)
        yield from _settings(filesystem, seen)
        yield from _surplus(filesystem, seen)
    yield from disruption.keep(
        seen.live,
        mds_budget(context),
        owner=context.owner,
        app=APP,
        subject="MDS daemons",
        lane="MDS disruption budget",
        why_gone="budgets are switched off",
    )


def _keys(filesystem: CephFilesystem, context: Context, seen: FilesystemObservation) -> Iterator[Step]:
    for mds in mds_ids(filesystem):
        short = users.shortfall(seen.live, keyring_name(mds), CAPS)
        if short:
            action = CreateKeyring(daemon_of(mds).entity, CAPS, keyring_name(mds), labels(context, mds))
            yield Step(subject=f"mds {mds}", action=action, reason=short)


def _rollout(filesystem: CephFilesystem, context: Context, seen: FilesystemObservation) -> Iterator[Step]:
    """Daemons that are missing are made at once; those that differ are restarted one at a time, standbys first."""
    order = sorted(mds_ids(filesystem), key=lambda mds: (-_rank_held(mds, seen), mds))
    order.sort(key=lambda mds: _rank_held(mds, seen) >= 0)
    wanted = {mds: mds_deployment(filesystem, context, mds) for mds in order}
    why = {mds: explain(obj, seen.live.get(("Deployment", obj["metadata"]["name"]))) for mds, obj in wanted.items()}
    members = [_member(mds, bool(why[mds]), seen) for mds in order]
    waits = decide([*members, *_ranks_unserved(seen.state)], Policy())
    for mds in order:
        subject, found = f"mds {mds}", seen.deployments.get(mds)
        if is_kept(found):
            if why[mds] or not _known(mds, seen):
                yield Step(
                    subject=subject, reason=why[mds] or "not known to the mons", waits_for=kept_by(daemon_of(mds))
                )
        elif why[mds]:
            yield Step(subject=subject, action=Apply(wanted[mds]), reason=why[mds], waits_for=waits.get(subject, ""))
        elif not _known(mds, seen):
            waits_for = trouble(seen.pods.get(mds, ()), found) or "it to report to the mons"
            yield Step(subject=subject, reason="not known to the mons", waits_for=waits_for)


def _rank_held(mds: str, seen: FilesystemObservation) -> int:
    """The rank that a daemon holds; -1: none."""
    found = seen.state.named(mds) if seen.state is not None else None
    return found.rank if found is not None and found.holds else -1


def _known(mds: str, seen: FilesystemObservation) -> bool:
    """Whether a daemon does its part by the mons' word: it holds a rank, follows one, or stands by."""
    return mds in seen.standbys or (seen.state is not None and seen.state.named(mds) is not None)


def _member(mds: str, differs: bool, seen: FilesystemObservation) -> Member:
    """A daemon as one that is restarted in turn. One that stands by serves, too: who else could take a rank over?"""
    deployment = seen.deployments.get(mds)
    known = _known(mds, seen)
    if deployment is None or not deployment.rolled_out:
        awaited = "to be restarted"
    elif not known:
        awaited = "to report to the mons"
    else:
        awaited = ""
    return Member(
        name=f"mds {mds}",
        outdated=differs and deployment is not None and not is_kept(deployment),
        serves=known,
        awaited=awaited,
    )


def _ranks_unserved(state: FilesystemState | None) -> Iterator[Member]:
    """Ranks that nobody serves: no daemon is restarted beside one of those, not even the one that takes it over."""
    for rank in state.ranks if state is not None else ():
        if state is not None and rank not in state.active:
            yield Member(name=f"rank {rank}", serves=False, awaited="to be served")


def _settings(filesystem: CephFilesystem, seen: FilesystemObservation) -> Iterator[Step]:
    """How many ranks there are, and who follows them."""
    state, name, spec = seen.state, filesystem.metadata.name, filesystem.spec.metadata_server
    if state is None:
        return
    subject, count, replay = f"file system {name}", spec.active_count, spec.active_standby
    if filesystem.status.mds_upgrade.max_mds and not state.active:
        # Ceph lets a daemon of another release take a rank only where none is held and nobody may follow one.
        count, replay = state.max_mds, False
    if state.max_mds != count:
        reason = f"max_mds is {state.max_mds}, wanted {count}"
        yield Step(subject=subject, action=SetMaxMds(name, count), reason=reason, lane=f"{subject} max_mds")
    if state.standby_replay != replay:
        reason = f"standby-replay is {'on' if state.standby_replay else 'off'}"
        action = SetStandbyReplay(name, replay)
        yield Step(subject=subject, action=action, reason=reason, lane=f"{subject} standby-replay")
    yield from _ranks(seen, state)


def _ranks(seen: FilesystemObservation, state: FilesystemState) -> Iterator[Step]:
    """Ranks that are not as they should be, each with what ends that."""
    for rank in range(state.max_mds):
        holder = state.holder(rank)
        if rank in state.damaged:
            waits_for = "its metadata to be repaired, and `ceph mds repaired`"
            yield Step(subject=f"rank {rank}", reason="its metadata is damaged", waits_for=waits_for)
        elif holder is None:
            waits_for = "an MDS daemon that stands by" if state.joinable else "`ceph fs set … joinable true`"
            yield Step(subject=f"rank {rank}", reason="no MDS daemon holds it", waits_for=waits_for)
        elif holder.state != ACTIVE:
            waits_for = f"mds {holder.name} to be active"
            yield Step(subject=f"rank {rank}", reason=f"mds {holder.name} is {holder.state}", waits_for=waits_for)
    for rank in (rank for rank in state.ranks if rank >= state.max_mds):
        reason = f"{state.max_mds} ranks are wanted"
        yield Step(subject=f"rank {rank}", reason=reason, waits_for="Ceph to hand its directories over and stop it")


def _surplus(filesystem: CephFilesystem, seen: FilesystemObservation) -> Iterator[Step]:
    """Daemons too many, once there are no ranks too many. The key goes last: by it, what is half done is found."""
    name, wanted, state = filesystem.metadata.name, mds_ids(filesystem), seen.state
    active, reason = filesystem.spec.metadata_server.active_count, f"{len(wanted)} MDS daemons are wanted"
    surplus = sorted(set(seen.deployments) - set(wanted))
    cover = [mds for mds in wanted if _known(mds, seen) and _rank_held(mds, seen) < 0]
    failed_over = False
    for mds in surplus:
        found, subject = seen.deployments[mds], f"mds {mds}"
        stop = StopMds(name, mds, found.metadata.name, found.metadata.uid)
        if is_kept(found):
            yield Step(subject=subject, reason=reason, waits_for=kept_by(daemon_of(mds)))
        elif state is not None and _rank_held(mds, seen) >= 0:
            may = state.serves and state.max_mds == active and cover
            if may and not failed_over:
                failed_over = True
                why = f"{reason}, and {cover[0]} can take its rank over"
                yield Step(subject=subject, action=FailMds(mds), reason=why)
            else:
                waits_for = "all ranks to be served, and an MDS daemon that stays to stand by"
                yield Step(subject=subject, reason=reason, waits_for=waits_for)
        else:
            # A rank that is to be stopped has to be held until it is: whoever stands by may have to take it.
            waits_for = "the ranks that are too many to be stopped" if _has_too_many_ranks(state, active) else ""
            yield Step(subject=subject, action=stop, reason=reason, waits_for=waits_for)
    yield from _old_keys(filesystem, seen, reason)


def _has_too_many_ranks(state: FilesystemState | None, active: int) -> bool:
    return state is not None and max(state.max_mds, len(state.ranks)) > active


def _old_keys(filesystem: CephFilesystem, seen: FilesystemObservation, reason: str) -> Iterator[Step]:
    kept = {keyring_name(mds) for mds in (*mds_ids(filesystem), *seen.deployments)}
    start = keyring_name(f"{filesystem.metadata.name}-").removesuffix("-keyring")
    names = (name for kind, name in seen.live if kind == SECRET.kind and name.startswith(start) and name not in kept)
    for name in sorted(names):
        secret = seen.live[SECRET.kind, name]
        own = secret["metadata"].get("labels") or {}
        if own.get(FILESYSTEM_LABEL) != filesystem.metadata.name or secret["metadata"].get("deletionTimestamp"):
            continue
        mds = own["ceph_daemon_id"]
        yield Step(subject=f"mds {mds}", action=RemoveUser(daemon_of(mds).entity), reason=reason)
        yield delete(SECRET, secret, subject=f"mds {mds}", reason=reason)
