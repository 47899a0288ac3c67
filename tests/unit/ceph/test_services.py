"""What is so of all kinds whose objects are daemons of a cluster: who asks one that hangs, and what they depend on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import pytest

from controller.apis.ceph import CEPH_BLOCK_POOL, CEPH_CLUSTER, CephObjectStore
from controller.ceph.access.rados import CephError, Connections
from controller.ceph.filesystem import kind as filesystem
from controller.ceph.filesystem.act import FILESYSTEMS
from controller.ceph.fsmirror import kind as fsmirror
from controller.ceph.nfs import kind as nfs
from controller.ceph.nfs.act import SERVERS
from controller.ceph.nvmeof import kind as nvmeof
from controller.ceph.nvmeof.act import RESOURCE as GATEWAYS
from controller.ceph.objectstore import kind as objectstore
from controller.ceph.objectstore.act import STORES
from controller.ceph.rbdmirror import kind as rbdmirror
from controller.ceph.rgw.stores import Stores
from controller.framework.program import PROGRAM
from controller.framework.settings import Settings
from controller.runtime import resource_of
from controller.runtime.kube import SECRET, Secret
from controller.testkit import ApiServer, new_manager, running, until, virtual_time
from tests.unit.ceph import filesystems, nfs_servers, nvmeof_gateways, objectstores
from tests.unit.ceph.answers import FakeCeph
from tests.unit.ceph.cases import FSID

if TYPE_CHECKING:
    from collections.abc import Callable

    from controller.ceph.access.rados import RadosCluster
    from controller.runtime import Manager
    from informers import JsonObject, Resource

CLUSTERS, POOLS = resource_of(CEPH_CLUSTER), resource_of(CEPH_BLOCK_POOL)
KEY = ("rook-ceph", "x")
AT_ONCE = 2.5
"""Seconds within which an event brings about a look, and no look that is due anyway comes."""


class Hanging(FakeCeph, Connections):
    """The way to the one cluster, which does not answer in time."""

    def __init__(self) -> None:
        Connections.__init__(self)
        FakeCeph.__init__(self)

    def get(self, namespace: str) -> RadosCluster | None:
        return cast("RadosCluster", self)

    def _answer(self, prefix: str, args: dict[str, Any]) -> Any:
        self.asked.append((prefix, args))
        raise CephError(110, "no answer")


def a_cluster(connected: str) -> JsonObject:
    """A CephCluster that was healthy when it answered last."""
    return {
        "metadata": {"namespace": KEY[0], "name": "c"},
        "spec": {"cephVersion": {"image": "ceph:v20"}},
        "status": {
            "ceph": {"health": "HEALTH_OK", "fsid": FSID},
            "version": {"image": "ceph:v20", "version": "20.2.4-0"},
            "conditions": [{"type": "Connected", "status": connected, "reason": "x", "message": ""}],
        },
    }


def register_stores(manager: Manager, settings: Settings, connections: Connections) -> None:
    stores = Stores(manager.informers.informer(STORES, CephObjectStore), manager.informers.informer(SECRET, Secret))
    objectstore.register(manager, settings, connections, stores)


@pytest.mark.parametrize(
    ("resource", "register", "spec"),
    [
        pytest.param(FILESYSTEMS, filesystem.register, filesystems.PLAIN, id="file system"),
        pytest.param(STORES, register_stores, objectstores.PLAIN, id="object store"),
        pytest.param(SERVERS, nfs.register, nfs_servers.PLAIN, id="NFS servers"),
        pytest.param(GATEWAYS, nvmeof.register, nvmeof_gateways.PLAIN, id="NVMe-oF gateways"),
        pytest.param(fsmirror.MIRRORS, fsmirror.register, {}, id="daemon that mirrors files"),
        pytest.param(rbdmirror.MIRRORS, rbdmirror.register, {"count": 1}, id="daemons that mirror images"),
    ],
)
@virtual_time
async def test_a_cluster_that_hangs_is_not_asked_and_one_that_answers_again_is_at_once(
    resource: Resource, register: Callable[[Manager, Settings, Connections], None], spec: JsonObject
) -> None:
    server, ceph = ApiServer(namespaces=(KEY[0],)), Hanging()
    for served in (resource, CLUSTERS, POOLS):
        server.serve(served)
    manager = new_manager(server, program=PROGRAM)
    register(manager, Settings(operator_namespace=KEY[0]), ceph)

    def ready() -> str:
        conditions = server.get(resource, *KEY).get("status", {}).get("conditions", [])
        return next((c["message"] for c in conditions if c["type"] == "Ready"), "")

    async with running(manager):
        server.put(CLUSTERS, a_cluster("False"))
        server.create(resource, {"metadata": {"namespace": KEY[0], "name": KEY[1]}, "spec": spec})
        await until(lambda: ready().endswith("waits for CephCluster c to answer"), within=60)
        assert ceph.asked == []
        server.put(CLUSTERS, a_cluster("True"))
        await until(lambda: ceph.asked, within=AT_ONCE)
