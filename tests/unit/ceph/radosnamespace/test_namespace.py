"""RADOS namespaces: their clusterIDs, plans by table, what is done to a pool, and the status."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast
from unittest.mock import AsyncMock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.ceph.access.rados import CephError, Connections
from controller.ceph.access.rados_namespaces import RadosNamespaces, cluster_id, name_of
from controller.ceph.access.volumes import ClusterVolumes
from controller.ceph.radosnamespace import act, images
from controller.ceph.radosnamespace.act import NAMESPACES, CreateNamespace, RemoveNamespace
from controller.ceph.radosnamespace.analyze import analyze, problems
from controller.ceph.radosnamespace.images import PoolMissingError
from controller.ceph.radosnamespace.kind import CLUSTERS, FINALIZER, POOLS, of_pool, register
from controller.ceph.radosnamespace.observe import NamespaceObservation, observe
from controller.ceph.radosnamespace.spec import unserved
from controller.ceph.radosnamespace.status import show
from controller.framework.consent import NoConsentError
from controller.framework.kind import LetGo, Look
from controller.framework.plan import APPLY, preview
from controller.framework.settings import Settings
from controller.runtime.kube import PV
from controller.testkit import ApiServer, new_manager, running, until, virtual_time
from tests.unit.ceph.pools import pool
from tests.unit.ceph.rados_namespaces import NOW, Pools, a_namespace, known

if TYPE_CHECKING:
    from controller.apis.ceph import CephBlockPoolRadosNamespace
    from controller.ceph.access.rados import RadosCluster
    from informers import Client, JsonObject

IMPLICIT = {"name": "<implicit>"}
TAKEN = NamespaceObservation(taken_by="the CephCluster in namespace x")


@pytest.fixture
def ceph(monkeypatch: pytest.MonkeyPatch) -> Pools:
    found = Pools(replicapool={"": ([], []), "b": (["csi-vol-1"], ["csi-vol-2"])})
    monkeypatch.setattr(images, "_rbd", found.library)
    return found


def rados(ceph: Pools) -> RadosCluster:
    return cast("RadosCluster", ceph)


def actions(namespace: CephBlockPoolRadosNamespace, seen: NamespaceObservation) -> list[object]:
    return [step.action for step in analyze(namespace, seen).steps if step.held_by is None]


def waits(namespace: CephBlockPoolRadosNamespace, seen: NamespaceObservation) -> list[str]:
    return [step.waits_for for step in analyze(namespace, seen).steps if step.waits_for]


class TestClusterId:
    def test_is_upstreams(self) -> None:
        # The first is from upstream's documentation, the second from its tests.
        assert cluster_id(a_namespace()) == "80fc4f4bacc064be641633e6ed25ba7e"
        assert cluster_id(a_namespace(name="f" + "o" * 44)) == "2a74e5201e6ff9d15916ce2109c4f868"

    def test_comes_of_the_namespaces_name_in_ceph(self) -> None:
        named = a_namespace({"name": "namespace-a"}, name="other")
        assert cluster_id(named) == cluster_id(a_namespace())
        assert name_of(a_namespace(IMPLICIT)) == ""
        assert cluster_id(a_namespace(IMPLICIT)) != cluster_id(a_namespace())

    def test_may_be_given(self) -> None:
        assert cluster_id(a_namespace({"clusterID": "team-a"})) == "team-a"

    def test_of_several_the_oldest_has_it(self) -> None:
        old, new = (a_namespace({"clusterID": "x"}, name=n, created=c) for n, c in (("z", "2026"), ("a", "2027")))
        assert known(new, old).holder("x") == old
        assert known(new, old).holder("y") is None

    @given(st.sets(st.tuples(st.sampled_from("abc"), st.sampled_from("pq"), st.sampled_from("xyz"))))
    def test_each_place_has_its_own(self, places: set[tuple[str, str, str]]) -> None:
        found = {cluster_id(a_namespace({"blockPoolName": p}, namespace=n, name=x)) for n, p, x in places}
        assert len(found) == len(places)


class TestPlan:
    def test_is_made_once(self) -> None:
        assert actions(a_namespace(), NamespaceObservation()) == [CreateNamespace("replicapool", "namespace-a")]
        assert actions(a_namespace(), NamespaceObservation(present=True)) == []

    def test_waits_for_what_it_is_in(self) -> None:
        seen = NamespaceObservation(waits_for="CephBlockPool replicapool to exist", gone=True)
        assert waits(a_namespace(), seen) == ["CephBlockPool replicapool to exist"]

    @pytest.mark.parametrize(
        ("spec", "seen", "expected"),
        [
            (
                {"blockPoolName": ""},
                NamespaceObservation(),
                "blockPoolName is empty: expected the name of a CephBlockPool",
            ),
            (
                {"name": "a/b"},
                NamespaceObservation(),
                "name is 'a/b': expected a name without spaces, commas, slashes and @",
            ),
            (
                {"clusterID": "x"},
                TAKEN,
                "clusterID is x: expected another than that of the CephCluster in namespace x",
            ),
        ],
    )
    def test_a_spec_that_cannot_be_carried_out(
        self, spec: JsonObject, seen: NamespaceObservation, expected: str
    ) -> None:
        assert problems(a_namespace(spec), seen) == (expected,)
        assert actions(a_namespace(spec), seen) == []

    def test_deletion(self) -> None:
        gone = a_namespace(deleting=True)
        assert actions(gone, NamespaceObservation(present=True)) == [
            RemoveNamespace("replicapool", "namespace-a"),
            LetGo(),
        ]
        assert actions(gone, NamespaceObservation()) == [LetGo()]
        assert actions(gone, NamespaceObservation(waits_for="a CephCluster", gone=True)) == [LetGo()]
        assert actions(gone, NamespaceObservation(waits_for="CephCluster c to answer")) == []

    @pytest.mark.parametrize(
        ("seen", "named"),
        [
            (NamespaceObservation(present=True, volumes=("pvc-1",), images=("image i",)), "PersistentVolume pvc-1"),
            (NamespaceObservation(present=True, images=("image i", "image j")), "image i, image j"),
        ],
    )
    def test_what_uses_it_holds_its_deletion_back(self, seen: NamespaceObservation, named: str) -> None:
        gone = a_namespace(deleting=True)
        assert actions(gone, seen) == []
        assert waits(gone, seen) == [f"what uses it to be deleted: {named}"]

    def test_the_implicit_namespace_is_neither_made_nor_removed(self) -> None:
        assert actions(a_namespace(IMPLICIT), NamespaceObservation(present=True)) == []
        gone = a_namespace(IMPLICIT, deleting=True)
        assert actions(gone, NamespaceObservation(present=True)) == [LetGo()]
        assert waits(gone, NamespaceObservation(present=True, volumes=("pvc-1",)))

    def test_one_that_is_anothers_is_let_go_and_stays(self) -> None:
        gone = a_namespace({"clusterID": "x"}, deleting=True)
        assert actions(gone, NamespaceObservation(present=True, taken_by="it")) == [LetGo()]

    def test_all_but_the_path_of_schedules_is_served(self) -> None:
        mirroring = {"mode": "image", "remoteNamespace": "b", "snapshotSchedules": [{"interval": "1h", "path": "x"}]}
        assert unserved({"blockPoolName": "p", "mirroring": mirroring}) == ("mirroring.snapshotSchedules[0].path",)


class TestStatus:
    def shown(self, namespace: CephBlockPoolRadosNamespace, seen: NamespaceObservation) -> Any:
        outcome = preview(analyze(namespace, seen))
        return show(Look(obj=namespace, spec={}, mode=APPLY, now=0.0), seen, outcome)

    def test_ready_with_what_classes_name(self) -> None:
        status = self.shown(a_namespace(), NamespaceObservation(present=True))
        assert (status.phase, status.info) == ("Ready", {"clusterID": "80fc4f4bacc064be641633e6ed25ba7e"})

    def test_one_that_is_taken_tells_no_class_of_it(self) -> None:
        status = self.shown(a_namespace({"clusterID": "x"}), TAKEN)
        assert (status.phase, status.info) == ("Failure", {})

    def test_names_what_blocks_its_deletion(self) -> None:
        seen = NamespaceObservation(present=True, images=("image i",))
        found = {c.type: c for c in self.shown(a_namespace(deleting=True), seen).conditions}
        assert found["DeletionIsBlocked"].message == "it is used by image i"
        mine = found["RadosNamespaceDeletionIsBlocked"]
        assert (mine.status, mine.reason, mine.message) == ("True", "RadosNamespaceNotEmpty", "image i")


class TestCeph:
    async def test_observation(self, ceph: Pools) -> None:
        assert await observe(rados(ceph), a_namespace()) == NamespaceObservation()
        assert await observe(rados(ceph), a_namespace(name="b")) == NamespaceObservation(present=True)
        assert await observe(rados(ceph), a_namespace(IMPLICIT, deleting=True)) == NamespaceObservation(present=True)
        going = await observe(rados(ceph), a_namespace(name="b", deleting=True))
        assert going.images == ("image csi-vol-1", "image csi-vol-2 in the trash")
        with pytest.raises(PoolMissingError):
            await observe(rados(ceph), a_namespace({"blockPoolName": "absent"}))

    async def test_is_made_and_removed_however_often(self, ceph: Pools) -> None:
        api = _api(uid="u-rook-ceph-a", deletionTimestamp=NOW)
        ways = act.handlers(a_namespace(name="a", deleting=True), api, rados(ceph))
        for _ in range(2):
            await ways[CreateNamespace](CreateNamespace("replicapool", "a"))
        assert list(ceph.pools["replicapool"]) == ["", "b", "a"]
        for _ in range(2):
            await ways[RemoveNamespace](RemoveNamespace("replicapool", "a"))
        assert list(ceph.pools["replicapool"]) == ["", "b"]

    async def test_one_with_images_by_then_stays(self, ceph: Pools) -> None:
        api = _api(uid="u-rook-ceph-b", deletionTimestamp=NOW)
        ways = act.handlers(a_namespace(name="b", deleting=True), api, rados(ceph))
        with pytest.raises(CephError, match="RADOS namespace replicapool/b has images by now: it stays"):
            await ways[RemoveNamespace](RemoveNamespace("replicapool", "b"))

    async def test_one_that_is_not_deleted_by_then_stays(self, ceph: Pools) -> None:
        ways = act.handlers(a_namespace(name="b", deleting=True), _api(uid="u-rook-ceph-b"), rados(ceph))
        with pytest.raises(NoConsentError, match="is not being deleted"):
            await ways[RemoveNamespace](RemoveNamespace("replicapool", "b"))


def _api(**meta: Any) -> Client:
    return cast("Client", SimpleNamespace(get=AsyncMock(return_value={"metadata": meta})))


class OneCluster(Connections):
    """A way to the one cluster."""

    def __init__(self, ceph: Pools) -> None:
        super().__init__()
        self.ceph = ceph

    def get(self, namespace: str) -> RadosCluster | None:
        return rados(self.ceph)


@virtual_time
async def test_a_namespace_from_its_making_to_its_removal(ceph: Pools) -> None:
    server = ApiServer(namespaces=("rook-ceph",))
    for resource in (NAMESPACES, CLUSTERS, POOLS):
        server.serve(resource)
    manager = new_manager(server)
    informers = manager.informers
    namespaces = RadosNamespaces(informers.informer(NAMESPACES, type(a_namespace())))
    using, volumes = of_pool(informers), ClusterVolumes(informers)
    register(manager, Settings(operator_namespace="rook-ceph"), OneCluster(ceph), namespaces, volumes)
    key, twin = ("rook-ceph", "namespace-a"), ("rook-ceph", "twin")

    def status(name: str = key[1]) -> JsonObject:
        found: JsonObject = server.get(NAMESPACES, key[0], name).get("status", {})
        return found

    def condition(kind: str, name: str = key[1]) -> str:
        return next((c.get("message", "") for c in status(name).get("conditions", ()) if c["type"] == kind), "")

    async with running(manager):
        spec = {"blockPoolName": "replicapool"}
        server.create(NAMESPACES, {"metadata": {"namespace": key[0], "name": key[1]}, "spec": spec})
        await until(lambda: condition("Ready").endswith("waits for a CephCluster in namespace rook-ceph"))
        assert server.get(NAMESPACES, *key)["metadata"]["finalizers"] == [FINALIZER]

        cluster = {"metadata": {"namespace": key[0], "name": "c"}, "spec": {}}
        server.put(CLUSTERS, {**cluster, "status": {"ceph": {"health": "HEALTH_OK"}}})
        await until(lambda: status().get("phase") == "Ready")
        assert "namespace-a" in ceph.pools["replicapool"]
        cluster_id = status()["info"]["clusterID"]
        replicapool = pool(deleting=True)
        assert list(using.known(replicapool)) == ["namespace-a"]
        assert list(await using.asked(manager.client, replicapool)) == ["namespace-a"]

        taken = {"metadata": {"namespace": twin[0], "name": twin[1]}, "spec": {**spec, "clusterID": cluster_id}}
        server.create(NAMESPACES, taken)
        await until(lambda: status(twin[1]).get("phase") == "Failure")
        assert "CephBlockPoolRadosNamespace rook-ceph/namespace-a" in condition("Ready", twin[1])
        server.delete(NAMESPACES, *twin)
        await until(lambda: server.find(NAMESPACES, *twin) is None)

        attributes = {"volumeAttributes": {"clusterID": cluster_id}}
        csi = {"driver": "rook-ceph.rbd.csi.ceph.com", "volumeHandle": "h", **attributes}
        server.create(PV, {"metadata": {"name": "pvc-1"}, "spec": {"csi": csi}})
        server.delete(NAMESPACES, *key)
        await until(lambda: condition("DeletionIsBlocked") == "it is used by PersistentVolume pvc-1")
        assert "namespace-a" in ceph.pools["replicapool"]
        server.delete(PV, "", "pvc-1")
        await until(lambda: server.find(NAMESPACES, *key) is None)
        assert "namespace-a" not in ceph.pools["replicapool"]
