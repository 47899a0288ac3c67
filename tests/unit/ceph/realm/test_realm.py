"""Realms: plans by table, the Secret with the keys, and from a realm's making to its removal."""

from __future__ import annotations

import base64
import json
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast
from unittest.mock import AsyncMock

import pytest

from controller.apis.ceph import (
    CEPH_CLUSTER,
    CEPH_OBJECT_REALM,
    CEPH_OBJECT_STORE,
    CEPH_OBJECT_ZONE_GROUP,
    CephCluster,
)
from controller.ceph.access.rados import Connections
from controller.ceph.multisite import ground as grounds
from controller.ceph.multisite.ground import Caches, Ground, Grounds
from controller.ceph.multisite.keys import Keys
from controller.ceph.multisite.work import REALM, REMOVE_REALM, work_of
from controller.ceph.realm.act import REALMS, CreateKeys, handlers
from controller.ceph.realm.analyze import analyze
from controller.ceph.realm.kind import FINALIZER, register
from controller.ceph.realm.observe import RealmObservation
from controller.ceph.realm.spec import place_of, problems, wanted
from controller.ceph.realm.status import show
from controller.ceph.zonegroup.kind import of_realm
from controller.framework.jobs import Phase, Run
from controller.framework.kind import Look, controller_of
from controller.framework.plan import APPLY, preview
from controller.framework.settings import Settings
from controller.runtime import resource_of
from controller.runtime.kube import JOB, POD, SECRET
from controller.testkit import ApiServer, new_manager, running, until, virtual_time, wall_clock
from informers import ApiError
from tests.unit.ceph.answers import FakeCeph
from tests.unit.ceph.multisite.scene import a_ground, a_realm, a_run, told

if TYPE_CHECKING:
    from controller.apis.ceph import CephObjectRealm
    from controller.ceph.access.rados import RadosCluster
    from informers import Client, JsonObject

KEYS = Keys(present=True, version="7")
PULL = {"pull": {"endpoint": "http://a:80"}}


def seen(run: Run | None = None, *, keys: Keys = KEYS, **fields: Any) -> RealmObservation:
    own = {name: fields.pop(name) for name in ("users", "taken_by") if name in fields}
    return RealmObservation(ground=a_ground(CEPH_OBJECT_REALM, "r", run=run, **fields), keys=keys, **own)


def work(realm: CephObjectRealm, what: str = REALM) -> Any:
    context = seen().ground.context
    assert context is not None
    given = wanted(realm) if what == REALM else {}
    credentials = "r-keys" if realm.spec.pull.endpoint else ""
    return work_of(context, what, place_of(realm), given, credentials=credentials)


def plan(realm: CephObjectRealm, found: RealmObservation) -> list[str]:
    return told(analyze(realm, found, "rook:1"))


