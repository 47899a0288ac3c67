"""A Cluster of v1beta1 on the test kit's API server: the CephCluster that it asks for is made and kept in step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

from controller.apis.ceph.v1beta1 import MADE_FROM
from controller.ceph.cluster.v1beta1 import NEW, OLD, register
from controller.framework.program import PROGRAM
from controller.framework.settings import Settings
from controller.testkit import ApiServer, new_manager, running, until, virtual_time
from tests.unit.apis.ceph.test_v1beta1 import TALK

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from controller.runtime import Manager
    from informers import JsonObject

KEY = ("rook-ceph", "rook-ceph")


def a_server() -> ApiServer:
    server = ApiServer(namespaces=("rook-ceph",))
    server.serve(OLD)
    server.serve(NEW)
    return server


def serving(server: ApiServer) -> AbstractAsyncContextManager[Manager]:
    manager = new_manager(server, program=PROGRAM)
    register(manager, Settings(operator_namespace="rook-ceph"))
    return running(manager)


def the_talks() -> JsonObject:
    talk: JsonObject = yaml.safe_load(TALK.read_text(encoding="utf-8"))
    return {"metadata": {"namespace": "rook-ceph", **talk["metadata"]}, "spec": talk["spec"]}


def made(server: ApiServer) -> Any:
    found = server.find(NEW, *KEY)
    return found and found["spec"]


def state(server: ApiServer) -> str:
    return str((server.find(OLD, *KEY) or {}).get("status", {}).get("state", ""))


def message(server: ApiServer) -> str:
    return str((server.find(OLD, *KEY) or {}).get("status", {}).get("message", ""))


@virtual_time
async def test_the_talks_cluster_becomes_a_ceph_cluster_and_edits_of_it_follow() -> None:
    server = a_server()
    server.create(OLD, the_talks())
    async with serving(server):
        await until(lambda: made(server))
        assert made(server)["mon"] == {"count": 3}
        assert made(server)["cephVersion"] == {"image": "ceph/ceph:v13"}

        server.patch(OLD, *KEY, {"spec": {"cephVersion": {"image": "ceph/ceph:v14"}, "mon": {"count": 5}}})
        await until(lambda: made(server)["mon"]["count"] == 5)
        assert made(server)["cephVersion"] == {"image": "ceph/ceph:v14"}


@virtual_time
async def test_what_is_edited_on_the_ceph_cluster_is_put_back_where_the_cluster_says_it_and_stays_where_not() -> None:
    server = a_server()
    server.create(OLD, the_talks())
    async with serving(server):
        await until(lambda: made(server))
        server.patch(NEW, *KEY, {"spec": {"mon": {"count": 1}, "skipUpgradeChecks": True}})
        await until(lambda: made(server)["mon"]["count"] == 3)
        assert made(server)["skipUpgradeChecks"] is True


@virtual_time
async def test_its_status_says_what_the_ceph_cluster_says_and_what_was_left_out() -> None:
    server = a_server()
    talk = the_talks()
    talk["spec"]["storage"]["directories"] = [{"path": "/data"}]
    server.create(OLD, talk)
    async with serving(server):
        await until(lambda: made(server))
        ceph = server.find(NEW, *KEY)
        assert ceph is not None
        server.put(NEW, {**ceph, "status": {"state": "Created", "message": "Cluster created successfully"}})
        await until(lambda: state(server) == "Created")
        assert "Cluster created successfully" in message(server)
        assert "spec.storage.directories" in message(server)


@virtual_time
async def test_a_deleted_cluster_leaves_the_ceph_cluster_which_can_then_be_edited() -> None:
    server = a_server()
    server.create(OLD, the_talks())
    async with serving(server):
        await until(lambda: made(server))
        server.delete(OLD, *KEY)
        await until(lambda: server.find(OLD, *KEY) is None)
        server.patch(NEW, *KEY, {"spec": {"mon": {"count": 5}}})
        await until(lambda: made(server)["mon"]["count"] == 5)
        assert "ownerReferences" not in server.get(NEW, *KEY)["metadata"]


@virtual_time
async def test_a_ceph_cluster_that_was_there_before_is_not_overwritten() -> None:
    server = a_server()
    about = {"namespace": "rook-ceph", "name": "rook-ceph"}
    server.create(NEW, {"metadata": about, "spec": {"mon": {"count": 1}}})
    server.create(OLD, the_talks())
    async with serving(server):
        await until(lambda: state(server) == "Error")
        assert MADE_FROM in message(server)
        assert made(server) == {"mon": {"count": 1}}

        server.patch(NEW, *KEY, {"metadata": {"annotations": {MADE_FROM: "v1beta1"}}})
        await until(lambda: made(server)["mon"]["count"] == 3)
