"""CephFilesystems on the test kit's API server, where there is no cluster yet; and what their status tells."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from controller.apis.ceph.filesystem_status import MdsRank, MdsUpgradeStatus
from controller.ceph.access.rados import Connections
from controller.ceph.filesystem.act import FILESYSTEMS
from controller.ceph.filesystem.analyze import analyze
from controller.ceph.filesystem.kind import CLUSTERS, FINALIZER, register
from controller.ceph.filesystem.status import show
from controller.ceph.subvolumegroup.act import GROUPS
from controller.ceph.subvolumegroup.kind import of_filesystem
from controller.framework.kind import Look
from controller.framework.plan import APPLY, preview
from controller.framework.settings import Settings
from controller.testkit import ApiServer, new_manager, running, until, virtual_time
from tests.unit.ceph import filesystems
from tests.unit.ceph.filesystems import NEWER, PLAIN, a_filesystem, a_state, servers

if TYPE_CHECKING:
    from controller.apis.ceph import CephFilesystem
    from controller.ceph.filesystem.observe import FilesystemObservation
    from informers import JsonObject

KEY = ("rook-ceph", "myfs")


@virtual_time
async def test_a_file_system_waits_for_its_cluster_and_goes_without_one() -> None:
    server = ApiServer(namespaces=("rook-ceph",))
    for resource in (FILESYSTEMS, CLUSTERS, GROUPS):
        server.serve(resource)
    manager = new_manager(server)
    using = (of_filesystem(manager.informers),)
    register(manager, Settings(operator_namespace="rook-ceph"), Connections(), dependents=using)

    def ready() -> str:
        found: JsonObject = server.get(FILESYSTEMS, *KEY)
        conditions = found.get("status", {}).get("conditions", [])
        return next((c["message"] for c in conditions if c["type"] == "Ready"), "")

    async with running(manager):
        server.create(FILESYSTEMS, {"metadata": {"namespace": KEY[0], "name": KEY[1]}, "spec": PLAIN})
        await until(lambda: ready().endswith("waits for a CephCluster in namespace rook-ceph"))
        assert server.get(FILESYSTEMS, *KEY)["metadata"]["finalizers"] == [FINALIZER]
        server.create(CLUSTERS, {"metadata": {"namespace": KEY[0], "name": "my-cluster"}, "spec": {}})
        await until(lambda: ready().endswith("waits for CephCluster my-cluster to answer"))
        server.delete(CLUSTERS, KEY[0], "my-cluster")
        server.delete(FILESYSTEMS, *KEY)
        await until(lambda: server.find(FILESYSTEMS, *KEY) is None)


def shown(filesystem: CephFilesystem, seen: FilesystemObservation) -> Any:
    look = Look(obj=filesystem, spec={}, mode=APPLY, now=0.0)
    return show(look, seen, preview(analyze(filesystem, seen)))


def conditions(status: Any) -> dict[str, tuple[str, str]]:
    return {c.type: (c.status, c.reason) for c in status.conditions}


class TestStatus:
    def test_ready(self) -> None:
        filesystem = a_filesystem()
        status = shown(filesystem, filesystems.running(filesystem, a_state("myfs-a")))
        assert (status.phase, status.info) == ("Ready", {"fscid": "1"})
        assert status.metadata_servers == (MdsRank(name="myfs-a", rank=0, state="up:active"),)
        assert conditions(status)["Redundant"] == ("True", "StandbyAvailable")

    def test_nobody_stands_by(self) -> None:
        filesystem = a_filesystem()
        status = shown(filesystem, filesystems.running(filesystem, a_state("myfs-a"), down=("myfs-b",)))
        assert conditions(status)["Redundant"] == ("False", "NoStandby")

    def test_what_cannot_be_changed(self) -> None:
        filesystem = a_filesystem()
        status = shown(filesystem, filesystems.running(filesystem, a_state("myfs-a", data_pools=(2, 9))))
        assert conditions(status)["FieldsHonoured"] == ("False", "ImmutableFieldsDiffer")

    def test_deletion_that_is_blocked(self) -> None:
        gone = a_filesystem(deleting=True)
        seen = filesystems.running(gone, a_state("myfs-a"), contents=("subvolume other/x",))
        (blocked,) = (c for c in shown(gone, seen).conditions if c.type == "DeletionIsBlocked")
        assert (blocked.status, "other/x" in blocked.message) == ("True", True)
        seen = replace(seen, users=("CephFilesystemSubVolumeGroup g",))
        (blocked,) = (c for c in shown(gone, seen).conditions if c.type == "DeletionIsBlocked")
        assert blocked.message == "to be deleted first: CephFilesystemSubVolumeGroup g"

    def test_an_upgrade_is_told_from_before_its_first_step_until_all_is_restored(self) -> None:
        spec = servers(2)
        filesystem = a_filesystem(spec)
        before = a_state("myfs-a", "myfs-b", standby_replay=True)
        seen = filesystems.running(filesystem, before, wanted=NEWER)
        told = MdsUpgradeStatus(max_mds=2, standby_replay=True, from_version="18.2.7-0")
        assert shown(filesystem, replace(seen, hold_upgrade="osd 1")).mds_upgrade == MdsUpgradeStatus()
        assert shown(filesystem, seen).mds_upgrade == told
        kept = {"mdsUpgrade": {"maxMds": 2, "standbyReplay": True, "fromVersion": "18.2.7-0"}}
        under_way = a_filesystem(spec, status=kept)
        releases = dict.fromkeys(("myfs-a", "myfs-b", "myfs-c", "myfs-d"), NEWER)
        half = filesystems.running(under_way, a_state("myfs-a"), releases=releases, wanted=NEWER)
        assert shown(under_way, half).mds_upgrade == told
        whole = replace(half, state=a_state("myfs-a", "myfs-b"))
        assert shown(under_way, whole).mds_upgrade == MdsUpgradeStatus()