class TestPlan:
    def test_is_made_with_keys(self) -> None:
        assert plan(a_realm(), seen(keys=Keys(), exists=False)) == ["CreateKeys", "RunJob"]
        assert plan(a_realm(), seen(exists=False)) == ["RunJob"]
        assert plan(a_realm(), seen(exists=False, live={})) == ["CreateKeyring"]

    def test_at_rest_nothing_is_done(self) -> None:
        for spec in ({}, PULL, {"defaultRealm": True}):
            realm = a_realm(spec)
            assert plan(realm, seen(a_run(work(realm)))) == []

    def test_the_job_is_waited_for_and_made_anew_for_something_else(self) -> None:
        made = a_run(work(a_realm()))
        assert plan(a_realm(), seen(a_run(work(a_realm()), Phase.RUNNING))) == ["Job rook-ceph-object-realm-r to end"]
        assert plan(a_realm({"defaultRealm": True}), seen(made)) == ["RunJob"]
        assert plan(a_realm(PULL), seen(made)) == ["RunJob"]
        other = a_realm({"pull": {"endpoint": "http://b:80"}})
        assert plan(other, seen(a_run(work(a_realm(PULL))))) == ["RunJob"]

    def test_one_that_is_gone_from_ceph_is_made_again(self) -> None:
        (step,) = analyze(a_realm(), seen(a_run(work(a_realm())), exists=False), "rook:1").steps
        assert step.reason == "it is gone from Ceph"

    def test_a_pulled_realm_has_the_keys_of_the_other_cluster(self) -> None:
        assert plan(a_realm(PULL), seen(keys=Keys(), exists=False)) == [
            "Secret r-keys, as it is in the cluster of http://a:80"
        ]
        assert work(a_realm(PULL)).credentials == "r-keys"
        assert work(a_realm()).credentials == ""

    @pytest.mark.parametrize(
        ("found", "expected"),
        [
            (RealmObservation(ground=Ground(waits_for="a CephCluster")), "a CephCluster"),
            (seen(keys=Keys(present=True, missing="secret-key")), "Secret r-keys to have secret-key"),
            (seen(taken_by="CephObjectStore r"), "the CephObjectRealm to get another name"),
        ],
    )
    def test_what_it_waits_for(self, found: RealmObservation, expected: str) -> None:
        assert plan(a_realm(), found) == [expected]

    @pytest.mark.parametrize("url", ["http://", "http://a:port", "https:/a", "httpp://a"])
    def test_an_endpoint_that_is_no_url(self, url: str) -> None:
        (problem,) = problems(a_realm({"pull": {"endpoint": url}}))
        assert problem.startswith(f"pull.endpoint is {url!r}: expected the URL of a gateway of the master zone")
        assert problems(a_realm({"pull": {"endpoint": "https://[2001:db8::1]:443"}})) == ()

    def test_deletion(self) -> None:
        going = a_realm(deleting=True)
        assert plan(going, seen(users=("CephObjectZoneGroup zg",))) == ["CephObjectZoneGroup zg to be deleted"]
        assert plan(going, seen(a_run(work(a_realm())))) == ["RunJob"]
        assert plan(going, seen(a_run(work(going, REMOVE_REALM)), exists=False)) == ["RemoveUser", "LetGo"]
        assert plan(going, seen(exists=False)) == ["RemoveUser", "LetGo"]
        assert plan(going, RealmObservation(ground=Ground(cluster_gone=True, waits_for="a CephCluster"))) == ["LetGo"]
        assert plan(going, RealmObservation(ground=Ground(waits_for="the cluster to answer"))) == [
            "the cluster to answer"
        ]


class TestStatus:
    def shown(self, realm: CephObjectRealm, found: RealmObservation) -> Any:
        outcome = preview(analyze(realm, found, "rook:1"))
        return show(Look(obj=realm, spec={}, mode=APPLY, now=0.0), found, outcome)

    def test_has_the_id_and_keeps_it_when_the_jobs_pod_is_gone(self) -> None:
        done = a_run(work(a_realm()), result='{"id": "x-1"}')
        first = self.shown(a_realm(), seen(done))
        assert (first.phase, first.id) == ("Ready", "x-1")
        assert self.shown(a_realm(status={"id": "x-1"}), seen(a_run(work(a_realm())))).id == "x-1"

    def test_names_what_blocks_its_deletion(self) -> None:
        status = self.shown(a_realm(deleting=True), seen(users=("CephObjectZoneGroup zg",)))
        conditions = {c.type: c for c in status.conditions}
        assert conditions["DeletionIsBlocked"].message == "to be deleted first: CephObjectZoneGroup zg"


class TestKeys:
    async def test_are_random_and_kept_in_upstreams_secret(self) -> None:
        client = SimpleNamespace(create=AsyncMock())
        create = handlers(a_realm(), cast("Client", client))[CreateKeys]
        for _ in range(2):
            await create(CreateKeys("r-keys"))
        first, second = (call.args[1] for call in client.create.await_args_list)
        assert (first["metadata"]["name"], first["type"]) == ("r-keys", "kubernetes.io/rook")
        assert first["metadata"]["ownerReferences"][0]["uid"] == "uid-r"
        keys = [base64.b64decode(each["data"]["secret-key"]).decode() for each in (first, second)]
        assert [len(key) for key in keys] == [40, 40]
        assert keys[0] != keys[1]
        assert keys[0] not in repr(analyze(a_realm(), seen(keys=Keys()), "rook:1"))

    async def test_a_secret_that_is_there_stays(self) -> None:
        exists = ApiError(409, "AlreadyExists", "exists")
        client = SimpleNamespace(create=AsyncMock(side_effect=exists))
        await handlers(a_realm(), cast("Client", client))[CreateKeys](CreateKeys("r-keys"))


