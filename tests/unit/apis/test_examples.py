"""The examples are valid, safe to apply, and fit together."""

import json
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from controller.apis.ceph import CephBlockPool, CephCluster
from controller.apis.registry import KINDS
from controller.apis.schema import schema_of
from controller.ceph.rbd.encryption import CONFIG_MAPS
from controller.ceph.rbd.qos import check
from tests.unit.apis.structural import violations

EVERY = Path(__file__).parents[3] / "manifests/examples"
EXAMPLES = EVERY / "ceph"
TYPES = {(kind.api_version, kind.kind): struct for kind, struct in KINDS.items()}


def documents(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((EXAMPLES / name).read_text(encoding="utf-8")))


def every_document() -> list[tuple[str, dict[str, Any]]]:
    return [
        (f"{path.parent.name}/{path.name}", document)
        for path in sorted(EVERY.glob("*/*.yaml"))
        for document in yaml.safe_load_all(path.read_text(encoding="utf-8"))
    ]


OURS = [(name, document) for name, document in every_document() if ".rook.io/" in document["apiVersion"]]


@pytest.mark.parametrize(("name", "document"), OURS, ids=[name for name, _ in OURS])
def test_is_valid(name: str, document: dict[str, Any]) -> None:
    struct = TYPES[document["apiVersion"], document["kind"]]

    assert violations(document, schema_of(struct)) == []
    msgspec.convert(document, struct)


@pytest.mark.parametrize("name", ["cluster.yaml", "cluster-test.yaml"])
def test_a_cluster_takes_no_device_that_nobody_named(name: str) -> None:
    (document,) = (d for d in documents(name) if d["kind"] == "CephCluster")
    cluster = msgspec.convert(document, CephCluster)
    storage = cluster.spec.storage

    assert not storage.use_all_nodes
    assert not storage.use_all_devices
    assert not any(node.use_all_devices for node in storage.nodes)
    assert cluster.spec.cleanup_policy.confirmation == ""
    assert cluster.spec.ceph_version.image.rpartition(":")[2].count(".") == 2, "the image must be a full version"


def test_the_storage_class_finds_its_pool_and_cluster_and_postgres_its_class() -> None:
    (storage_class,) = documents("storageclass.yaml")
    pool = msgspec.convert(documents("pool.yaml")[0], CephBlockPool)
    parameters = storage_class["parameters"]
    stateful_set = documents("postgres.yaml")[-1]
    claims = [documents("pvc.yaml")[0], *stateful_set["spec"]["volumeClaimTemplates"]]

    assert parameters["pool"] == pool.metadata.name
    assert parameters["clusterID"] == pool.metadata.namespace
    assert storage_class["provisioner"] == f"{pool.metadata.namespace}.rbd.csi.ceph.com"
    assert {claim["spec"]["storageClassName"] for claim in claims} == {storage_class["metadata"]["name"]}


def test_the_encrypted_class_finds_its_secret_and_its_kms_and_has_no_key_of_anybodys() -> None:
    secret, config_map, storage_class = documents("storageclass-encrypted.yaml")
    (plain,) = documents("storageclass.yaml")
    parameters = storage_class["parameters"]
    kms = json.loads(config_map["data"]["config.json"])

    assert (parameters["csi.storage.k8s.io/node-stage-secret-name"], config_map["metadata"]["name"]) == (
        secret["metadata"]["name"],
        CONFIG_MAPS[0],
    )
    assert kms[parameters["encryptionKMSID"]] == {"encryptionKMSType": "metadata"}
    assert secret["stringData"].keys() == {"userID", "userKey", "encryptionPassphrase"}
    assert all(secret["stringData"][key].startswith("REPLACE") for key in ("userKey", "encryptionPassphrase"))
    changed = {"encrypted", "encryptionKMSID", "csi.storage.k8s.io/node-stage-secret-name"}
    same = {key: value for key, value in parameters.items() if key not in changed}
    assert same.items() <= plain["parameters"].items()


@pytest.mark.parametrize("kind", ["", "filesystem-"])
def test_snapshots_are_of_the_claim_and_its_class(kind: str) -> None:
    (storage_class,), (snapshot_class,) = (
        documents(f"{kind}storageclass.yaml"),
        documents(f"{kind}snapshotclass.yaml"),
    )
    (claim,), (snapshot, *restored) = documents(f"{kind}pvc.yaml"), documents(f"{kind}snapshot.yaml")

    assert snapshot_class["driver"] == storage_class["provisioner"]
    assert snapshot["spec"]["volumeSnapshotClassName"] == snapshot_class["metadata"]["name"]
    assert snapshot["spec"]["source"]["persistentVolumeClaimName"] == claim["metadata"]["name"]
    assert restored
    for copy in restored:
        assert copy["spec"]["dataSource"]["name"] == snapshot["metadata"]["name"]
        assert copy["spec"]["storageClassName"] == storage_class["metadata"]["name"]


