"""What there is of the mirroring of a file system.

What of it is ours is remembered in the cluster itself, below the config-key `rook/fs-mirroring/`: that it is mirrored,
the peers that were imported, the schedules, and the directories. What others set is left alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import msgspec
import structlog

from controller.apis.ceph.filesystem_status import MirrorDaemon
from controller.ceph.access import modules
from controller.ceph.access.rados import CephError
from controller.ceph.access.records import Records
from controller.ceph.access.users import find
from controller.ceph.filesystem.mirroring import schedules
from controller.ceph.mirroring import tokens
from controller.ceph.mirroring.objects import TOKEN_OF_FILESYSTEM, peer_caps, peer_user
from controller.ceph.mirroring.sources import NO_OFFER, Offer, offer, sources
from controller.framework.text import brief

if TYPE_CHECKING:
    from collections.abc import Mapping

    from controller.apis.meta import ObjectMeta
    from controller.ceph.access.filesystems import Remote
    from controller.ceph.access.rados import Cluster
    from controller.ceph.filesystem.mirroring.schedules import Live
    from controller.ceph.filesystem.mirroring.wanted import Wanted
    from controller.ceph.mirroring.sources import Source
    from controller.framework.owned import Owned
    from controller.runtime.kube import Secret
    from informers import Informer

log = structlog.get_logger(__name__)

MODULE = "mirroring"
"""The mgr's module."""
OWNED_PREFIX = "rook/fs-mirroring/"
ENABLED, SNAPSHOTS, DIRECTORIES, PEER = "enabled", "snapshots", "directories", "peer:"
"""What a record is of; the last one is followed by the peer."""


def peer_record(remote: Remote) -> str:
    """What the record of a peer is called."""
    return f"{PEER}{remote.user}@{remote.site}:{remote.filesystem}"


@dataclass(frozen=True, slots=True, kw_only=True)
class MirroringObservation:
    """What `analyze` decides by, beside the file system itself. It has no key.

    Attributes:
        known: Whether the mons answered; nothing else is known where they did not.
        fsid: Which cluster this is.
        modules: The mgr's modules that are on.
        owned: The records of what is ours, by `ENABLED`, `SNAPSHOTS`, `DIRECTORIES` and `peer_record`.
        ways: Digests of how the peers are reached, by their uuid.
        sources: The Secrets that the spec names.
        offer: The Secret with this cluster's own token.
        live: The schedules of directories that matter; None: the mgr did not list them.
        directories: What is mirrored; None: the mgr did not list it.
        daemons: The daemons that mirror the file system; None: not asked, or not known.
        details: Why something is not known, in words.
    """

    known: bool = True
    fsid: str = ""
    modules: frozenset[str] = frozenset()
    owned: Mapping[str, Owned] = field(default_factory=dict)
    ways: Mapping[str, str] = field(default_factory=dict)
    sources: tuple[Source, ...] = ()
    offer: Offer = NO_OFFER
    live: tuple[Live, ...] | None = None
    directories: tuple[str, ...] | None = None
    daemons: tuple[MirrorDaemon, ...] | None = None
    details: str = ""

    @property
    def snapshots(self) -> schedules.Plan:
        """The schedules that are ours."""
        return schedules.parse_noted(self.noted(SNAPSHOTS))

    @property
    def own_directories(self) -> tuple[str, ...]:
        """The mirrored directories that are ours."""
        return parse_directories(self.noted(DIRECTORIES))

    def noted(self, what: str) -> str:
        """What was asked for when it became ours; empty: it is not."""
        record = self.owned.get(what)
        return record.asked if record is not None else ""


NOTHING = MirroringObservation()
"""What there is where nothing is mirrored, and nothing of it is ours."""


def parse_directories(text: str) -> tuple[str, ...]:
    """The directories of a record."""
    try:
        return msgspec.json.decode(text, type=tuple[str, ...])
    except msgspec.MsgspecError:
        return ()


