"""What there is of the mirroring of a pool or RADOS namespace.

What of it is ours is remembered in the cluster itself, below the config-key `rook/mirroring/`, for each place: the mode
that was set, the schedules that were added, and the Secret whose token was imported. What others set is left alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import structlog

from controller.ceph.access.rados import CephError
from controller.ceph.access.records import Records
from controller.ceph.access.threads import Lane
from controller.ceph.access.users import find
from controller.ceph.mirroring import health, images, schedules, tokens
from controller.ceph.mirroring.objects import PEER_CAPS, PEER_USER, TOKEN_OF_POOL
from controller.ceph.mirroring.place import Mode
from controller.ceph.mirroring.sources import NO_OFFER, Offer, offer
from controller.framework.text import brief

if TYPE_CHECKING:
    from collections.abc import Mapping

    from controller.apis.ceph.status import MirroringSummary
    from controller.ceph.access.rados import Cluster, RadosCluster
    from controller.ceph.mirroring.images import MirrorState
    from controller.ceph.mirroring.place import Place
    from controller.ceph.mirroring.schedules import Scheduled
    from controller.ceph.mirroring.sources import Source
    from controller.ceph.mirroring.wanted import Wanted
    from controller.framework.owned import Owned
    from controller.runtime.kube import Secret
    from informers import Informer

log = structlog.get_logger(__name__)

OWNED_PREFIX = "rook/mirroring/"
MODE, SCHEDULES, PEER, PEER_OF_DAEMON = "mode", "schedules", "peer", "peer-of-daemon"
"""What a record is of; the last one of a peer that a CephRBDMirror names, and not the pool."""
SECONDS = 60.0
"""How long it may take to read or change how a place is mirrored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MirrorObservation:
    """What `analyze` decides by. It has no key.

    Attributes:
        state: How the place is mirrored; None: nothing is asked for, and nothing of it is ours.
        owned: The records of what is ours, by `MODE`, `SCHEDULES`, `PEER`.
        scheduled: The schedules of the place and of all below it; None: the mgr did not list them.
        sources: The Secrets that the spec names.
        offer: The Secret with this cluster's own token.
        summary: The health of the mirroring; None: not asked, or not known.
        details: Why something is not known, in words.
    """

    state: MirrorState | None = None
    owned: Mapping[str, Owned] = field(default_factory=dict)
    scheduled: tuple[Scheduled, ...] | None = None
    sources: tuple[Source, ...] = ()
    offer: Offer = NO_OFFER
    summary: MirroringSummary | None = None
    details: str = ""


NOTHING = MirrorObservation()
"""What there is where nothing is mirrored."""


async def observe(ceph: RadosCluster, place: Place, wanted: Wanted, *, deleting: bool = False) -> MirrorObservation:
    """How a place is mirrored, as far as it matters.

    Args:
        ceph: The cluster.
        place: A pool or RADOS namespace that exists.
        wanted: What is asked for.
        deleting: Whether it is to go.

    Raises:
        CephError: The cluster does not answer.
    """
    owned = {what: own for (who, what), own in (await Records(ceph, OWNED_PREFIX).read()).items() if who == place.name}
    if wanted.mode is Mode.DISABLED and not owned:
        return NOTHING
    ends = wanted.mode in (Mode.DISABLED, Mode.INIT_ONLY) or deleting
    state = await ceph.use(
        lambda handle: images.observe(handle, place, with_images=ends), lane=Lane.IMAGES, seconds=SECONDS
    )
    return await _asked_of_mgr(ceph, place, MirrorObservation(state=state, owned=owned))


async def observe_schedules(ceph: Cluster, place: Place) -> MirrorObservation:
    """The schedules of an image, and which of them are ours.

    Raises:
        CephError: The mons do not answer.
    """
    owned = {what: own for (who, what), own in (await Records(ceph, OWNED_PREFIX).read()).items() if who == place.name}
    return await _asked_of_mgr(ceph, place, MirrorObservation(owned=owned))


async def _asked_of_mgr(ceph: Cluster, place: Place, seen: MirrorObservation) -> MirrorObservation:
    try:
        return replace(seen, scheduled=await schedules.read(ceph, place.level))
    except CephError as error:
        log.info("Snapshot schedules cannot be listed", place=place.name, error=str(error))
        return replace(seen, details=brief(error))


async def with_health(ceph: Cluster, seen: MirrorObservation, pool_id: int) -> MirrorObservation:
    """`seen` with the health of the mirroring, as far as the mgr tells."""
    if seen.state is None or seen.state.mode is Mode.DISABLED:
        return seen
    try:
        daemons = await health.of_daemons(ceph, pool_id)
    except CephError as error:
        return replace(seen, details=brief(error))
    return replace(seen, summary=health.summary(daemons, seen.state.counts))


async def with_token(
    ceph: Cluster, seen: MirrorObservation, secrets: Informer[Secret], namespace: str, name: str, uid: str
) -> MirrorObservation:
    """`seen` with what there is of the Secret by which other clusters reach this one.

    Args:
        ceph: The cluster.
        seen: What is seen so far.
        secrets: The cache of Secrets.
        namespace: Where it is.
        name: The CephBlockPool.
        uid: The CephBlockPool's.

    Raises:
        CephError: The mons do not answer.
    """
    if seen.state is None:
        return seen
    secret = secrets.get(namespace, f"{TOKEN_OF_POOL}{name}")
    if secret is None:
        return seen
    return replace(seen, offer=offer(secret, uid, await own_token(ceph, namespace)))


async def own_token(ceph: Cluster, namespace: str) -> str:
    """The token by which another cluster reaches this one; empty while the user for that is not there.

    Raises:
        CephError: The mons do not answer.
    """
    user = await find(ceph, PEER_USER)
    if user is None or dict(user.caps) != dict(PEER_CAPS):
        return ""
    dump = await ceph.mon("mon dump")
    return tokens.for_images(
        fsid=dump["fsid"], user=PEER_USER, key=user.key, mon_host=tokens.mon_host(dump), namespace=namespace
    )
