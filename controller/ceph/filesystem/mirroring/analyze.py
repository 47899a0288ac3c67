"""What is asked for of a file system's mirroring against what there is: the steps between. Pure.

Whatever ends here ends what is copied from now on: files and snapshots that were copied stay where they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from controller.ceph.access.modules import EnableModule
from controller.ceph.filesystem.mirroring import schedules
from controller.ceph.filesystem.mirroring.act import (
    DisableMirroring,
    EnableMirroring,
    ImportFilesystemPeer,
    LeaveMirroring,
    RemoveFilesystemPeer,
    SetDirectories,
    SetSnapshots,
    WriteFilesystemToken,
    remote_of,
)
from controller.ceph.filesystem.mirroring.observe import ENABLED, MODULE, peer_record
from controller.ceph.filesystem.mirroring.schedules import Plan
from controller.ceph.mirroring.objects import TOKEN_OF_FILESYSTEM
from controller.ceph.mirroring.sources import offering, withdrawal
from controller.framework.plan import Step
from controller.framework.text import some

if TYPE_CHECKING:
    from collections.abc import Iterator

    from controller.apis.meta import ObjectMeta
    from controller.ceph.access.filesystems import FilesystemState, Remote
    from controller.ceph.filesystem.mirroring.observe import MirroringObservation
    from controller.ceph.filesystem.mirroring.wanted import Wanted
    from controller.ceph.mirroring.sources import Source

MAX_NAMED = 10
"""Schedules and directories that are named."""
IMPORTING = 90.0
"""Seconds for an answer about another cluster; where nobody answers there, the mgr tries for five minutes."""


def steps(
    meta: ObjectMeta, wanted: Wanted, state: FilesystemState, seen: MirroringObservation, *, key_type: str
) -> Iterator[Step]:
    """The steps that have a file system mirrored as is asked for, or not any more.

    Args:
        meta: The CephFilesystem's.
        wanted: What is asked for, in which there is no problem.
        state: What the mons have of the file system.
        seen: What there is of its mirroring.
        key_type: Of a key that is made; empty: what the mons prefer.
    """
    subject = _subject(meta.name)
    if not seen.known:
        if wanted.enabled:
            yield Step(subject=subject, reason="it is to be compared", waits_for="the cluster to answer")
        return
    if not wanted.enabled:
        yield from _ending(meta, state, seen)
        return
    missing = [name for name in _modules(wanted, seen) if name not in seen.modules]
    for name in missing:
        yield Step(subject=f"mgr module {name}", action=EnableModule(name), reason="mirroring of files is its work")
    if missing:
        return
    if not state.mirrored or not seen.noted(ENABLED):
        reason = "it is the spec's from now on" if state.mirrored else "the spec asks for it"
        yield Step(subject=subject, action=EnableMirroring(meta.name), reason=reason)
        return
    write = WriteFilesystemToken(meta.name, key_type)
    yield from offering(f"{TOKEN_OF_FILESYSTEM}{meta.name}", seen.offer, write, "CephFilesystem")
    yield from _peers(meta.name, wanted, state, seen)
    yield from _directories(meta.name, wanted, seen)
    yield from _snapshots(meta.name, wanted.snapshots, seen)


def leaving(
    name: str, state: FilesystemState, seen: MirroringObservation, *, lane: str, consent: str
) -> Iterator[Step]:
    """The step before a file system is removed, of which copies elsewhere stay."""
    if state.mirrored or seen.owned:
        reason = "the mons keep keys of other clusters for it"
        yield Step(
            subject=_subject(name),
            action=LeaveMirroring(name),
            reason=reason,
            lane=lane,
            consent=consent,
            deadline=120.0,
        )


def _subject(name: str) -> str:
    return f"mirroring of file system {name}"


def _modules(wanted: Wanted, seen: MirroringObservation) -> Iterator[str]:
    yield MODULE
    if wanted.snapshots.paths or seen.snapshots.paths:
        yield schedules.MODULE


def _ending(meta: ObjectMeta, state: FilesystemState, seen: MirroringObservation) -> Iterator[Step]:
    """The steps after which a file system is not mirrored any more, if its mirroring is ours."""
    if not seen.owned:
        return
    lane, reason = _subject(meta.name), "the spec does not ask for it any more"
    if seen.snapshots.paths:
        action = SetSnapshots(meta.name, Plan())
        yield Step(subject=f"snapshots of file system {meta.name}", action=action, reason=reason, lane=lane)
    for uuid, remote in sorted(state.peers.items()):
        yield _removal(meta.name, uuid, remote, reason, lane=lane)
    yield from withdrawal(meta.namespace, f"{TOKEN_OF_FILESYSTEM}{meta.name}", seen.offer, reason)
    yield Step(subject=lane, action=DisableMirroring(meta.name), reason=reason, lane=lane)


def _lane(name: str) -> str:
    """Of a peer that is imported after another one is gone: Ceph's daemon knows one, and ends where there are two."""
    return f"peer of file system {name}"


