"""CephNVMeOFGateways on the test kit's API server; what is seen of a cluster; and what their status tells."""

from __future__ import annotations

import errno
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import msgspec
import pytest

from controller.apis.ceph import CephBlockPool
from controller.ceph.access.nvmeof import Group
from controller.ceph.access.rados import CephError, Connections
from controller.ceph.nvmeof import dependents
from controller.ceph.nvmeof.act import RESOURCE
from controller.ceph.nvmeof.analyze import analyze
from controller.ceph.nvmeof.kind import CLUSTERS, FINALIZER, POOLS, register
from controller.ceph.nvmeof.observe import Observer, PoolState, ask
from controller.ceph.nvmeof.status import show
from controller.framework.kind import Look
from controller.framework.plan import APPLY, preview
from controller.framework.program import PROGRAM
from controller.framework.settings import Settings
from controller.runtime.kube import DEPLOYMENT, ConfigMap
from controller.testkit import ApiServer, new_manager, running, until, virtual_time
from tests.unit.ceph import nvmeof_gateways
from tests.unit.ceph.nvmeof.test_mons import TWO, Ceph
from tests.unit.ceph.nvmeof_gateways import IMAGE, NQN, PLAIN, SHOWN, a_gateway, at, in_map, made, nothing

if TYPE_CHECKING:
    from controller.apis.ceph import CephNVMeOFGateway
    from controller.ceph.access.rados import RadosCluster
    from controller.ceph.nvmeof.observe import GatewayObservation
    from informers import JsonObject

KEY = ("rook-ceph", "my-gw")
LATER = 1800000000.0


@virtual_time
async def test_gateways_wait_for_their_cluster_and_go_without_one() -> None:
    server = ApiServer(namespaces=("rook-ceph",))
    for resource in (RESOURCE, CLUSTERS, POOLS):
        server.serve(resource)
    manager = new_manager(server)
    register(manager, Settings(operator_namespace="rook-ceph"), Connections())

    def ready() -> str:
        found: JsonObject = server.get(RESOURCE, *KEY)
        conditions = found.get("status", {}).get("conditions", [])
        return next((c["message"] for c in conditions if c["type"] == "Ready"), "")

    async with running(manager):
        server.create(RESOURCE, {"metadata": {"namespace": KEY[0], "name": KEY[1]}, "spec": PLAIN})
        await until(lambda: ready().endswith("waits for a CephCluster in namespace rook-ceph"))
        assert server.get(RESOURCE, *KEY)["metadata"]["finalizers"] == [FINALIZER]
        server.create(CLUSTERS, {"metadata": {"namespace": KEY[0], "name": "my-cluster"}, "spec": {}})
        await until(lambda: ready().endswith("waits for CephCluster my-cluster to answer"))
        server.delete(CLUSTERS, KEY[0], "my-cluster")
        server.delete(RESOURCE, *KEY)
        await until(lambda: server.find(RESOURCE, *KEY) is None)


class OneCluster(Connections):
    """A way to the one cluster."""

    def __init__(self, ceph: Ceph) -> None:
        super().__init__()
        self.ceph = ceph

    def get(self, namespace: str) -> RadosCluster | None:
        return cast("RadosCluster", self.ceph)


class Mons(Ceph):
    """Mons with a map of gateways that show nothing, in a cluster that has the pool."""

    def __init__(self) -> None:
        super().__init__(
            {
                "osd pool ls": [POOL],
                "config get": IMAGE,
                "auth get-or-create": [{"entity": "e", "key": "k"}],
                "nvme-gw show": lambda **_: {"Created Gateways:": list(self.map.values())},
                "nvme-gw create": lambda **args: self.map.setdefault(args["id"], self.row(args["id"])),
                "nvme-gw delete": lambda **args: self.map.pop(args["id"], None),
            }
        )
        self.map: dict[str, JsonObject] = {}

    def row(self, gateway: str) -> JsonObject:
        return {"gw-id": gateway, "anagrp-id": len(self.map) + 1, "Availability": "CREATED", "ana states": ""}


CLUSTER: JsonObject = {
    "metadata": {"namespace": KEY[0], "name": "my-cluster"},
    "spec": {"cephVersion": {"image": "ceph:v20"}},
    "status": {
        "ceph": {"health": "HEALTH_OK", "fsid": "f"},
        "version": {"image": "ceph:v20", "version": "20.2.4-0"},
    },
}


