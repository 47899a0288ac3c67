"""PersistentVolumes as what keeps a CephFilesystem, by the cache and by the API server."""

from __future__ import annotations

from controller.ceph.access.volumes import ClusterVolumes
from controller.ceph.filesystem.dependents import volumes
from controller.framework.consent import FORCE_ANNOTATION
from controller.runtime.kube import PV
from controller.testkit import ApiServer, new_manager, running, virtual_time
from tests.unit.ceph.filesystems import a_filesystem


@virtual_time
async def test_volumes_of_a_file_system_keep_it_unless_all_that_is_in_it_is_to_go() -> None:
    server = ApiServer(namespaces=("rook-ceph",))
    manager = new_manager(server)
    using = volumes(ClusterVolumes(manager.informers))
    for name, cluster, filesystem in (
        ("ours", "rook-ceph", "myfs"),
        ("of-another-file-system", "rook-ceph", "other"),
        ("of-another-cluster", "other", "myfs"),
        ("of-no-file-system", "rook-ceph", ""),
    ):
        attributes = {"clusterID": cluster, **({"fsName": filesystem} if filesystem else {})}
        csi = {"driver": f"{cluster}.cephfs.csi.ceph.com", "volumeHandle": name, "volumeAttributes": attributes}
        server.create(PV, {"metadata": {"name": name}, "spec": {"csi": csi}})
    forced = a_filesystem(deleting=True, annotations={FORCE_ANNOTATION: "true"})
    async with running(manager):
        await manager.informers.wait_synced()
        for kept, expected in ((a_filesystem(deleting=True), ["ours"]), (forced, [])):
            assert list(using.known(kept)) == expected
            assert list(await using.asked(manager.client, kept)) == expected
