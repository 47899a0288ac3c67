"""What wakes a CephCluster, and what does not, by the requests that wait for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import pytest

from controller.ceph.access.rados import Connections
from controller.ceph.access.volumes import ClusterVolumes
from controller.ceph.cluster import kind
from controller.ceph.cluster.deletion import CLUSTERS
from controller.ceph.filesystem import kind as filesystem
from controller.ceph.filesystem.act import FILESYSTEMS
from controller.ceph.pool import kind as pool
from controller.ceph.pool.act import POOLS
from controller.framework.reports import REPORTS
from controller.framework.settings import Settings
from controller.runtime import Request
from controller.runtime.kube import DEPLOYMENT, SECRET
from controller.testkit import ApiServer, new_manager, virtual_time

if TYPE_CHECKING:
    from informers import JsonObject, Resource

CLUSTER = Request("rook-ceph", "my-cluster")


def an_object(name: str, app: str = "") -> JsonObject:
    labels = {"rook_cluster": "rook-ceph", "app": app} if app else {}
    return {"metadata": {"name": name, "namespace": "rook-ceph", "labels": labels}, "spec": {}}


@pytest.mark.parametrize(
    ("resource", "obj", "wakes"),
    [
        (DEPLOYMENT, an_object("rook-ceph-mon-a", "rook-ceph-mon"), True),
        (DEPLOYMENT, an_object("rook-ceph-osd-0", "rook-ceph-osd"), True),
        (DEPLOYMENT, an_object("rook-ceph-mds-fs-a", "rook-ceph-mds"), False),
        (SECRET, an_object("rook-csi-rbd-node", "rook-ceph-csi"), True),
        (SECRET, an_object("rook-ceph-mon"), True),
        (SECRET, an_object("rook-ceph-mds-fs-a-keyring", "rook-ceph-mds"), False),
        (SECRET, an_object("mine"), False),
        (POOLS, an_object("replicapool"), True),
        (FILESYSTEMS, an_object("myfs"), True),
    ],
    ids=lambda value: value["metadata"]["name"] if isinstance(value, dict) else None,
)
@virtual_time
async def test_a_cluster_is_woken_by_what_is_its_own_or_uses_it(
    resource: Resource, obj: JsonObject, wakes: bool
) -> None:
    server = ApiServer(namespaces=("rook-ceph",))
    for served in (CLUSTERS, FILESYSTEMS, POOLS, REPORTS):
        server.serve(served)
    manager = new_manager(server)
    dependents = (pool.dependents(manager.informers), filesystem.dependents(manager.informers))
    volumes = ClusterVolumes(manager.informers)
    kind.register(manager, Settings(operator_namespace="rook-ceph"), Connections(), volumes, dependents)
    (controller,) = manager.controllers
    server.create(CLUSTERS, {"metadata": {"name": CLUSTER.name, "namespace": CLUSTER.namespace}, "spec": {}})
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(manager.informers.run)
        await manager.informers.wait_synced()
        assert await controller.queue.get() == CLUSTER
        controller.queue.done(CLUSTER)
        server.create(resource, obj)
        await anyio.sleep(1)
        assert len(controller.queue) == int(wakes)
        tasks.cancel_scope.cancel()