async def observe(
    ceph: Cluster, meta: ObjectMeta, wanted: Wanted, secrets: Informer[Secret], *, mirrored: bool
) -> MirroringObservation:
    """How a file system is mirrored, as far as it matters.

    Args:
        ceph: The cluster.
        meta: The CephFilesystem's.
        wanted: What is asked for.
        secrets: The cache of Secrets.
        mirrored: Whether the mons have it as mirrored.
    """
    try:
        seen = await _asked_of_mons(ceph, meta, wanted, secrets)
    except CephError as error:
        log.info("Mirroring cannot be asked for", filesystem=meta.name, namespace=meta.namespace, error=str(error))
        return MirroringObservation(known=False, details=brief(error))
    return await _asked_of_mgr(ceph, meta.name, wanted, seen) if mirrored else seen


async def _asked_of_mons(
    ceph: Cluster, meta: ObjectMeta, wanted: Wanted, secrets: Informer[Secret]
) -> MirroringObservation:
    records = await Records(ceph, OWNED_PREFIX).read()
    owned = {what: own for (who, what), own in records.items() if who == meta.name}
    if not wanted.enabled and not owned:
        return NOTHING
    dump = await ceph.mon("mgr dump")
    token = await own_token(ceph, meta.name)
    secret = secrets.get(meta.namespace, f"{TOKEN_OF_FILESYSTEM}{meta.name}")
    mons = await ceph.mon("mon dump")
    return MirroringObservation(
        fsid=mons["fsid"],
        modules=modules.switched_on(dump) | modules.always_on(dump),
        owned=owned,
        ways=await ways(ceph, meta.name),
        sources=sources(secrets, meta.namespace, wanted.secrets),
        offer=offer(secret, meta.uid, token) if secret is not None else NO_OFFER,
    )


async def ways(ceph: Cluster, filesystem: str) -> dict[str, str]:
    """Digests of how the peers of a file system are reached, by their uuid.

    Raises:
        CephError: The mons do not answer.
    """
    prefix = peer_key(filesystem, "")
    found = await ceph.mon("config-key dump", key=prefix) or {}
    return {key.removeprefix(prefix): _way(text) for key, text in found.items()}


def peer_key(filesystem: str, uuid: str) -> str:
    """The config-key under which the mgr keeps how a peer is reached."""
    return f"cephfs/mirror/peer/{filesystem}/{uuid}"


def _way(text: str) -> str:
    try:
        found = msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.MsgspecError:
        return ""
    return tokens.way_digest(*(str(found.get(name) or "") for name in ("fsid", "mon_host", "key")))


async def own_token(ceph: Cluster, filesystem: str) -> str:
    """The token by which another cluster reaches a file system; empty while the user for that is not there.

    Raises:
        CephError: The mons do not answer.
    """
    user = await find(ceph, peer_user(filesystem))
    if user is None or dict(user.caps) != dict(peer_caps(filesystem)):
        return ""
    dump = await ceph.mon("mon dump")
    return tokens.for_files(
        fsid=dump["fsid"],
        user=peer_user(filesystem),
        key=user.key,
        mon_host=tokens.mon_host(dump),
        filesystem=filesystem,
    )


async def _asked_of_mgr(
    ceph: Cluster, filesystem: str, wanted: Wanted, seen: MirroringObservation
) -> MirroringObservation:
    paths = sorted({*wanted.snapshots.paths, *seen.snapshots.paths})
    try:
        if paths and schedules.MODULE in seen.modules:
            seen = replace(seen, live=await schedules.read(ceph, filesystem, paths))
        if MODULE in seen.modules:
            listed = await ceph.mgr("fs snapshot mirror ls", fs_name=filesystem) or ()
            seen = replace(seen, directories=tuple(sorted(listed)))
            if wanted.watched:
                seen = replace(seen, daemons=await _daemons(ceph, filesystem))
    except CephError as error:
        log.info("The mgr does not tell of mirroring", filesystem=filesystem, error=str(error))
        return replace(seen, details=brief(error))
    return seen


async def _daemons(ceph: Cluster, filesystem: str) -> tuple[MirrorDaemon, ...]:
    """The daemons that mirror a file system, without what they tell of others."""
    told = await ceph.mgr("fs snapshot mirror daemon status") or ()
    daemons = msgspec.convert(told, tuple[MirrorDaemon, ...])
    found = (
        msgspec.structs.replace(daemon, filesystems=tuple(fs for fs in daemon.filesystems if fs.name == filesystem))
        for daemon in daemons
    )
    return tuple(sorted((daemon for daemon in found if daemon.filesystems), key=lambda daemon: daemon.daemon_id))
