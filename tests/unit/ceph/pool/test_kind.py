"""CephBlockPools on the test kit's API server, where there is no cluster yet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from controller.ceph.access.rados import Connections
from controller.ceph.pool.act import POOLS
from controller.ceph.pool.kind import CLUSTERS, FINALIZER, register
from controller.framework.settings import Settings
from controller.testkit import ApiServer, new_manager, running, until, virtual_time

if TYPE_CHECKING:
    from informers import JsonObject

KEY = ("rook-ceph", "replicapool")


@virtual_time
async def test_a_pool_waits_for_its_cluster_and_goes_without_one() -> None:
    server = ApiServer(namespaces=("rook-ceph",))
    server.serve(POOLS)
    server.serve(CLUSTERS)
    manager = new_manager(server)
    register(manager, Settings(operator_namespace="rook-ceph"), Connections())

    def ready() -> str:
        found: JsonObject = server.get(POOLS, *KEY)
        conditions = found.get("status", {}).get("conditions", [])
        return next((c["message"] for c in conditions if c["type"] == "Ready"), "")

    async with running(manager):
        meta = {"namespace": KEY[0], "name": KEY[1]}
        server.create(POOLS, {"metadata": meta, "spec": {"replicated": {"size": 3}}})
        await until(lambda: ready().endswith("waits for a CephCluster in namespace rook-ceph"))
        assert server.get(POOLS, *KEY)["metadata"]["finalizers"] == [FINALIZER]
        server.create(CLUSTERS, {"metadata": {"namespace": KEY[0], "name": "my-cluster"}, "spec": {}})
        await until(lambda: ready().endswith("waits for CephCluster my-cluster to answer"))
        server.delete(CLUSTERS, KEY[0], "my-cluster")
        server.delete(POOLS, *KEY)
        await until(lambda: server.find(POOLS, *KEY) is None)
