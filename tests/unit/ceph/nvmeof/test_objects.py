"""The objects of a gateway, and the script that prepares its files."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from controller.ceph.nvmeof.configuration import parse
from controller.ceph.nvmeof.objects import PREPARE, Gateways, context
from controller.ceph.pods import declared
from tests.unit.ceph.cases import a_cluster, deployment_view
from tests.unit.ceph.nvmeof_gateways import GROUP, IMAGE, NEWER, TENTACLE, a_gateway, made
from tests.unit.ceph.snapshot import assert_matches_snapshot

if TYPE_CHECKING:
    from pathlib import Path

    from controller.apis.ceph import CephCluster, CephNVMeOFGateway
    from informers import JsonObject


def pod_of(obj: JsonObject) -> Any:
    return obj["spec"]["template"]["spec"]


def in_cluster(gateway: CephNVMeOFGateway, cluster: CephCluster) -> Gateways:
    return Gateways(gateway, context(gateway, cluster, TENTACLE), group=GROUP, image=IMAGE, base=None)


def test_deployment() -> None:
    gateway = a_gateway({"resources": {"requests": {"memory": "5Gi"}}})
    assert_matches_snapshot(made(gateway).deployment("a"), "nvmeof-deployment")


def test_configuration() -> None:
    assert_matches_snapshot(made(a_gateway()).config_map("a"), "nvmeof-config")


def test_service() -> None:
    found = made(a_gateway({"ports": {"ioPort": 4421, "gatewayPort": 6000}})).service("b")
    assert [(port["name"], port["port"], port["targetPort"]) for port in found["spec"]["ports"]] == [
        ("io", 4421, 4421),
        ("gateway", 6000, 6000),
        ("monitor", 5999, 5999),
        ("discovery", 8009, 8009),
    ]
    assert found["metadata"]["name"] == "rook-ceph-nvmeof-my-gw-b"
    assert found["spec"]["selector"].items() <= found["metadata"]["labels"].items()


def test_each_gateway_is_told_apart() -> None:
    objects = made(a_gateway())
    for letter in "ab":
        pod = pod_of(objects.deployment(letter))
        name = f"rook-ceph-nvmeof-my-gw-{letter}"
        config = parse(objects.config_map(letter)["data"]["config"])
        assert (pod["hostname"], config["gateway"]["name"]) == (name, name)
        assert config["ceph"]["id"] == f"nvmeof.my-gw.{letter}"
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        assert volumes["gateway-config"]["configMap"]["name"] == f"{name}-config"
        assert volumes["keyring"]["secret"]["secretName"] == f"{name}-keyring"


def test_what_gateways_run_is_no_release_of_the_cluster() -> None:
    # Else the cluster would be seen as one that is being upgraded, for ever.
    assert declared([deployment_view(made(a_gateway()).deployment("a"))]) == frozenset()


def test_images() -> None:
    pod = pod_of(made(a_gateway({"image": "mine:1"}), NEWER).deployment("a"))
    assert [container["image"] for container in pod["initContainers"]] == ["ceph:v20.2.5"]
    assert [container["image"] for container in pod["containers"]] == ["mine:1"]


def test_another_configuration_is_another_pod() -> None:
    first, second = (made(a_gateway(spec)).deployment("a") for spec in ({}, {"nvmeofConfig": {"spdk": {"x": "1"}}}))
    of = [found["spec"]["template"]["metadata"]["annotations"]["config-hash"] for found in (first, second)]
    assert of[0] != of[1]


@pytest.mark.parametrize("size", ["2Mi", "1Gi"])
def test_huge_pages(size: str) -> None:
    pod = pod_of(made(a_gateway({"resources": {"limits": {f"hugepages-{size}": "4Gi"}}})).deployment("a"))
    (container,) = pod["containers"]
    assert {"name": "hugepages", "mountPath": "/dev/hugepages"} in container["volumeMounts"]
    assert {"name": "hugepages", "emptyDir": {"medium": "HugePages"}} in pod["volumes"]


@pytest.mark.parametrize(
    ("probe", "expected"),
    [
        ({}, {"tcpSocket": {"port": 6000}, "periodSeconds": 10, "timeoutSeconds": 5, "failureThreshold": 10}),
        (
            {"probe": {"periodSeconds": 33}},
            {"tcpSocket": {"port": 6000}, "periodSeconds": 33, "timeoutSeconds": 5, "failureThreshold": 10},
        ),
        ({"disabled": True}, None),
    ],
)
def test_liveness(probe: JsonObject, expected: JsonObject | None) -> None:
    gateway = a_gateway({"livenessProbe": probe, "ports": {"gatewayPort": 6000}})
    (container,) = pod_of(made(gateway).deployment("a"))["containers"]
    assert container.get("livenessProbe") == expected
    assert container["startupProbe"]["tcpSocket"] == {"port": 6000}


@pytest.mark.parametrize(
    ("of_cluster", "own", "expected"), [(True, None, True), (True, False, False), (False, True, True)]
)
def test_network(of_cluster: bool, own: bool | None, expected: bool) -> None:
    gateway = a_gateway({} if own is None else {"hostNetwork": own})
    objects = in_cluster(gateway, a_cluster({"network": {"provider": "host"}} if of_cluster else {}))
    pod = pod_of(objects.deployment("a"))
    apart = pod["affinity"]["podAntiAffinity"]
    assert pod.get("hostNetwork", False) is expected
    assert (objects.service("a")["spec"].get("clusterIP") == "None") is expected
    assert ("requiredDuringSchedulingIgnoredDuringExecution" in apart) is expected
    assert ("hostname" in pod) is not expected


def test_no_budget_where_the_cluster_wants_none() -> None:
    assert [budget["spec"]["maxUnavailable"] for budget in made(a_gateway()).budget()] == [1]
    off = in_cluster(a_gateway(), a_cluster({"disruptionManagement": {"managePodBudgets": False}}))
    assert off.budget() == ()


@pytest.mark.parametrize("address", ["10.0.0.7", "fd00::7"])
def test_files_are_prepared(tmp_path: Path, address: str) -> None:
    script = PREPARE
    for path in ("/etc/nvmeof-config", "/etc/ceph-keyring", "/etc/ceph-override"):
        script = script.replace(path, str(tmp_path / path.rpartition("/")[2]))
        (tmp_path / path.rpartition("/")[2]).mkdir()
    script = script.replace("/etc/ceph/", f"{tmp_path}/")
    (tmp_path / "ceph-override" / "ceph.conf").write_text("[global]\nms_type = x\n")
    (tmp_path / "ceph-keyring" / "keyring").write_text("[client.x]\nkey = k\n")
    (tmp_path / "nvmeof-config" / "nvmeof.conf").write_text(made(a_gateway()).config_map("a")["data"]["config"])
    environment = {"ROOK_CEPH_MON_HOST": "[v2:10.0.0.1:3300]", "POD_IP": address, "PATH": "/usr/bin:/bin"}
    subprocess.run(["sh", "-euc", script], env=environment, check=True)
    lines = (tmp_path / "ceph.conf").read_text().splitlines()
    assert lines[:2] == ["[global]", "ms_type = x"]
    assert lines[3:6] == ["[global]", "mon_host = [v2:10.0.0.1:3300]", "log_to_stderr = true"]
    assert (tmp_path / "keyring").read_text() == "[client.x]\nkey = k\n"
    assert (tmp_path / "keyring").stat().st_mode & 0o077 == 0
    found = parse((tmp_path / "nvmeof.conf").read_text())
    assert found["gateway"]["addr"] == address
    assert "@@" not in (tmp_path / "nvmeof.conf").read_text()
