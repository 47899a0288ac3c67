"""What can be done to the mirroring of a file system, and how."""

from __future__ import annotations

import errno
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from controller.ceph.access import modules, users
from controller.ceph.access.filesystems import Remote, parse
from controller.ceph.access.rados import CephError
from controller.ceph.access.records import Records
from controller.ceph.filesystem.mirroring import schedules
from controller.ceph.filesystem.mirroring.observe import (
    DIRECTORIES,
    ENABLED,
    OWNED_PREFIX,
    SNAPSHOTS,
    own_token,
    parse_directories,
    peer_key,
    peer_record,
)
from controller.ceph.filesystem.mirroring.schedules import MINUTES, MINUTES_OPTION, Plan
from controller.ceph.mirroring import tokens
from controller.ceph.mirroring.objects import filesystem_token, peer_caps, peer_user
from controller.framework.owned import Owned
from controller.runtime.kube import SECRET, Secret

if TYPE_CHECKING:
    from controller.ceph.access.rados import Cluster
    from controller.ceph.mirroring.tokens import Token
    from controller.framework.plan import Handler
    from controller.framework.workload import Owner
    from controller.runtime.apply import Applier
    from informers import Client


@dataclass(frozen=True, slots=True)
class EnableMirroring:
    """Have a file system mirrored, and remember that it is ours."""

    filesystem: str


@dataclass(frozen=True, slots=True)
class WriteFilesystemToken:
    """Make the user that other clusters come with, and write the Secret by which they reach the file system.

    `key_type`: of a key that is made; empty: what the mons prefer.
    """

    filesystem: str
    key_type: str = ""


@dataclass(frozen=True, slots=True)
class ImportFilesystemPeer:
    """Mirror a file system with the one whose token a Secret has, and remember that it is ours.

    `stale`: the uuid of the peer where it is there already, and was reached in another way.
    """

    filesystem: str
    secret: str
    stale: str = ""


@dataclass(frozen=True, slots=True)
class RemoveFilesystemPeer:
    """End the mirroring of a file system with another one. What was copied stays there."""

    filesystem: str
    uuid: str
    remote: Remote


@dataclass(frozen=True, slots=True)
class SetSnapshots:
    """Have these schedules and what is kept of them, and nothing else that is ours."""

    filesystem: str
    wanted: Plan


@dataclass(frozen=True, slots=True)
class SetDirectories:
    """Have these directories mirrored, and no others that are ours. What was copied of others stays."""

    filesystem: str
    wanted: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DisableMirroring:
    """Have a file system mirrored no more, withdraw the user that others come with, and forget what was ours.

    Which directories were mirrored stays in the file system's pool, and counts again where it is mirrored later.
    """

    filesystem: str


@dataclass(frozen=True, slots=True)
class LeaveMirroring:
    """Before a file system is removed: remove what the mons keep of its mirroring, the keys of other clusters first."""

    filesystem: str


def handlers(owner: Owner, client: Client, applier: Applier, ceph: Cluster) -> dict[type, Handler]:
    """How the mirroring of a file system is changed.

    Args:
        owner: The CephFilesystem, in whose namespace the Secrets are.
        client: Asks the API server for the Secret with a token.
        applier: Writes that with this cluster's own.
        ceph: The cluster.
    """
    records = Records(ceph, OWNED_PREFIX)

    async def enable(action: EnableMirroring) -> None:
        # Not `fs mirror enable`, which the mons would take, too: the daemon needs an object that the mgr makes.
        await ceph.mgr("fs snapshot mirror enable", fs_name=action.filesystem)
        await records.write((action.filesystem, ENABLED), Owned("true", ""))

    async def write_token(action: WriteFilesystemToken) -> None:
        name = action.filesystem
        await users.key_of(ceph, peer_user(name), peer_caps(name), key_type=action.key_type)
        await applier.apply(filesystem_token(owner, await own_token(ceph, name)))

    async def import_peer(action: ImportFilesystemPeer) -> None:
        found = await client.get(SECRET, owner.namespace, action.secret)
        token = tokens.read(msgspec.convert(found, Secret).data)
        remote = remote_of(token)
        # What is about to be ours is noted first: who dies half way finds it.
        await records.write((action.filesystem, peer_record(remote)), Owned(action.secret, ""))
        if action.stale:
            await _renew(ceph, action.filesystem, action.stale, token)
        await ceph.mgr("fs snapshot mirror peer_bootstrap import", fs_name=action.filesystem, token=token.text)

    async def remove_peer(action: RemoveFilesystemPeer) -> None:
        name, uuid = action.filesystem, action.uuid
        try:
            await ceph.mgr("fs snapshot mirror peer_remove", fs_name=name, peer_uuid=uuid)
        except CephError as error:
            cure = f"`ceph fs mirror peer_remove {name} {uuid}` and `ceph config-key rm {peer_key(name, uuid)}`"
            message = (
                f"{error.message}: cluster {action.remote.site} has to answer, as Ceph takes its mark off the file "
                f"system there; where that cluster is lost, {cure} do without it"
            )
            raise CephError(error.errno, message) from error
        await records.remove((name, peer_record(action.remote)))

    async def disable(action: DisableMirroring) -> None:
        await ceph.mgr("fs snapshot mirror disable", fs_name=action.filesystem)
        await _withdraw(ceph, records, action.filesystem)

    async def leave(action: LeaveMirroring) -> None:
        name = action.filesystem
        state = parse(await ceph.mon("fs dump")).filesystems.get(name)
        for uuid in state.peers if state is not None else ():
            await _let_go(ceph, name, uuid)
        await _withdraw(ceph, records, name)

    return {
        EnableMirroring: enable,
        WriteFilesystemToken: write_token,
        ImportFilesystemPeer: import_peer,
        RemoveFilesystemPeer: remove_peer,
        DisableMirroring: disable,
        LeaveMirroring: leave,
        **modules.handlers(ceph),
        **_within(ceph, records),
    }


