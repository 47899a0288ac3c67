"""How steps are carried out, where that decides about data: consent is asked for again, identity is never replaced."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import msgspec
import pytest

from controller.apis.ceph import CephCluster
from controller.ceph.access.mons import Endpoints, Mon
from controller.ceph.access.volumes import ClusterVolumes
from controller.ceph.cluster import deletion, identity
from controller.ceph.cluster.deletion import CLUSTERS, DestroyData, DestroyIdentity
from controller.ceph.cluster.dependents import volumes
from controller.ceph.cluster.identity import CreateIdentity
from controller.ceph.mon import part as mons
from controller.ceph.mon.act import DropClaim, MemberError, RemoveFromMonmap, RetireMon, StartMon
from controller.ceph.mon.observe import MonObservation
from controller.ceph.part import Ground
from controller.ceph.pool import kind as pool
from controller.framework.consent import NoConsentError
from controller.framework.deletion import Dependents
from controller.framework.jobs import Attempt
from controller.runtime.kube import CONFIG_MAP, DEPLOYMENT, PVC, SECRET
from controller.testkit import ApiServer
from informers import ApiError, Client, InformerFactory
from tests.unit.ceph.answers import FakeCeph
from tests.unit.ceph.cases import a_cluster
from tests.unit.ceph.observed import Observation, analyze, analyze_deletion

if TYPE_CHECKING:
    from controller.framework.plan import Handler
    from controller.runtime.apply import Applier

JOB = {"kind": "Job", "metadata": {"name": "cluster-cleanup-job-n1", "namespace": "rook-ceph"}}


class FakeApi:
    """The API server's answers to a read of the CephCluster and to creations."""

    def __init__(self, cluster: dict[str, Any] | None = None, *, exists: bool = False) -> None:
        self.cluster, self.exists = cluster or {}, exists
        self.users: dict[str, list[dict[str, Any]]] = {}
        self.lists: list[str] = []
        self.created: list[dict[str, Any]] = []
        self.deleted: list[tuple[str, str]] = []

    async def get(self, resource: Any, *_: Any) -> dict[str, Any]:
        return {"metadata": {"uid": "c1"}} if resource == PVC else self.cluster

    find = get

    async def list(self, resource: Any, _: str = "") -> list[dict[str, Any]]:
        self.lists.append(resource.kind)
        return self.users.get(resource.kind, [])

    async def create(self, _: Any, obj: dict[str, Any]) -> dict[str, Any]:
        if self.exists:
            raise ApiError(409, "AlreadyExists", "there is one")
        self.created.append(obj)
        return obj

    async def delete(self, resource: Any, namespace: str, name: str, *, uid: str) -> None:
        self.deleted.append((name, uid))


async def carry_out(
    api: FakeApi | Client, action: Any, ceph: FakeCeph | None = None, cluster: CephCluster | None = None
) -> None:
    await handlers_of(api, ceph, cluster)[type(action)](action)


def handlers_of(
    api: FakeApi | Client, ceph: FakeCeph | None = None, cluster: CephCluster | None = None
) -> dict[type, Handler]:
    """What carries out the actions of one look."""
    cluster, client = cluster or a_cluster(), cast("Client", api)
    informers = InformerFactory(ApiServer().client())
    dependents = Dependents[CephCluster]((pool.dependents(informers), volumes(ClusterVolumes(informers))))
    part = mons.part(client, cast("Applier", None))
    ground = Ground(cluster=cluster, now=0.0, ceph=ceph)
    own = {**deletion.handlers(cluster, client, dependents), **identity.handlers(client)}
    return {**own, **part.handlers(ground, MonObservation())}


def on_the_server(confirmation: str | None, *, deleting: bool = True, uid: str = "u1") -> dict[str, Any]:
    meta = {"uid": uid} | ({"deletionTimestamp": "2026-01-01T00:00:00Z"} if deleting else {})
    policy = {} if confirmation is None else {"cleanupPolicy": {"confirmation": confirmation}}
    return {"metadata": meta, "spec": policy}


CLAIM = DestroyIdentity(PVC, "rook-ceph-mon-a", "c1")


async def test_data_and_identity_go_with_consent() -> None:
    api = FakeApi(on_the_server("yes-really-destroy-data"))
    await carry_out(api, DestroyData("n1", JOB))
    await carry_out(api, CLAIM)
    assert (api.created, api.deleted) == ([JOB], [("rook-ceph-mon-a", "c1")])


@pytest.mark.parametrize("action", [DestroyData("n1", JOB), CLAIM])
@pytest.mark.parametrize(
    ("found", "why"),
    [
        (on_the_server(None), "confirmation is ''"),
        (on_the_server("yes"), "confirmation is 'yes'"),
        (on_the_server("yes-really-destroy-data", deleting=False), "not being deleted"),
        (on_the_server("yes-really-destroy-data", uid="another"), "uid another, not u1"),
    ],
)
async def test_nothing_goes_when_the_consent_was_withdrawn_or_is_anothers(
    found: dict[str, Any], why: str, action: object
) -> None:
    api = FakeApi(found)
    with pytest.raises(NoConsentError, match=why):
        await carry_out(api, action)
    assert (api.created, api.deleted) == ([], [])


