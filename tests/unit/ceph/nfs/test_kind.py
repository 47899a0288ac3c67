"""CephNFSs on the test kit's API server, where there is no cluster yet; and what their status tells."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgspec

from controller.ceph.access.rados import Connections
from controller.ceph.nfs.act import SERVERS
from controller.ceph.nfs.analyze import analyze
from controller.ceph.nfs.kind import CLUSTERS, FINALIZER, POOLS, register
from controller.ceph.nfs.status import show
from controller.framework.kind import Look
from controller.framework.plan import APPLY, preview
from controller.framework.settings import Settings
from controller.testkit import ApiServer, new_manager, running, until, virtual_time
from tests.unit.ceph import nfs_servers
from tests.unit.ceph.nfs_servers import PLAIN, a_grace, a_nfs

if TYPE_CHECKING:
    from controller.apis.ceph import CephNFS
    from controller.ceph.nfs.observe import NfsObservation
    from informers import JsonObject

KEY = ("rook-ceph", "my-nfs")
LATER = 1800000000.0


@virtual_time
async def test_servers_wait_for_their_cluster_and_go_without_one() -> None:
    server = ApiServer(namespaces=("rook-ceph",))
    for resource in (SERVERS, CLUSTERS, POOLS):
        server.serve(resource)
    manager = new_manager(server)
    register(manager, Settings(operator_namespace="rook-ceph"), Connections())

    def ready() -> str:
        found: JsonObject = server.get(SERVERS, *KEY)
        conditions = found.get("status", {}).get("conditions", [])
        return next((c["message"] for c in conditions if c["type"] == "Ready"), "")

    async with running(manager):
        server.create(SERVERS, {"metadata": {"namespace": KEY[0], "name": KEY[1]}, "spec": PLAIN})
        await until(lambda: ready().endswith("waits for a CephCluster in namespace rook-ceph"))
        assert server.get(SERVERS, *KEY)["metadata"]["finalizers"] == [FINALIZER]
        server.create(CLUSTERS, {"metadata": {"namespace": KEY[0], "name": "my-cluster"}, "spec": {}})
        await until(lambda: ready().endswith("waits for CephCluster my-cluster to answer"))
        server.delete(CLUSTERS, KEY[0], "my-cluster")
        server.delete(SERVERS, *KEY)
        await until(lambda: server.find(SERVERS, *KEY) is None)


def shown(nfs: CephNFS, seen: NfsObservation, now: float = LATER) -> Any:
    look = Look(obj=nfs, spec=msgspec.to_builtins(nfs.spec), mode=APPLY, now=now)
    return show(look, seen, preview(analyze(nfs, seen)))


def condition(status: Any, type_: str) -> tuple[str, str]:
    return next((c.status, c.reason) for c in status.conditions if c.type == type_)


class TestStatus:
    def test_ready(self) -> None:
        nfs = a_nfs()
        status = shown(nfs, nfs_servers.running(nfs, grace=a_grace("ab", a=["10.0.0.1", "10.0.0.2"])))
        assert (status.phase, condition(status, "GracePeriod")) == ("Ready", ("False", "NotInEffect"))
        assert condition(status, "FieldsHonoured")[0] == "True"
        assert [(m.id, m.clients) for m in status.grace.members] == [("my-nfs.a", 2), ("my-nfs.b", 0)]

    def test_a_grace_period_that_does_not_end(self) -> None:
        nfs = a_nfs()
        seen = nfs_servers.running(nfs, grace=a_grace("ab", recovering=3, needs="b"))
        status = shown(nfs, seen)
        assert (status.phase, condition(status, "GracePeriod")) == ("Ready", ("True", "InEffect"))
        later = msgspec.structs.replace(nfs, status=status)
        assert condition(shown(later, seen, LATER + 200), "GracePeriod") == ("True", "InEffect")
        long = shown(later, seen, LATER + 400)
        (told,) = (c for c in long.conditions if c.type == "GracePeriod")
        assert (told.reason, "my-nfs.b" in told.message) == ("InGraceTooLong", True)

    def test_what_cannot_be_asked_now_stays_as_it_was_known(self) -> None:
        nfs = a_nfs()
        known = msgspec.structs.replace(nfs, status=shown(nfs, nfs_servers.running(nfs)))
        assert shown(known, replace(nfs_servers.nothing(), waits_for="x")).grace == known.status.grace

    def test_deletion_that_is_blocked(self) -> None:
        gone = a_nfs(deleting=True)
        seen = nfs_servers.running(gone, users=("PersistentVolume p",))
        assert condition(shown(gone, seen), "DeletionIsBlocked") == ("True", "ObjectHasDependents")
        seen = nfs_servers.running(gone, grace=a_grace("ab", a=["10.0.0.7"]))
        (told,) = (c for c in shown(gone, seen).conditions if c.type == "DeletionIsBlocked")
        assert "10.0.0.7" in told.message