class OneCluster(Connections):
    """A way to the one cluster."""

    def get(self, namespace: str) -> RadosCluster | None:
        return cast("RadosCluster", FakeCeph({"auth get-or-create": [{"entity": "e", "key": "k"}]}))


@virtual_time
async def test_a_realm_from_its_making_to_its_removal(monkeypatch: pytest.MonkeyPatch) -> None:
    in_ceph: set[str] = set()
    at_virtual_time = partial(controller_of, clock=lambda: wall_clock().timestamp())
    monkeypatch.setattr("controller.ceph.realm.kind.controller_of", at_virtual_time)
    monkeypatch.setattr(grounds, "exists", AsyncMock(side_effect=lambda _, __, name: name in in_ceph))
    clusters, groups, stores = map(resource_of, (CEPH_CLUSTER, CEPH_OBJECT_ZONE_GROUP, CEPH_OBJECT_STORE))
    server = ApiServer(namespaces=("rook-ceph",))
    for resource in (REALMS, clusters, groups, stores):
        server.serve(resource)
    manager, connections = new_manager(server), OneCluster()
    informers = manager.informers
    ground = Grounds(Caches(informers), informers.informer(clusters, CephCluster), connections, manager.applier)
    settings = Settings(operator_namespace="rook-ceph", operator_image="rook:1")
    register(manager, settings, connections, ground, dependents=(of_realm(informers),))
    key, job = ("rook-ceph", "r"), ("rook-ceph", "rook-ceph-object-realm-r")

    def status() -> JsonObject:
        found = server.find(REALMS, *key)
        return found.get("status", {}) if found is not None else {}

    def act() -> str:
        found = server.find(JOB, *job)
        return found["spec"]["template"]["spec"]["containers"][0]["command"][-1] if found is not None else ""

    def end(result: str) -> None:
        found = server.get(JOB, *job)
        meta = {"namespace": key[0], "name": f"pod-{found['metadata']['uid']}", "labels": found["metadata"]["labels"]}
        meta["ownerReferences"] = [{"kind": "Job", "uid": found["metadata"]["uid"], "name": job[1], "apiVersion": "v1"}]
        ended = {"terminated": {"exitCode": 0, "message": result}}
        container = {"name": "radosgw-admin", "state": ended}
        server.put(POD, {"metadata": meta, "status": {"phase": "Succeeded", "containerStatuses": [container]}})
        done = {"type": "Complete", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}
        server.put(JOB, {**server.get(JOB, *job), "status": {"conditions": [done]}})

    async with running(manager):
        server.put(
            clusters,
            {
                "metadata": {"namespace": key[0], "name": "c"},
                "spec": {"cephVersion": {"image": "ceph:v18"}},
                "status": {
                    "ceph": {"health": "HEALTH_OK", "fsid": "f"},
                    "version": {"image": "ceph:v18", "version": "18.2.7-0"},
                },
            },
        )
        server.create(REALMS, {"metadata": {"namespace": key[0], "name": key[1]}})
        await until(lambda: act() == "realm", within=300)
        assert server.get(REALMS, *key)["metadata"]["finalizers"] == [FINALIZER]
        assert server.find(SECRET, "rook-ceph", "r-keys") is not None

        in_ceph.add("r")
        end(json.dumps({"id": "x-1", "changed": []}))
        await until(lambda: status().get("phase") == "Ready" and status().get("id") == "x-1", within=300)

        server.create(groups, {"metadata": {"namespace": key[0], "name": "zg"}, "spec": {"realm": "r"}})
        server.delete(REALMS, *key)
        await until(lambda: "CephObjectZoneGroup zg" in json.dumps(status().get("conditions", [])), within=300)
        assert act() == "realm"
        server.delete(groups, "rook-ceph", "zg")
        await until(lambda: act() == "remove-realm", within=300)
        in_ceph.clear()
        end("{}")
        await until(lambda: server.find(REALMS, *key) is None, within=300)