def _removal(name: str, uuid: str, remote: Remote, reason: str, *, lane: str) -> Step:
    action = RemoveFilesystemPeer(name, uuid, remote)
    return Step(subject=_peer(remote), action=action, reason=reason, lane=lane, deadline=IMPORTING)


def _peer(remote: Remote) -> str:
    return f"peer {remote.filesystem} of cluster {remote.site}"


def _peers(name: str, wanted: Wanted, state: FilesystemState, seen: MirroringObservation) -> Iterator[Step]:
    sought = {remote_of(source.token) for source in seen.sources if source.token is not None}
    # Whose it is that a Secret which is not there named is not known: what came by it stays.
    unknown = {source.secret for source in seen.sources if source.token is None}
    for uuid, remote in sorted(state.peers.items()):
        secret = seen.noted(peer_record(remote))
        if secret and remote not in sought and secret not in unknown:
            why = "left mirroring.peers.secretNames" if secret not in wanted.secrets else "has another token by now"
            yield _removal(name, uuid, remote, f"Secret {secret} {why}", lane=_lane(name))
    for source in seen.sources:
        yield from _import(name, source, state, seen)


def _import(name: str, source: Source, state: FilesystemState, seen: MirroringObservation) -> Iterator[Step]:
    token, reason = source.token, f"Secret {source.secret} has its token"
    if token is None or not (token.filesystem and token.site_name):
        waits_for = source.problem or f"Secret {source.secret} to have the token of a file system, not of a pool"
        yield Step(subject=_lane(name), reason="it is to be imported", waits_for=waits_for)
        return
    remote = remote_of(token)
    if (token.fsid, token.filesystem) == (seen.fsid, name):
        waits_for = f"Secret {source.secret} to have the token of another file system: it is that of this one"
        yield Step(subject=_peer(remote), reason=reason, waits_for=waits_for)
        return
    uuid = next((uuid for uuid, peer in sorted(state.peers.items()) if peer == remote), "")
    strangers = [_peer(peer) for peer in state.peers.values() if peer != remote and not seen.noted(peer_record(peer))]
    if strangers and not uuid:
        how = "removed (`ceph fs snapshot mirror peer_remove`), as the daemon ends where it finds a second one"
        yield Step(subject=_peer(remote), reason=reason, waits_for=f"{some(strangers, MAX_NAMED)} to be {how}")
        return
    stale = uuid if uuid and seen.ways.get(uuid) != token.way_digest else ""
    if uuid and not stale and seen.noted(peer_record(remote)) == source.secret:
        return
    if stale:
        reason = f"what Secret {source.secret} says of it was not imported"
    elif uuid:
        reason = f"it is that of Secret {source.secret} from now on"
    action = ImportFilesystemPeer(name, source.secret, stale)
    yield Step(subject=_peer(remote), action=action, reason=reason, lane=_lane(name), deadline=IMPORTING)


def _directories(name: str, wanted: Wanted, seen: MirroringObservation) -> Iterator[Step]:
    ours = seen.own_directories
    if not wanted.directories and not ours:
        return
    subject = f"mirrored directories of file system {name}"
    if seen.directories is None:
        yield Step(subject=subject, reason="to be compared", waits_for=f"mgr module {MODULE} to list them")
        return
    missing = [path for path in wanted.directories if path not in seen.directories]
    surplus = [path for path in ours if path not in wanted.directories]
    if missing or surplus or ours != wanted.directories:
        action = SetDirectories(name, wanted.directories)
        yield Step(subject=subject, action=action, reason=_difference(missing, surplus))


def _snapshots(name: str, wanted: Plan, seen: MirroringObservation) -> Iterator[Step]:
    ours = seen.snapshots
    if not wanted.paths and not ours.paths:
        return
    subject = f"snapshots of file system {name}"
    if seen.live is None:
        waits_for = f"mgr module {schedules.MODULE} to list their schedules"
        yield Step(subject=subject, reason="to be compared", waits_for=waits_for)
        return
    plan = schedules.settled(wanted, seen.live)
    there, kept = {found.schedule for found in seen.live}, schedules.kept(seen.live)
    missing = [str(schedule) for schedule in plan.schedules if schedule not in there]
    missing += [str(keep) for keep in plan.retention if kept.get((keep.path, keep.period)) != keep.count]
    surplus = [str(schedule) for schedule in ours.schedules if schedule not in plan.schedules]
    surplus += [str(keep) for keep in ours.retention if keep not in plan.retention]
    if missing or surplus or ours != plan:
        yield Step(subject=subject, action=SetSnapshots(name, plan), reason=_difference(missing, surplus))


def _difference(missing: list[str], surplus: list[str]) -> str:
    told = ((missing, "missing"), (surplus, "left the spec"))
    found = "; ".join(f"{some(names, MAX_NAMED)} {what}" for names, what in told if names)
    return found or "they are the spec's from now on"
