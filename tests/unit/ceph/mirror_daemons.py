"""What is so of daemons of each kind that mirror: they wait for their cluster, and go without one."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from controller.ceph.mirroring.daemon_kind import CLUSTERS
from controller.framework.settings import Settings
from controller.testkit import ApiServer, new_manager, running, until

if TYPE_CHECKING:
    from collections.abc import Callable

    from controller.ceph.access.rados import Connections
    from controller.runtime import Manager
    from informers import JsonObject, Resource


class _NoCluster:
    """Ways to no cluster."""

    def get(self, _: str) -> None:
        return None


async def wait_for_their_cluster(
    mirrors: Resource,
    register: Callable[[Manager, Settings, Connections], None],
    *,
    finalizer: str,
    spec: JsonObject,
) -> None:
    """An object of the kind is made before its cluster, which comes, does not answer, and goes before it."""
    server = ApiServer(namespaces=("rook-ceph",))
    for resource in (mirrors, CLUSTERS):
        server.serve(resource)
    manager = new_manager(server)
    register(manager, Settings(operator_namespace="rook-ceph"), cast("Connections", _NoCluster()))
    key = ("rook-ceph", "my-mirror")

    def ready() -> str:
        found = server.get(mirrors, *key).get("status", {}).get("conditions", [])
        return next((c["message"] for c in found if c["type"] == "Ready"), "")

    async with running(manager):
        server.create(mirrors, {"metadata": {"namespace": key[0], "name": key[1]}, "spec": spec})
        await until(lambda: ready().endswith("waits for a CephCluster in namespace rook-ceph"))
        assert server.get(mirrors, *key)["metadata"]["finalizers"] == [finalizer]
        server.create(CLUSTERS, {"metadata": {"namespace": key[0], "name": "c"}, "spec": {}})
        await until(lambda: ready().endswith("waits for CephCluster c to answer"))
        server.delete(CLUSTERS, key[0], "c")
        server.delete(mirrors, *key)
        await until(lambda: server.find(mirrors, *key) is None)