def test_group_snapshots_are_of_the_classes_driver() -> None:
    (storage_class,), (group_class,) = documents("storageclass.yaml"), documents("groupsnapshotclass.yaml")
    (group,) = documents("groupsnapshot.yaml")

    assert group_class["driver"] == storage_class["provisioner"]
    assert group_class["parameters"]["pool"] == storage_class["parameters"]["pool"]
    assert group["spec"]["volumeGroupSnapshotClassName"] == group_class["metadata"]["name"]
    assert "exclusive-lock" in storage_class["parameters"]["imageFeatures"], "without, the class has no group snapshots"


def test_attributes_are_of_the_storage_class_and_known() -> None:
    (storage_class,) = documents("storageclass.yaml")
    classes = documents("volumeattributesclass.yaml")
    assert classes
    for found in classes:
        assert found["driverName"] == storage_class["provisioner"]
        check(found["parameters"])


def test_the_application_on_cassandra_finds_its_cluster() -> None:
    (cluster,) = yaml.safe_load_all((EVERY / "cassandra/cluster.yaml").read_text(encoding="utf-8"))
    made = list(yaml.safe_load_all((EVERY / "cassandra/application.yaml").read_text(encoding="utf-8")))
    pod = made[-1]["spec"]["template"]["spec"]
    name, datacenter = cluster["metadata"]["name"], cluster["spec"]["datacenter"]
    prepare, work = (
        {e["name"]: e.get("value") or e["valueFrom"]["secretKeyRef"]["name"] for e in container["env"]}
        for container in (*pod["initContainers"], *pod["containers"])
    )

    assert {document["metadata"]["namespace"] for document in made} == {cluster["metadata"]["namespace"]}
    assert prepare["CASSANDRA"] == work["CASSANDRA"] == f"{name}-client"
    assert prepare["SHOP_PASSWORD"] == work["SHOP_PASSWORD"] == made[0]["metadata"]["name"]
    assert prepare["DATACENTER"] == datacenter["name"]
    assert prepare["SUPERUSER_PASSWORD"] == f"{name}-superuser"
    assert "SUPERUSER_PASSWORD" not in work, "who works has no right but its own"
    assert sum(rack["members"] for rack in datacenter["racks"]) >= 3, "there are three copies"
    version = cluster["spec"]["version"]
    images = {container["image"] for container in (*pod["initContainers"], *pod["containers"])}
    assert images == {f"docker.io/library/cassandra:{version}"}, "no image but the cluster's"
    homes = [m["name"] for c in (*pod["initContainers"], *pod["containers"]) for m in c["volumeMounts"]]
    assert (homes.count("home"), homes.count("home-of-prepare")) == (1, 1), "the superuser's password is not shared"


def test_the_application_on_cassandra_hands_passwords_over_in_files_and_quotes_them(tmp_path: Path) -> None:
    made = list(yaml.safe_load_all((EVERY / "cassandra/application.yaml").read_text(encoding="utf-8")))
    script, cqlsh = tmp_path / "shop.sh", tmp_path / "cqlsh"
    script.write_text(made[1]["data"]["shop.sh"])
    cqlsh.write_text('#!/bin/sh\necho "$*" > "$HOME/arguments"\nexec cat\n')
    cqlsh.chmod(0o755)
    environment = {"HOME": str(tmp_path), "PATH": f"{tmp_path}:/usr/bin:/bin", "CASSANDRA": "host", "DATACENTER": "dc1"}
    environment |= {"SUPERUSER_USERNAME": "root", "SUPERUSER_PASSWORD": "secret%s&"}
    environment |= {"SHOP_USERNAME": 'a"b', "SHOP_PASSWORD": "it's & \\"}
    done = subprocess.run(["sh", script, "prepare"], env=environment, check=True, capture_output=True, text=True)

    assert """CREATE ROLE IF NOT EXISTS "a""b" WITH LOGIN = true AND PASSWORD = 'it''s & \\';""" in done.stdout
    assert (tmp_path / "arguments").read_text().split() == ["--ssl", "--credentials", f"{tmp_path}/login", "host"]
    login = tmp_path / "login"
    assert login.read_text() == "[plain_text_auth]\nusername = root\npassword = secret%s&\n"
    assert login.stat().st_mode & 0o077 == 0, "cqlsh takes no file that others can read"


def test_a_pool_loses_no_data_with_one_device() -> None:
    replicated = msgspec.convert(documents("pool.yaml")[0], CephBlockPool).spec
    coded = msgspec.convert(documents("pool-ec.yaml")[0], CephBlockPool).spec

    assert replicated.replicated.size >= 2
    assert replicated.replicated.require_safe_replica_size
    assert coded.erasure_coded.coding_chunks >= 1
    assert coded.replicated.size == 0
