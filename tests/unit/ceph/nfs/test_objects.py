"""The objects of a server; and the program that asks whether it lives, against a server that answers as NFS does."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from controller.ceph.nfs.objects import (
    PING,
    START,
    config_map,
    context,
    server_budget,
    server_deployment,
    service,
)
from controller.ceph.pods import declared
from tests.unit.ceph.cases import RELEASE, a_cluster, deployment_view
from tests.unit.ceph.nfs_servers import PLAIN, a_context, a_nfs
from tests.unit.ceph.snapshot import assert_matches_snapshot

SECURITY: dict[str, Any] = {
    "kerberos": {
        "principalName": "nfs",
        "domainName": "EXAMPLE.NET",
        "configFiles": {"volumeSource": {"configMap": {"name": "krb5"}}},
        "keytabFile": {"volumeSource": {"secret": {"secretName": "keytab", "defaultMode": 384}}},
    },
    "sssd": {
        "sidecar": {
            "image": "sssd:latest",
            "debugLevel": 3,
            "resources": {"limits": {"memory": "1Gi"}},
            "sssdConfigFile": {"volumeSource": {"secret": {"secretName": "sssd", "defaultMode": 384}}},
            "additionalFiles": [{"subPath": "ca", "volumeSource": {"configMap": {"name": "ca"}}}],
        }
    },
}


def test_deployment() -> None:
    nfs = a_nfs({"server": {"active": 1, "resources": {"requests": {"memory": "1Gi"}}}})
    assert_matches_snapshot(server_deployment(nfs, a_context(nfs), "a"), "nfs-deployment")


def test_an_image_of_its_own_is_no_release_of_the_cluster() -> None:
    nfs = a_nfs({"server": {"active": 1, "image": "ganesha:6", "imagePullPolicy": "Always"}})
    found = server_deployment(nfs, a_context(nfs), "a")
    (container,) = found["spec"]["template"]["spec"]["containers"]
    assert (container["image"], container["imagePullPolicy"]) == ("ganesha:6", "Always")
    # Else the cluster would be seen as one that is being upgraded, for ever.
    assert declared([deployment_view(found)]) == frozenset()
    plain = a_nfs(active=1)
    assert declared([deployment_view(server_deployment(plain, a_context(plain), "a"))]) == frozenset({RELEASE})


def test_configuration() -> None:
    nfs = a_nfs()
    assert_matches_snapshot(config_map(nfs, a_context(nfs), "a"), "nfs-config")


def test_kerberos_and_sssd() -> None:
    nfs = a_nfs({**PLAIN, "security": SECURITY})
    assert_matches_snapshot(server_deployment(nfs, a_context(nfs), "a"), "nfs-deployment-secured")
    assert_matches_snapshot(config_map(nfs, a_context(nfs), "a"), "nfs-config-secured")


def test_sssd_without_a_container_of_its_own() -> None:
    nfs = a_nfs({**PLAIN, "security": {"sssd": {}}})
    pod = server_deployment(nfs, a_context(nfs), "a")["spec"]["template"]["spec"]
    assert [container["name"] for container in pod["containers"]] == ["nfs-ganesha"]
    assert "/etc/nsswitch.conf" in [mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]]


def test_services() -> None:
    nfs = a_nfs({"server": {"active": 1, "port": 12049}})
    found = service(nfs, a_context(nfs), "a")
    assert [(port["name"], port["port"]) for port in found["spec"]["ports"]] == [("nfs", 12049), ("nfs-metrics", 9587)]
    assert found["metadata"]["name"] == "rook-ceph-nfs-my-nfs-a"
    assert found["spec"]["selector"].items() <= found["metadata"]["labels"].items()


@pytest.mark.parametrize(
    ("of_cluster", "own", "expected"), [(True, None, True), (True, False, False), (False, True, True)]
)
def test_network(of_cluster: bool, own: bool | None, expected: bool) -> None:
    nfs = a_nfs({"server": {"active": 1, **({} if own is None else {"hostNetwork": own})}})
    cluster = a_cluster({"network": {"provider": "host"}} if of_cluster else {})
    given = context(nfs, cluster, RELEASE)
    pod = server_deployment(nfs, given, "a")["spec"]["template"]["spec"]
    apart = pod["affinity"]["podAntiAffinity"]
    assert pod.get("hostNetwork", False) is expected
    assert (service(nfs, given, "a")["spec"].get("clusterIP") == "None") is expected
    assert ("requiredDuringSchedulingIgnoredDuringExecution" in apart) is expected
    assert ("hostname" in pod) is not expected


def test_no_budget_where_the_cluster_wants_none() -> None:
    nfs = a_nfs()
    assert [b["spec"]["maxUnavailable"] for b in server_budget(a_context(nfs))] == [1]
    off = context(nfs, a_cluster({"disruptionManagement": {"managePodBudgets": False}}), RELEASE)
    assert server_budget(off) == ()


def test_settings_of_ceph_are_the_users_and_then_ours(tmp_path: Path) -> None:
    script = START.replace("/etc/ceph-override", str(tmp_path / "o")).replace("/etc/ceph/", f"{tmp_path}/")
    script = script.replace("exec ganesha.nfsd", "exec echo")
    (tmp_path / "o").mkdir()
    (tmp_path / "o" / "ceph.conf").write_text("[global]\nms_type = x\n")
    environment = {"ROOK_CEPH_MON_HOST": "[v2:10.0.0.1:3300]", "PATH": "/usr/bin:/bin"}
    command = ["sh", "-euc", script, "sh", "client.nfs-ganesha.my-nfs.a", "-F", "-N", "NIV_INFO"]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    assert done.stdout == "-F -N NIV_INFO\n"
    lines = (tmp_path / "ceph.conf").read_text().splitlines()
    assert lines[:2] == ["[global]", "ms_type = x"]
    assert lines[3:6] == ["[global]", "mon_host = [v2:10.0.0.1:3300]", "[client.nfs-ganesha.my-nfs.a]"]
    assert lines[6].startswith("keyring = ")


@pytest.mark.parametrize(("answer", "code"), [(True, 0), (False, 1)])
def test_whether_a_server_lives(answer: bool, code: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            connection, _ = listening.accept()
            with connection:
                call = connection.recv(1024)
                # A record mark, the call's number, and that it is an answer which was accepted.
                number = call[4:8] if answer else b"nope"
                connection.sendall(b"\x80\x00\x00\x18" + number + bytes(20))

        thread = threading.Thread(target=serve)
        thread.start()
        port = str(listening.getsockname()[1])
        done = subprocess.run([sys.executable, "-ISc", PING, port], check=False)
        thread.join()
    assert done.returncode == code
