"""The life of a cluster: the whole operator against a world that follows Cassandra's rules."""

from __future__ import annotations

from controller.testkit import virtual_time
from tests.unit.cassandra.life import living, spec


@virtual_time
async def test_a_cluster_is_made_and_its_members_join_one_at_a_time() -> None:
    async with living() as life:
        life.create(spec(a=2, b=2))
        await life.ready("a-0", "a-1", "b-0", "b-1")
        assert life.world.rings == 1
        assert life.cluster.status.founded
