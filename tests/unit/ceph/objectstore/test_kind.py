"""CephObjectStores on the test kit's API server, where there is no cluster yet; and what their status tells."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from controller.apis.ceph import CephObjectStore
from controller.ceph.access.rados import Connections
from controller.ceph.objectstore.act import STORES
from controller.ceph.objectstore.analyze import analyze
from controller.ceph.objectstore.health import Checked
from controller.ceph.objectstore.kind import CLUSTERS, FINALIZER, POOLS, register
from controller.ceph.objectstore.observe import StoreObservation
from controller.ceph.objectstore.status import show
from controller.ceph.rgw.stores import Stores
from controller.framework.deletion import of_namespace
from controller.framework.jobs import Run
from controller.framework.kind import Look
from controller.framework.plan import APPLY, preview
from controller.framework.settings import Settings
from controller.runtime.kube import SECRET, Secret
from controller.testkit import ApiServer, new_manager, running, until, virtual_time
from tests.unit.ceph import objectstores
from tests.unit.ceph.objectstores import PLAIN, a_store, gateway

if TYPE_CHECKING:
    from informers import JsonObject

KEY = ("rook-ceph", "s")


@virtual_time
async def test_a_store_waits_for_its_cluster_and_goes_without_one() -> None:
    server = ApiServer(namespaces=("rook-ceph",))
    for resource in (STORES, CLUSTERS, POOLS):
        server.serve(resource)
    manager = new_manager(server)
    found = Stores(manager.informers.informer(STORES, CephObjectStore), manager.informers.informer(SECRET, Secret))
    secrets = of_namespace(manager.informers.informer(SECRET, Secret))
    register(manager, Settings(operator_namespace="rook-ceph"), Connections(), found, dependents=(secrets,))

    def ready() -> str:
        obj: JsonObject = server.get(STORES, *KEY)
        conditions = obj.get("status", {}).get("conditions", [])
        return next((c["message"] for c in conditions if c["type"] == "Ready"), "")

    async with running(manager):
        server.create(STORES, {"metadata": {"namespace": KEY[0], "name": KEY[1]}, "spec": PLAIN})
        await until(lambda: ready().endswith("waits for a CephCluster in namespace rook-ceph"))
        assert server.get(STORES, *KEY)["metadata"]["finalizers"] == [FINALIZER]
        server.create(CLUSTERS, {"metadata": {"namespace": KEY[0], "name": "my-cluster"}, "spec": {}})
        await until(lambda: ready().endswith("waits for CephCluster my-cluster to answer"))
        server.delete(CLUSTERS, KEY[0], "my-cluster")
        server.delete(STORES, *KEY)
        await until(lambda: server.find(STORES, *KEY) is None)


def shown(store: CephObjectStore, seen: StoreObservation, spec: JsonObject | None = None) -> Any:
    look = Look(obj=store, spec=spec or {}, mode=APPLY, now=0.0)
    return show(look, seen, preview(analyze(store, seen)))


def conditions(status: Any) -> dict[str, tuple[str, str]]:
    return {c.type: (c.status, c.reason) for c in status.conditions}


class TestStatus:
    def test_ready(self) -> None:
        store = a_store(gateway(securePort=443, sslCertificateRef="tls", instances=2))
        seen = replace(objectstores.running(store), separate_key=False)
        status = shown(store, seen)

        host = "rook-ceph-rgw-s.rook-ceph.svc"
        assert (status.phase, status.message) == ("Ready", "")
        assert status.info == {
            "endpoint": f"http://{host}:80",
            "secureEndpoint": f"https://{host}:443",
            "realm": "s",
            "zoneGroup": "s",
            "zone": "s",
        }
        assert (status.endpoints.insecure, status.endpoints.secure) == (
            (f"http://{host}:80",),
            (f"https://{host}:443",),
        )
        assert (status.replicas, status.selector) == (
            2,
            "app=rook-ceph-rgw,rook_cluster=rook-ceph,rook_object_store=s",
        )
        assert conditions(status)["S3Available"] == ("True", "RequestsAnswered")

    def test_it_is_not_ready_while_requests_fail(self) -> None:
        store = a_store()
        status = shown(store, objectstores.running(store, checked=Checked("connection refused")))

        assert status.phase == "Progressing"
        assert conditions(status)["S3Available"] == ("False", "RequestsFailed")

    def test_a_store_that_is_not_set_up_has_no_zone_yet(self) -> None:
        store = a_store()
        assert "zone" not in shown(store, objectstores.running(store, setup=Run())).info

    def test_where_it_was_set_up_once_the_zone_stays_known(self) -> None:
        store = a_store(status={"info": {"zone": "s"}})
        assert shown(store, objectstores.running(store, setup=Run())).info["zone"] == "s"

    def test_an_invalid_spec(self) -> None:
        store = a_store(gateway(securePort=443))
        status = shown(store, objectstores.running(a_store()))

        assert status.phase == "Failure"
        assert (
            status.message == "spec.gateway.securePort is set and sslCertificateRef is not: HTTPS needs a certificate"
        )

    def test_deletion_that_is_blocked(self) -> None:
        gone = a_store(deleting=True)
        seen = objectstores.running(gone, contents=("bucket photos",))
        (blocked,) = (c for c in shown(gone, seen).conditions if c.type == "DeletionIsBlocked")
        assert (blocked.status, "bucket photos" in blocked.message) == ("True", True)

        seen = replace(seen, users=("ObjectBucketClaim app/b",))
        (blocked,) = (c for c in shown(gone, seen).conditions if c.type == "DeletionIsBlocked")
        assert blocked.message == "to be deleted first: ObjectBucketClaim app/b"

    def test_what_is_not_served_is_named(self) -> None:
        store = a_store()
        status = shown(store, objectstores.running(store), {**PLAIN, "gateway": {"dashboardEnabled": True}})

        (honoured,) = (c for c in status.conditions if c.type == "FieldsHonoured")
        assert "gateway.dashboardEnabled" in honoured.message

    def test_a_zone_that_nobody_asked_for_is_told_of_and_is_no_trouble(self) -> None:
        store = a_store()
        status = shown(store, replace(objectstores.running(store), strays=("default.rgw.control", "default.rgw.log")))

        (told,) = (c for c in status.conditions if c.type == "StrayPools")
        assert "pools default.rgw.control, default.rgw.log are those of a zone that radosgw-admin makes" in told.message
        assert (status.phase, "StrayPools" in conditions(shown(store, objectstores.running(store)))) == ("Ready", False)

    def test_a_status_stays_the_same_at_rest(self) -> None:
        store = a_store()
        first = shown(store, objectstores.running(store))
        again = a_store(status=None)
        assert shown(again, objectstores.running(again)) == first
