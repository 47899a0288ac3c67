"""All systems in one operator: what one lacks keeps no other."""

from __future__ import annotations

from controller.cassandra.access.http import HttpMembers
from controller.cassandra.cluster import kind as cassandra
from controller.ceph.access.rados import Connections
from controller.ceph.cluster import v1beta1
from controller.ceph.pool import kind as pools
from controller.ceph.pool.act import POOLS
from controller.framework.settings import Settings
from controller.testkit import ApiServer, new_manager, running, until, virtual_time


@virtual_time
async def test_a_system_whose_type_the_api_server_has_not_keeps_no_other_from_work() -> None:
    server = ApiServer(namespaces=("rook-ceph",))
    server.serve(POOLS)
    server.serve(pools.CLUSTERS)
    manager = new_manager(server)
    settings = Settings(operator_namespace="rook-ceph")
    pools.register(manager, settings, Connections())
    v1beta1.register(manager, settings)
    cassandra.register(manager, settings, HttpMembers())
    server.create(POOLS, {"metadata": {"namespace": "rook-ceph", "name": "replicapool"}, "spec": {}})
    async with running(manager):
        await until(lambda: server.get(POOLS, "rook-ceph", "replicapool").get("status"), within=60)
