"""Whether the placement groups of pools that are to be made fit into what OSDs may have.

Ceph refuses a pool that does not fit, and a store has eight of them: half a store would be left. So all are counted
before the first is made, as the mons count: copies of placement groups, over the OSDs that are in.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from controller.ceph.access.rados import CephError
from controller.ceph.pools.spec import is_erasure_coded

if TYPE_CHECKING:
    from collections.abc import Iterable

    from controller.apis.ceph import PoolSpec
    from controller.ceph.access.rados import Cluster

PER_OSD, DEFAULT_PGS = "mon_max_pg_per_osd", "osd_pool_default_pg_num"
FEWEST_OSDS = 3
"""OSDs for which the mons count at least."""


@dataclass(frozen=True, slots=True)
class Budget:
    """What OSDs may have of placement groups.

    Attributes:
        per_osd: How many each may have.
        osds: OSDs that are in.
        present: Copies of placement groups that there are, or are to be by the pools' present numbers.
        default: Placement groups of a pool that asks for none.
    """

    per_osd: int = 250
    osds: int = 0
    present: int = 0
    default: int = 32

    @property
    def most(self) -> int:
        """Copies of placement groups that there may be in all."""
        return self.per_osd * max(self.osds, FEWEST_OSDS)

    def shortage(self, wanted: Iterable[PoolSpec]) -> str:
        """Why pools that do not exist yet cannot all be made, in words; empty: they can."""
        more = sum(self._copies(spec) for spec in wanted)
        if not more or self.present + more <= self.most:
            return ""
        return (
            f"{more} placement groups more, counted with their copies, than the {self.present} there are would be over "
            f"the {self.most} that {max(self.osds, FEWEST_OSDS)} OSDs may have ({PER_OSD} is {self.per_osd}): "
            f"add OSDs, lower parameters.pg_num of the pools, or raise {PER_OSD}"
        )

    def _copies(self, spec: PoolSpec) -> int:
        coded = spec.erasure_coded
        size = coded.data_chunks + coded.coding_chunks if is_erasure_coded(spec) else spec.replicated.size
        number = str(spec.parameters.get("pg_num", ""))
        return size * (int(number) if number.isdecimal() else self.default)


async def read(ceph: Cluster) -> Budget:
    """What the cluster has and allows.

    Raises:
        CephError: It does not answer.
    """
    status = await ceph.mon("status")
    pools = await ceph.mon("osd pool ls", detail="detail")
    mon = f"mon.{next(iter(status.get('quorum_names', ())), '')}"
    return Budget(
        per_osd=await _number(ceph, mon, PER_OSD, 250),
        osds=int(status.get("osdmap", {}).get("num_in_osds", 0)),
        present=sum(int(pool["pg_num_target"]) * int(pool["size"]) for pool in pools),
        default=await _number(ceph, mon, DEFAULT_PGS, 32),
    )


async def _number(ceph: Cluster, mon: str, name: str, otherwise: int) -> int:
    """An option of a mon as it goes by it: its configuration file counts, too, which the mons' database is without."""
    with suppress(CephError, TypeError, ValueError):
        return int(await ceph.mgr("config show", who=mon, key=name))
    with suppress(CephError, TypeError, ValueError):
        return int(await ceph.mon("config get", who="mon", key=name))
    return otherwise
