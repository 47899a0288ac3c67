"""Reaching a cluster: from its Secret and ConfigMap alone, and while any CephCluster of the namespace is there."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest

from controller.apis.ceph import CEPH_BLOCK_POOL, CEPH_CLUSTER, CephCluster
from controller.ceph.access.identity import Identity, identity_secret
from controller.ceph.access.librados import Access
from controller.ceph.access.locator import Locator
from controller.ceph.access.mons import Endpoints, Mon
from controller.ceph.access.rados import Connections
from controller.ceph.cluster.kind import Clusters
from controller.ceph.mon.objects import endpoints_config_map
from controller.framework.deletion import Dependents
from controller.framework.kind import KindReconciler
from controller.runtime import Request, resource_of
from controller.runtime.kube import CONFIG_MAP, SECRET, ConfigMap, Secret
from controller.testkit import ApiServer, new_manager, running, until, virtual_time
from tests.unit.ceph.cases import FSID, a_cluster, a_context

CLUSTERS, POOLS = resource_of(CEPH_CLUSTER), resource_of(CEPH_BLOCK_POOL)
NAMESPACE = "rook-ceph"


def a_server() -> ApiServer:
    server = ApiServer(namespaces=(NAMESPACE,))
    server.serve(CLUSTERS)
    server.serve(POOLS)
    return server


def about(name: str) -> dict[str, dict[str, str]]:
    return {"metadata": {"namespace": NAMESPACE, "name": name}}


@virtual_time
async def test_a_cluster_is_located_by_its_secret_and_its_endpoints() -> None:
    server = a_server()
    manager = new_manager(server)
    informers = manager.informers
    locate = Locator(
        informers.informer(CLUSTERS, CephCluster),
        informers.informer(SECRET, Secret),
        informers.informer(CONFIG_MAP, ConfigMap),
    )
    identity = Identity(fsid=FSID, mon_key="monkey", admin_key="adminkey")
    async with running(manager):
        assert locate(NAMESPACE) is None
        server.create(CLUSTERS, {**about("my-cluster"), "spec": {}})
        server.create(SECRET, identity_secret({"namespace": NAMESPACE, "name": "rook-ceph-mon"}, identity))
        endpoints = endpoints_config_map(a_context(a_cluster()), Endpoints((Mon("a", "10.0.0.1", "n1", "n1"),), 0))
        server.create(CONFIG_MAP, endpoints)
        await until(lambda: locate(NAMESPACE) is not None)
        expected = Access(("[v2:10.0.0.1:3300,v1:10.0.0.1:6789]",), FSID, "client.admin", "adminkey")
        assert locate(NAMESPACE) == expected
        assert locate(NAMESPACE) is locate(NAMESPACE), "nothing is read anew while nothing changes"

        endpoints["data"]["data"] = "a=10.0.0.9:6789"
        server.put(CONFIG_MAP, endpoints)
        await until(lambda: (locate(NAMESPACE) or expected).mon_hosts == ("[v2:10.0.0.9:3300,v1:10.0.0.9:6789]",))
        server.delete(CLUSTERS, NAMESPACE, "my-cluster")
        await until(lambda: locate(NAMESPACE) is None)


@pytest.mark.parametrize("others", [["first"], []])
async def test_a_rival_that_is_deleted_leaves_the_first_ones_connection(others: list[str]) -> None:
    clusters: Any = SimpleNamespace(get=lambda *_: None, keys=lambda namespace: [(namespace, name) for name in others])
    nothing: Any = SimpleNamespace(applier=None)
    connections = Connections()
    kept = connections.cluster(NAMESPACE, Access(("a",), FSID, "client.admin", "k"))
    loop = Clusters(nothing, clusters, nothing, connections, (), Dependents(())).loop
    await KindReconciler(nothing, loop, clusters, clock=time.time).reconcile(Request(NAMESPACE, "second"))
    assert connections.get(NAMESPACE) is (kept if others else None)
