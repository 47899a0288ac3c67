"""How much fits into the pools of a class, by what the mons say."""

from __future__ import annotations

import json
from typing import Any

import pytest

from controller.ceph.access.rados import CephError
from controller.ceph.rbd.rooms import RbdRooms
from controller.ceph.rbd.volumes import describe
from controller.volumes.backend import BackendError, ParameterError
from controller.volumes.features import LARGEST, Room
from tests.unit.ceph.volumes import DRIVER, storage_class

ZONE = f"topology.{DRIVER}/zone"


def pool(name: str, max_avail: int, **stats: int) -> dict[str, Any]:
    return {"name": name, "id": 1, "stats": {"max_avail": max_avail, "percent_used": 0.5, **stats}}


class Mons:
    """Mons that say how full pools are, and a `Calls` that finds them."""

    def __init__(self, *pools: dict[str, Any]) -> None:
        self.pools = pools
        self.problem: CephError | None = None

    def cluster(self, _: object) -> Mons:
        return self

    async def mon(self, prefix: str, **args: Any) -> Any:
        assert (prefix, args) == ("df", {"detail": "detail"})
        if self.problem is not None:
            raise self.problem
        return {"stats": {}, "pools": list(self.pools)}


def rooms(mons: Mons) -> RbdRooms:
    calls: Any = mons
    return RbdRooms(calls, lambda found: describe(found, "", lambda _: True, lambda _: None))


@pytest.mark.parametrize(
    ("stats", "free"),
    [
        ({"max_avail": 1000}, 1000),
        ({"max_avail": 1000, "stored": 300, "quota_bytes": 500}, 200),
        ({"max_avail": 100, "stored": 300, "quota_bytes": 5000}, 100),
        ({"max_avail": 1000, "stored": 600, "quota_bytes": 500}, 0),
        ({"max_avail": 1000, "objects": 5, "quota_objects": 5}, 0),
        ({"max_avail": 1000, "objects": 4, "quota_objects": 5}, 1000),
        ({"max_avail": 0}, 0),
        ({"max_avail": -4}, 0),
    ],
)
async def test_what_is_free_in_a_pool(stats: dict[str, int], free: int) -> None:
    found = await rooms(Mons(pool("replicapool", **stats))).of(storage_class(DRIVER))
    assert found == (Room(place={}, free=free, largest=LARGEST if free else 0),)


async def test_data_goes_to_the_pool_for_data_and_needs_both() -> None:
    this = storage_class(DRIVER, dataPool="ec")
    assert (await rooms(Mons(pool("replicapool", 10), pool("ec", 70))).of(this))[0].free == 70
    assert (await rooms(Mons(pool("replicapool", 0), pool("ec", 70))).of(this))[0].free == 0


async def test_there_is_room_by_place() -> None:
    pools = [
        {"poolName": name, "domainSegments": [{"domainLabel": "zone", "value": zone}]}
        for name, zone in (("p", "a"), ("q", "b"))
    ]
    this = storage_class(DRIVER, topologyConstrainedPools=json.dumps(pools))
    assert await rooms(Mons(pool("p", 10), pool("q", 0))).of(this) == (
        Room(place={ZONE: "a"}, free=10, largest=LARGEST),
        Room(place={ZONE: "b"}, free=0, largest=0),
    )


async def test_what_is_not_known_is_told() -> None:
    mons = Mons(pool("another", 10))
    with pytest.raises(ParameterError, match="StorageClass rbd: pool 'replicapool' does not exist"):
        await rooms(mons).of(storage_class(DRIVER))
    mons.problem = CephError(110, "timed out")
    with pytest.raises(BackendError, match="it is not known how much room pools have: timed out"):
        await rooms(mons).of(storage_class(DRIVER))
