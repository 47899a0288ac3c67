"""The daemon that mirrors files: its Deployment and its plan."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import msgspec

from controller.apis.ceph import CEPH_FILESYSTEM_MIRROR, CephFilesystemMirror
from controller.ceph.access.users import CreateKeyring
from controller.ceph.fsmirror.kind import FINALIZER, MIRRORS, analyze, register, show
from controller.ceph.fsmirror.spec import DAEMON
from controller.ceph.mirroring.daemon import context, deployment_of
from controller.ceph.mirroring.daemon_kind import CLUSTERS
from controller.ceph.mirroring.daemon_state import DaemonObservation
from controller.framework.children import Apply
from controller.framework.kind import LetGo, Look
from controller.framework.plan import APPLY, preview
from controller.framework.settings import Settings
from controller.testkit import ApiServer, new_manager, running, until, virtual_time
from tests.unit.ceph.cases import RELEASE
from tests.unit.ceph.filesystems import cluster

if TYPE_CHECKING:
    from controller.ceph.access.rados import Connections
    from informers import JsonObject

KEY = ("rook-ceph", "my-fs-mirror")


def a_mirror(**meta: Any) -> CephFilesystemMirror:
    found: JsonObject = {"namespace": KEY[0], "name": KEY[1], "uid": "m1", "generation": 1, **meta}
    return msgspec.convert({"metadata": found, "spec": {}}, CephFilesystemMirror)


def test_it_is_made_with_a_key() -> None:
    mirror = a_mirror()
    given = context(DAEMON, CEPH_FILESYSTEM_MIRROR, mirror.metadata, mirror.spec, cluster(), RELEASE)
    seen = DaemonObservation(context=given)
    keyring, apply = (step.action for step in analyze(mirror, seen).steps)
    assert isinstance(keyring, CreateKeyring)
    assert (keyring.entity, keyring.secret) == ("client.fs-mirror", "rook-ceph-fs-mirror-keyring")
    assert keyring.caps["mon"] == "profile cephfs-mirror"
    assert isinstance(apply, Apply)
    assert apply.obj == deployment_of(DAEMON, given, 1)
    assert apply.obj["metadata"]["name"] == "rook-ceph-fs-mirror"
    (container,) = apply.obj["spec"]["template"]["spec"]["containers"]
    assert container["command"] == ["cephfs-mirror"]
    assert "--name=client.fs-mirror" in container["args"]
    status = show(Look(obj=mirror, spec={}, mode=APPLY, now=0.0), seen, preview(analyze(mirror, seen)))
    assert status.phase == "Progressing"


def test_it_goes_without_a_cluster() -> None:
    gone = a_mirror(deletionTimestamp="2027-01-15T08:00:00Z")
    assert [step.action for step in analyze(gone, DaemonObservation(cluster_gone=True)).steps] == [LetGo()]


class NoCluster:
    """Ways to no cluster."""

    def get(self, _: str) -> None:
        return None


@virtual_time
async def test_it_waits_for_its_cluster() -> None:
    server = ApiServer(namespaces=("rook-ceph",))
    for resource in (MIRRORS, CLUSTERS):
        server.serve(resource)
    manager = new_manager(server)
    register(manager, Settings(operator_namespace="rook-ceph"), cast("Connections", NoCluster()))

    def ready() -> str:
        found = server.get(MIRRORS, *KEY).get("status", {}).get("conditions", [])
        return next((c["message"] for c in found if c["type"] == "Ready"), "")

    async with running(manager):
        server.create(MIRRORS, {"metadata": {"namespace": KEY[0], "name": KEY[1]}, "spec": {}})
        await until(lambda: ready().endswith("waits for a CephCluster in namespace rook-ceph"))
        assert server.get(MIRRORS, *KEY)["metadata"]["finalizers"] == [FINALIZER]
        server.delete(MIRRORS, *KEY)
        await until(lambda: server.find(MIRRORS, *KEY) is None)