def remote_of(token: Token) -> Remote:
    """The peer that the mgr makes of a token."""
    return Remote(token.user, token.site_name, token.filesystem)


async def _renew(ceph: Cluster, filesystem: str, uuid: str, token: Token) -> None:
    """Takes a peer away that is reached in another way by now: neither mgr nor daemon take over what has changed.

    The other cluster is told so first, which is only possible in the new way.
    """
    way = {"fsid": token.fsid, "key": token.key, "mon_host": token.mon_host}
    await ceph.mon("config-key set", key=peer_key(filesystem, uuid), val=msgspec.json.encode(way).decode())
    await ceph.mgr("fs snapshot mirror peer_remove", fs_name=filesystem, peer_uuid=uuid)


async def _let_go(ceph: Cluster, filesystem: str, uuid: str) -> None:
    """Removes a peer; where that cannot be told there, it is not told."""
    try:
        await ceph.mgr("fs snapshot mirror peer_remove", fs_name=filesystem, peer_uuid=uuid)
    except CephError:
        await ceph.mon("fs mirror peer_remove", fs_name=filesystem, uuid=uuid)
        await ceph.mon("config-key rm", key=peer_key(filesystem, uuid))


async def _withdraw(ceph: Cluster, records: Records, filesystem: str) -> None:
    """Removes the user that others come with, and forgets what was ours."""
    await ceph.mon("auth rm", entity=peer_user(filesystem))
    for who, what in await records.read():
        if who == filesystem:
            await records.remove((who, what))


def _within(ceph: Cluster, records: Records) -> dict[type, Handler]:
    """How it is changed what is copied, and when."""

    async def set_snapshots(action: SetSnapshots) -> None:
        name, wanted = action.filesystem, action.wanted
        record = (await records.read()).get((name, SNAPSHOTS))
        ours = schedules.parse_noted(record.asked) if record is not None else Plan()
        both = Plan(
            tuple(sorted({*ours.schedules, *wanted.schedules})), tuple(sorted({*ours.retention, *wanted.retention}))
        )
        await records.write((name, SNAPSHOTS), Owned(schedules.noted(both), ""))
        if any(schedule.interval.endswith(MINUTES) for schedule in wanted.schedules):
            await ceph.mon("config set", who="mgr", name=MINUTES_OPTION, value="true")
        # The last schedule of a directory takes with it what is kept: the new ones come first.
        for schedule in wanted.schedules:
            args = {"path": schedule.path, "snap_schedule": schedule.interval, "start": schedule.start}
            await _unless(errno.EEXIST, ceph, "fs snap-schedule add", name, **args)
        for schedule in sorted({*ours.schedules} - {*wanted.schedules}):
            args = {"path": schedule.path, "repeat": schedule.interval, "start": schedule.start}
            await _unless(errno.ENOENT, ceph, "fs snap-schedule remove", name, **args)
        await _keep(ceph, name, ours, wanted)
        await records.write((name, SNAPSHOTS), Owned(schedules.noted(wanted), ""))

    async def set_directories(action: SetDirectories) -> None:
        name, wanted = action.filesystem, action.wanted
        record = (await records.read()).get((name, DIRECTORIES))
        ours = parse_directories(record.asked) if record is not None else ()
        await records.write((name, DIRECTORIES), Owned(_noted({*ours, *wanted}), ""))
        for path in sorted({*ours} - {*wanted}):
            await _unless(errno.ENOENT, ceph, "fs snapshot mirror remove", "", fs_name=name, path=path)
        for path in wanted:
            await _unless(errno.EEXIST, ceph, "fs snapshot mirror add", "", fs_name=name, path=path)
        await records.write((name, DIRECTORIES), Owned(_noted({*wanted}), ""))

    return {SetSnapshots: set_snapshots, SetDirectories: set_directories}


async def _keep(ceph: Cluster, filesystem: str, ours: Plan, wanted: Plan) -> None:
    """Has as many snapshots kept as are wanted; Ceph changes a count only by taking it away first."""
    live = schedules.kept(await schedules.read(ceph, filesystem, sorted({*ours.paths, *wanted.paths})))
    for keep in ours.retention:
        if keep not in wanted.retention and live.get((keep.path, keep.period)) == keep.count:
            await _retention(ceph, "remove", filesystem, keep.path, keep.spec)
    for keep in wanted.retention:
        present = live.get((keep.path, keep.period))
        if present == keep.count:
            continue
        if present is not None:
            await _retention(ceph, "remove", filesystem, keep.path, f"{present}{keep.period}")
        await _retention(ceph, "add", filesystem, keep.path, keep.spec)


async def _retention(ceph: Cluster, verb: str, filesystem: str, path: str, spec: str) -> None:
    await ceph.mgr(f"fs snap-schedule retention {verb}", path=path, retention_spec_or_period=spec, fs=filesystem)


async def _unless(harmless: int, ceph: Cluster, prefix: str, filesystem: str, **args: str) -> None:
    """Sends a command to the mgr; the error `harmless` means that it is so already."""
    of_filesystem = {"fs": filesystem} if filesystem else {}
    try:
        await ceph.mgr(prefix, **args, **of_filesystem)
    except CephError as error:
        if error.errno != harmless:
            raise


def _noted(directories: set[str]) -> str:
    return msgspec.json.encode(sorted(directories)).decode()
