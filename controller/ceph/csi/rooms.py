"""How much fits into pools, as the mons say: remembered for a moment, so that many classes ask once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from controller.ceph.access.rados import CephError
from controller.volumes.backend import BackendError, ParameterError
from controller.volumes.features import LARGEST, Room

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from controller.ceph.access.rados import Cluster
    from controller.volumes.places import Place


class _Stats(msgspec.Struct, frozen=True, kw_only=True):
    """What of a pool's statistics is needed: bytes and objects as clients count them; a quota of 0 is none."""

    max_avail: int
    stored: int = 0
    objects: int = 0
    quota_bytes: int = 0
    quota_objects: int = 0

    @property
    def free(self) -> int:
        """The bytes that can be written."""
        if 0 < self.quota_objects <= self.objects:
            return 0
        within = self.quota_bytes - self.stored if self.quota_bytes else self.max_avail
        return max(min(within, self.max_avail), 0)


class Pool(msgspec.Struct, frozen=True, kw_only=True):
    """A pool of a cluster: its name, its number, and how full it is."""

    name: str
    id: int
    stats: _Stats


class _Usage(msgspec.Struct, frozen=True, kw_only=True):
    pools: tuple[Pool, ...] = ()


async def pools_of(cluster: Cluster) -> tuple[Pool, ...]:
    """The pools of a cluster.

    Raises:
        BackendError: The mons do not say.
    """
    try:
        return msgspec.convert(await cluster.mon("df", detail="detail"), _Usage).pools
    except (CephError, msgspec.ValidationError) as error:
        raise BackendError(f"it is not known how much room pools have: {error}") from error


def free_in(pools: Iterable[Pool]) -> Mapping[str, int]:
    """The bytes that can be written into each pool: less than its quota has left, and 0 where it is full. Pure."""
    return {pool.name: pool.stats.free for pool in pools}


def rooms(free: Mapping[str, int], pools: Iterable[tuple[Place, tuple[str, ...]]], of: str) -> tuple[Room, ...]:
    """The room for new volumes, each of which takes only what is written: it may be larger than what is free. Pure.

    Args:
        free: The bytes that can be written, by pool.
        pools: By place the pools that a volume there needs; the last one has its data.
        of: Whose pools they are, in words.

    Raises:
        ParameterError: There is no such pool.
    """
    found = []
    for place, needed in pools:
        if missing := [name for name in needed if name not in free]:
            raise ParameterError(f"{of}: pool {missing[0]!r} does not exist")
        some = all(free[name] for name in needed)
        found.append(Room(place=place, free=free[needed[-1]] if some else 0, largest=LARGEST if some else 0))
    return tuple(found)