@pytest.mark.parametrize(
    ("kind", "obj", "why"),
    [
        ("CephBlockPool", {"metadata": {"name": "p"}}, "used by CephBlockPool p"),
        (
            "PersistentVolume",
            {"metadata": {"name": "v"}, "spec": {"csi": {"volumeAttributes": {"clusterID": "rook-ceph"}}}},
            "used by PersistentVolume v",
        ),
    ],
)
async def test_no_data_goes_that_something_uses_which_the_cache_lacks(kind: str, obj: dict[str, Any], why: str) -> None:
    api = FakeApi(on_the_server("yes-really-destroy-data"))
    api.users = {kind: [obj]}
    with pytest.raises(NoConsentError, match=why):
        await carry_out(api, DestroyData("n1", JOB))
    assert api.created == []


async def test_what_uses_the_cluster_is_asked_once_for_the_nodes_of_a_look() -> None:
    api = FakeApi(on_the_server("yes-really-destroy-data"))
    ways = handlers_of(api)
    for node in ("n1", "n2", "n3"):
        await ways[DestroyData](DestroyData(node, JOB))
    assert (len(api.created), api.lists) == (3, ["CephBlockPool", "PersistentVolume"])
    await handlers_of(api)[DestroyData](DestroyData("n4", JOB))
    assert len(api.lists) == 4


async def test_a_cleanup_that_failed_makes_room_for_the_next() -> None:
    api = FakeApi(on_the_server("yes-really-destroy-data"))
    await carry_out(api, DestroyData("n1", JOB, Attempt("j1", 2)))
    (made,) = api.created
    assert (api.deleted, made["metadata"]["name"]) == ([("cluster-cleanup-job-n1", "j1")], "cluster-cleanup-job-n1")


async def test_a_daemon_is_stopped_with_consent_only_and_its_deployment_stays() -> None:
    server = ApiServer(namespaces=("rook-ceph",))
    server.serve(CLUSTERS)
    meta = {"name": "my-cluster", "namespace": "rook-ceph", "finalizers": ["cephcluster.ceph.rook.io"]}
    consent = {"cleanupPolicy": {"confirmation": "yes-really-destroy-data"}}
    cluster = msgspec.convert(server.create(CLUSTERS, {"metadata": meta, "spec": consent}), CephCluster)
    osd = {"metadata": {"namespace": "rook-ceph", "name": "rook-ceph-osd-0"}, "spec": {"replicas": 1, "paused": True}}
    uid = server.create(DEPLOYMENT, osd)["metadata"]["uid"]
    with pytest.raises(NoConsentError):
        await carry_out(server.client(), deletion.Stop("rook-ceph-osd-0", uid), cluster=cluster)
    server.delete(CLUSTERS, "rook-ceph", "my-cluster")
    await carry_out(server.client(), deletion.Stop("rook-ceph-osd-0", uid), cluster=cluster)
    assert server.get(DEPLOYMENT, "rook-ceph", "rook-ceph-osd-0")["spec"] == {"replicas": 0, "paused": True}


async def test_a_mon_that_is_a_member_by_now_stays_in_the_monmap() -> None:
    api = FakeApi({"data": {"data": "a=10.0.0.1:6789,b=10.0.0.2:6789"}})
    ceph = FakeCeph({"quorum_status": quorum_status("abc", "abc")})
    with pytest.raises(MemberError, match=r"mon b stays in the monmap: .* has it as a member"):
        await carry_out(api, RemoveFromMonmap("b"), ceph)
    assert ceph.asked == []
    await carry_out(api, RemoveFromMonmap("c"), ceph)
    assert ceph.asked[-1] == ("mon rm", {"name": "c"})


async def test_a_mon_that_is_needed_for_the_quorum_by_now_stays_in_the_monmap() -> None:
    api = FakeApi({"data": {"data": "a=10.0.0.1:6789,b=10.0.0.2:6789"}})
    ceph = FakeCeph({"quorum_status": quorum_status("abc", "ac")})
    with pytest.raises(MemberError, match="without it there would be no quorum"):
        await carry_out(api, RemoveFromMonmap("c"), ceph)
    assert [command for command, _ in ceph.asked] == ["quorum_status"]


