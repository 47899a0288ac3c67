"""VolumeGroupReplications of this operator's drivers are refused, with a word of why; others are left alone."""

from __future__ import annotations

from controller import testkit
from controller.ceph.rbd.replication.groups import WHY, serve
from controller.ceph.rbd.replication.kinds import GROUP_CLASSES, GROUPS
from controller.framework.program import PROGRAM
from controller.testkit import ApiServer, new_manager, running, virtual_time

OURS = "rook-ceph.rbd.csi.ceph.com"
REFUSED = [("Completed", "False", "FailedToPromote"), ("Validated", "False", "PrerequisiteNotMet")]


@virtual_time
async def test_groups_are_refused() -> None:
    server = ApiServer(namespaces=("team", "rook-ceph"))
    for resource in (GROUPS, GROUP_CLASSES):
        server.serve(resource)
    for name, provisioner in (("ours", OURS), ("theirs", "rbd.example.com")):
        server.create(GROUP_CLASSES, {"metadata": {"name": name}, "spec": {"provisioner": provisioner}})
    for name, class_, external in (("a", "ours", False), ("b", "theirs", False), ("c", "ours", True), ("d", "", False)):
        spec = {"volumeGroupReplicationClassName": class_, "replicationState": "primary", "external": external}
        server.create(GROUPS, {"metadata": {"namespace": "team", "name": name}, "spec": spec})
    manager = new_manager(server, program=PROGRAM, namespaces=("rook-ceph",))
    await serve(manager, lambda driver: driver == OURS)
    async with running(manager):
        await testkit.until(lambda: "status" in server.get(GROUPS, "team", "a"), step=0.5)
        status = server.get(GROUPS, "team", "a")["status"]
        assert (status["state"], status["message"], status["observedGeneration"]) == ("Unknown", WHY, 1)
        assert [(c["type"], c["status"], c["reason"]) for c in status["conditions"]] == REFUSED
        assert all("status" not in server.get(GROUPS, "team", name) for name in "bcd")

        server.patch(GROUPS, "team", "d", {"spec": {"volumeGroupReplicationClassName": "late"}})
        server.create(GROUP_CLASSES, {"metadata": {"name": "late"}, "spec": {"provisioner": OURS}})
        await testkit.until(lambda: "status" in server.get(GROUPS, "team", "d"), step=0.5)
