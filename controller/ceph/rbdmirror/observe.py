"""What there is of the daemons that mirror images, and of the peers that the CephRBDMirror names."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import structlog

from controller.ceph.access.rados import CephError
from controller.ceph.mirroring import observe as mirroring
from controller.ceph.mirroring.observe import MirrorObservation
from controller.ceph.mirroring.place import Mode, Place
from controller.ceph.mirroring.sources import source
from controller.ceph.mirroring.wanted import Wanted
from controller.framework.text import brief

if TYPE_CHECKING:
    from controller.apis.ceph import CephRBDMirror
    from controller.ceph.access.rados import RadosCluster
    from controller.ceph.mirroring.daemon_state import Caches, DaemonObservation, DaemonObserver

log = structlog.get_logger(__name__)

POOL_KEY = "pool"
"""Under which a Secret has the pool that is mirrored with the cluster of its token; upstream's."""


@dataclass(frozen=True, slots=True)
class SourceOfPool:
    """A Secret that the spec names, the pool that it is for, and what there is of the pool's mirroring.

    `problem`: why it cannot be used, in words.
    """

    secret: str
    pool: str = ""
    mirror: MirrorObservation = mirroring.NOTHING
    problem: str = ""


@dataclass(frozen=True, slots=True)
class RbdMirrorObservation:
    """What `analyze` decides by: what there is of the daemons, and of the Secrets with tokens."""

    daemons: DaemonObservation
    sources: tuple[SourceOfPool, ...] = ()


class Observer:
    """Observes the daemons, and the Secrets.

    Args:
        daemons: Observes daemons.
        caches: What the API server has.
    """

    def __init__(self, daemons: DaemonObserver, caches: Caches) -> None:
        self._daemons, self._caches = daemons, caches

    async def observe(self, mirror: CephRBDMirror, _: float) -> RbdMirrorObservation:
        """What there is, or why the cluster cannot be asked."""
        seen, ceph = await self._daemons.observe(mirror.metadata, mirror.spec)
        if ceph is None or seen.elder or mirror.metadata.deletion_timestamp is not None:
            return RbdMirrorObservation(seen)
        names = mirror.spec.peers.secret_names
        return RbdMirrorObservation(seen, tuple([await self._source(ceph, mirror, name) for name in names]))

    async def _source(self, ceph: RadosCluster, mirror: CephRBDMirror, name: str) -> SourceOfPool:
        secret = self._caches.secrets.get(mirror.metadata.namespace, name)
        given = source(secret, name)
        if secret is None or given.token is None:
            return SourceOfPool(name, problem=given.problem)
        pool = secret.data.get(POOL_KEY, b"").decode("utf-8", "replace").strip()
        if not pool:
            return SourceOfPool(name, problem=f"Secret {name} to have key {POOL_KEY}: the pool that is mirrored")
        try:
            # Whether the pool is mirrored is its CephBlockPool's to say.
            found = await mirroring.observe(ceph, Place(pool), Wanted(mode=Mode.IMAGE))
        except CephError as error:
            log.info("Mirroring cannot be asked for", pool=pool, error=str(error))
            return SourceOfPool(name, pool, problem=f"pool {pool} to answer: {brief(error)}")
        return SourceOfPool(name, pool, replace(found, sources=(given,)))