async def test_the_claim_of_a_mon_goes_when_it_is_no_member_and_else_outlives_a_deletion() -> None:
    server = ApiServer(namespaces=("rook-ceph",))
    meta = {"namespace": "rook-ceph", "name": "rook-ceph-mon-b", "finalizers": ["ceph.rook.io/disaster-protection"]}
    uid = server.create(PVC, {"metadata": meta, "spec": {}})["metadata"]["uid"]
    members = {"metadata": {"namespace": "rook-ceph", "name": "rook-ceph-mon-endpoints"}, "data": {}}
    server.create(CONFIG_MAP, {**members, "data": {"data": "a=10.0.0.1:6789,b=10.0.0.2:6789"}})
    server.delete(PVC, "rook-ceph", "rook-ceph-mon-b")  # with the namespace, or by mistake
    with pytest.raises(MemberError, match="has mon b as a member"):
        await carry_out(server.client(), DropClaim("b", "rook-ceph-mon-b", uid))
    assert server.get(PVC, "rook-ceph", "rook-ceph-mon-b")["metadata"]["uid"] == uid
    server.patch(CONFIG_MAP, "rook-ceph", "rook-ceph-mon-endpoints", {"data": {"data": "a=10.0.0.1:6789"}})
    await carry_out(server.client(), DropClaim("b", "rook-ceph-mon-b", "another"))
    assert server.find(PVC, "rook-ceph", "rook-ceph-mon-b") is not None
    await carry_out(server.client(), DropClaim("b", "rook-ceph-mon-b", uid))
    assert server.find(PVC, "rook-ceph", "rook-ceph-mon-b") is None


class Applied:
    """An applier that notes what it was given."""

    def __init__(self) -> None:
        self.names: list[str] = []

    async def apply(self, obj: dict[str, Any]) -> None:
        self.names.append(obj["metadata"]["name"])


@pytest.mark.parametrize("kind", [StartMon, RetireMon])
@pytest.mark.parametrize(
    ("cached", "listed", "written"),
    [
        (Endpoints((Mon("a", "10.0.0.1"),), 0), "a=10.0.0.1:6789", True),
        (Endpoints((Mon("a", "10.0.0.1"),), 0), "a=10.0.0.1:6789,b=10.0.0.2:6789", False),
        (None, None, True),
        (None, "a=10.0.0.1:6789", False),
    ],
)
async def test_members_are_not_overwritten_that_the_cache_lacks(
    kind: type, cached: Endpoints | None, listed: str | None, written: bool
) -> None:
    server, applied = ApiServer(namespaces=("rook-ceph",)), Applied()
    if listed is not None:
        meta = {"name": "rook-ceph-mon-endpoints", "namespace": "rook-ceph"}
        server.create(CONFIG_MAP, {"metadata": meta, "data": {"data": listed}})
    part = mons.part(server.client(), cast("Applier", applied))
    way = part.handlers(Ground(cluster=a_cluster(), now=0.0), MonObservation(endpoints=cached))[kind]
    objects = ({"kind": "ConfigMap", "metadata": {"name": "rook-ceph-mon-endpoints"}},)
    action = StartMon("b", "n1", objects) if kind is StartMon else RetireMon("b", objects)
    if not written:
        with pytest.raises(MemberError, match="have changed meanwhile"):
            await way(action)
    else:
        await way(action)
    assert applied.names == (["rook-ceph-mon-endpoints"] if written else [])


def quorum_status(monmap: str, quorum: str) -> dict[str, Any]:
    return {"monmap": {"mons": [{"name": name} for name in monmap]}, "quorum_names": list(quorum)}


async def test_an_identity_that_exists_is_kept() -> None:
    meta = {"name": "rook-ceph-mon", "namespace": "rook-ceph"}
    await carry_out(FakeApi(exists=True), CreateIdentity(meta, "aes"))
    api = FakeApi()
    await carry_out(api, CreateIdentity(meta, "aes"))
    assert sorted(api.created[0]["data"]) == [
        "admin-secret",
        "ceph-secret",
        "ceph-username",
        "cluster-name",
        "fsid",
        "mon-secret",
    ]


async def test_an_identity_outlives_a_mistaken_deletion_and_goes_with_consent() -> None:
    server = ApiServer(namespaces=("rook-ceph",))
    server.serve(CLUSTERS)
    meta = {"name": "my-cluster", "namespace": "rook-ceph", "finalizers": ["cephcluster.ceph.rook.io"]}
    consent = {"cleanupPolicy": {"confirmation": "yes-really-destroy-data"}}
    cluster = msgspec.convert(server.create(CLUSTERS, {"metadata": meta, "spec": consent}), CephCluster)
    live = {("ConfigMap", "rook-config-override"): {"metadata": {"name": "rook-config-override"}}}
    fresh = msgspec.convert({"metadata": meta, "spec": {}}, CephCluster)
    create = next(
        s.action for s in analyze(fresh, Observation(live=live), 0.0).steps if isinstance(s.action, CreateIdentity)
    )
    await carry_out(server.client(), create, cluster=cluster)
    made = server.get(SECRET, "rook-ceph", "rook-ceph-mon")

    server.delete(SECRET, "rook-ceph", "rook-ceph-mon")
    marked = server.get(SECRET, "rook-ceph", "rook-ceph-mon")
    assert marked["data"] == made["data"]

    server.delete(CLUSTERS, "rook-ceph", "my-cluster")
    (step,) = analyze_deletion(cluster, Observation(live={("Secret", "rook-ceph-mon"): marked})).steps
    await carry_out(server.client(), step.action, cluster=cluster)
    assert server.find(SECRET, "rook-ceph", "rook-ceph-mon") is None
    await carry_out(server.client(), step.action, cluster=cluster)  # as when the answer was lost