@virtual_time
async def test_gateways_from_their_making_to_their_removal() -> None:
    server = ApiServer(namespaces=("rook-ceph",))
    for resource in (RESOURCE, CLUSTERS, POOLS):
        server.serve(resource)
    manager, mons = new_manager(server, program=PROGRAM), Mons()
    register(manager, Settings(operator_namespace="rook-ceph"), OneCluster(mons))
    pool = msgspec.convert(
        {"metadata": {"namespace": KEY[0], "name": "builtin-nvmeof"}, "spec": {"name": ".nvmeof"}}, CephBlockPool
    )
    of_pool = dependents.of_pool(manager.informers)

    def status() -> JsonObject:
        found: JsonObject = server.get(RESOURCE, *KEY).get("status", {})
        return found

    def ready() -> str:
        return next((c["message"] for c in status().get("conditions", []) if c["type"] == "Ready"), "")

    def made() -> list[str]:
        names = (f"rook-ceph-nvmeof-my-gw-{letter}" for letter in "abc")
        return [name for name in names if server.find(DEPLOYMENT, KEY[0], name) is not None]

    async with running(manager):
        mons.answers["nvme-gw show"] = CephError(errno.EINVAL, "command not known")
        server.put(CLUSTERS, CLUSTER)
        server.create(RESOURCE, {"metadata": {"namespace": KEY[0], "name": KEY[1]}, "spec": PLAIN})
        await until(lambda: "a cephVersion.image of the CephCluster with Ceph 20.2 or later" in ready())
        assert made() == []
        mons.answers["nvme-gw show"] = lambda **_: {"Created Gateways:": list(mons.map.values())}
        await until(lambda: made() == ["rook-ceph-nvmeof-my-gw-a", "rook-ceph-nvmeof-my-gw-b"], within=60)
        assert sorted(mons.map) == made()
        for name in made():
            runs = {"observedGeneration": 9, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1}
            server.patch(DEPLOYMENT, KEY[0], name, {"status": runs}, subresource="status")
        await until(lambda: status().get("phase") == "Ready", within=60)
        assert [found["availability"] for found in status()["gateways"]] == ["CREATED", "CREATED"]

        assert list(of_pool.known(pool)) == ["my-gw"]
        assert list(await of_pool.asked(manager.client, pool)) == ["my-gw"]
        other = msgspec.structs.replace(pool, spec=msgspec.structs.replace(pool.spec, name=""))
        assert list(of_pool.known(other)) == list(await of_pool.asked(manager.client, other)) == []

        server.delete(RESOURCE, *KEY)
        await until(lambda: server.find(RESOURCE, *KEY) is None, within=60)
        assert (mons.map, made()) == ({}, [])


POOL = {"pool_name": ".nvmeof", "erasure_code_profile": "", "application_metadata": {"rbd": {}}}


async def test_what_is_asked_of_the_cluster() -> None:
    answers = {"osd pool ls": [POOL], "nvme-gw show": TWO, "config get": IMAGE}
    seen = await ask(Ceph(answers), "group-a", "")
    assert (seen.pool, seen.image, seen.group_name) == (PoolState(applications=frozenset({"rbd"})), IMAGE, "group-a")
    assert len(seen.group.gateways) == 2
    own = Ceph(answers)
    assert (await ask(own, "group-a", "mine:1")).image == "mine:1"
    assert "config get" not in [prefix for prefix, _ in own.asked]
    assert (await ask(Ceph({**answers, "osd pool ls": []}), "group-a", "")).pool is None
    coded = {**POOL, "erasure_code_profile": "p"}
    assert (await ask(Ceph({**answers, "osd pool ls": [coded]}), "group-a", "")).pool == PoolState(
        erasure=True, applications=frozenset({"rbd"})
    )


def observer(*found: ConfigMap) -> Observer:
    by_name = {each.metadata.name: each for each in found}
    config_maps = SimpleNamespace(list=lambda _: found, get=lambda _, name: by_name.get(name))
    nobody = cast("Any", None)
    return Observer(cast("Any", SimpleNamespace(config_maps=config_maps)), nobody, nobody, nobody, nobody)


def config_map(name: str, data: dict[str, str], **labels: str) -> ConfigMap:
    return msgspec.convert({"metadata": {"name": name, "labels": labels}, "data": data}, ConfigMap)


class TestFiles:
    def test_gateways_that_are_there_stay_in_their_group(self) -> None:
        live = made(a_gateway()).config_map("a")
        found = msgspec.convert(live, ConfigMap)
        gateway = a_gateway({"group": "group-b"})
        assert observer(found)._group(gateway) == "group-a"
        others = config_map("x", {"config": "[gateway]\ngroup = other\n"}, ceph_nvmeof_gateway="another")
        assert observer(others)._group(gateway) == "group-b"
        broken = config_map("x", {"config": "no"}, ceph_nvmeof_gateway="my-gw")
        assert observer(broken)._group(gateway) == "group-b"

    @pytest.mark.parametrize(
        ("found", "base", "missing"),
        [
            ((), None, "ConfigMap mine, which spec.configMapRef names, with a key config"),
            ((config_map("mine", {"other": ""}),), None, "ConfigMap mine, which spec.configMapRef names"),
            ((config_map("mine", {"config": "no"}),), None, "ConfigMap mine to have sections and settings"),
            ((config_map("mine", {"config": "[spdk]\nx = 1\n"}),), {"spdk": {"x": "1"}}, ""),
        ],
    )
    def test_the_file_that_the_spec_names(self, found: Any, base: Any, missing: str) -> None:
        seen = observer(*found)._file(a_gateway({"configMapRef": "mine"}))
        assert (seen[0], seen[1][: len(missing)]) == (base, missing)

    def test_no_file(self) -> None:
        assert observer()._file(a_gateway()) == (None, "")


def shown(gateway: CephNVMeOFGateway, seen: GatewayObservation) -> Any:
    look = Look(obj=gateway, spec=msgspec.to_builtins(gateway.spec), mode=APPLY, now=LATER)
    return show(look, seen, preview(analyze(gateway, seen)))


def condition(status: Any, type_: str) -> Any:
    return next(c for c in status.conditions if c.type == type_)


class TestStatus:
    def test_ready(self) -> None:
        status = shown(a_gateway(), nvmeof_gateways.running(a_gateway()))
        assert status.phase == "Ready"
        assert condition(status, "FieldsHonoured").status == "True"
        assert "never with a gateway" in condition(status, "Ready").message
        assert [(g.id[-1], g.availability, g.ana_group, g.listeners) for g in status.gateways] == [
            ("a", "AVAILABLE", 1, 1),
            ("b", "AVAILABLE", 2, 1),
        ]
        assert (status.subsystems, status.namespaces) == (1, 1)

    def test_what_cannot_be_is_a_failure(self) -> None:
        status = shown(a_gateway({"group": "a b"}), nothing())
        assert (status.phase, condition(status, "Ready").reason) == ("Failure", "InvalidSpec")

    def test_a_group_cannot_be_changed(self) -> None:
        moved = a_gateway({"group": "group-b"})
        told = condition(shown(moved, nvmeof_gateways.running(a_gateway())), "FieldsHonoured")
        assert (told.status, told.reason) == ("False", "ImmutableFieldsDiffer")
        assert "group is group-b, and the gateways stay in group-a" in told.message

    def test_what_is_not_served_is_named(self) -> None:
        gateway = a_gateway({"ports": {"monitorPort": 7000}})
        told = condition(shown(gateway, nvmeof_gateways.running(gateway)), "FieldsHonoured")
        assert (told.status, "ports.monitorPort" in told.message) == ("False", True)

    def test_what_cannot_be_asked_now_stays_as_it_was_known(self) -> None:
        gateway = a_gateway()
        known = msgspec.structs.replace(gateway, status=shown(gateway, nvmeof_gateways.running(gateway)))
        assert shown(known, replace(nothing(), waits_for="x")).gateways == known.status.gateways

    def test_deletion_that_is_blocked(self) -> None:
        gone = a_gateway(deleting=True)
        told = condition(shown(gone, nvmeof_gateways.running(gone)), "DeletionIsBlocked")
        assert told.status == "True"
        assert f"hosts lose {NQN} (replicapool/disk; for any host)" in told.message
        one = Group(gateways=in_map("ab"), listening=at("b"), subsystems=SHOWN)
        status = shown(a_gateway(instances=1), nvmeof_gateways.running(a_gateway(), group=one))
        assert "rook.io/disconnect-nvmeof-hosts" in condition(status, "Ready").message
