"""A cluster of the 2018 API, and the CephCluster that asks for the same."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from controller.apis.ceph import CephCluster
from controller.apis.ceph.v1beta1 import MADE_FROM, Cluster, left_out, to_v1
from controller.apis.schema import schema_of
from tests.unit.apis.structural import violations

TALK = Path(__file__).parents[4] / "manifests/examples/ceph/talk-cluster.yaml"


def cluster(**spec: Any) -> Cluster:
    return msgspec.convert({"metadata": {"name": "rook-ceph", "namespace": "rook-ceph"}, "spec": spec}, Cluster)


def test_the_talks_manifest() -> None:
    talk = msgspec.yaml.decode(TALK.read_bytes(), type=Cluster)

    assert to_v1(talk) == {
        "apiVersion": "ceph.rook.io/v1",
        "kind": "CephCluster",
        "metadata": {"name": "rook-ceph", "annotations": {MADE_FROM: "v1beta1"}},
        "spec": {
            "cephVersion": {"image": "ceph/ceph:v13"},
            "dataDirHostPath": "/var/lib/rook",
            "mon": {"count": 3},
            "storage": {"useAllNodes": True, "deviceFilter": "^sd."},
        },
    }
    assert left_out(talk) == ()


EVERYTHING: dict[str, Any] = {
    "cephVersion": {"image": "ceph/ceph:v13.2.2", "name": "mimic", "allowUnsupported": True},
    "dataDirHostPath": "/var/lib/rook",
    "mon": {"count": 5, "allowMultiplePerNode": True},
    "network": {"hostNetwork": True, "ports": [{"name": "mon", "port": 6789}]},
    "dashboard": {"enabled": True, "urlPrefix": "/ceph"},
    "rbdMirroring": {"workers": 2},
    "placement": {"all": {"tolerations": [{"key": "storage", "operator": "Exists"}]}},
    "resources": {"mon": {"limits": {"memory": "1Gi"}}},
    "storage": {
        "useAllNodes": False,
        "useAllDevices": True,
        "nodeCount": 3,
        "location": "rack=a",
        "directories": [{"path": "/data"}],
        "config": {"storeType": "filestore", "journalSizeMB": "5000", "databaseSizeMB": "1024"},
        "nodes": [
            {
                "name": "n1",
                "useAllDevices": False,
                "location": "rack=b",
                "devices": [{"name": "sdb", "config": {"osdsPerDevice": "2"}}, {"FullPath": "/dev/disk/by-id/x"}],
                "resources": {"limits": {"memory": "4Gi"}},
            },
            {"name": "n2", "deviceFilter": "^vd", "directories": [{"path": "/data"}]},
        ],
    },
}


def test_carries_over_all_that_a_ceph_cluster_can_ask_for() -> None:
    assert to_v1(cluster(**EVERYTHING))["spec"] == {
        "cephVersion": {"image": "ceph/ceph:v13.2.2", "allowUnsupported": True},
        "dataDirHostPath": "/var/lib/rook",
        "mon": {"count": 5, "allowMultiplePerNode": True},
        "network": {"hostNetwork": True},
        "dashboard": {"enabled": True, "urlPrefix": "/ceph"},
        "placement": {"all": {"tolerations": [{"key": "storage", "operator": "Exists"}]}},
        "resources": {"mon": {"limits": {"memory": "1Gi"}}},
        "storage": {
            "useAllDevices": True,
            "config": {"databaseSizeMB": "1024"},
            "nodes": [
                {
                    "name": "n1",
                    "useAllDevices": False,
                    "devices": [
                        {"name": "sdb", "config": {"osdsPerDevice": "2"}},
                        {"fullpath": "/dev/disk/by-id/x"},
                    ],
                    "resources": {"limits": {"memory": "4Gi"}},
                },
                {"name": "n2", "deviceFilter": "^vd"},
            ],
        },
    }


def test_names_what_it_leaves_out() -> None:
    assert left_out(cluster(**EVERYTHING)) == (
        "spec.cephVersion.name",
        "spec.network.ports",
        "spec.rbdMirroring.workers",
        "spec.storage.nodeCount",
        "spec.storage.directories",
        "spec.storage.location",
        "spec.storage.config.storeType",
        "spec.storage.config.journalSizeMB",
        "spec.storage.nodes[0].location",
        "spec.storage.nodes[1].directories",
    )


@pytest.mark.parametrize("spec", [{}, EVERYTHING], ids=["empty", "everything"])
def test_the_result_is_a_valid_ceph_cluster(spec: dict[str, Any]) -> None:
    assert violations(to_v1(cluster(**spec)), schema_of(CephCluster)) == []


def test_labels_and_annotations_come_along_but_for_those_that_tools_know_their_objects_by() -> None:
    old = msgspec.convert(
        {
            "metadata": {
                "name": "c",
                "namespace": "ns",
                "uid": "1",
                "resourceVersion": "2",
                "labels": {
                    "team": "storage",
                    "app.kubernetes.io/instance": "storage",
                    "kustomize.toolkit.fluxcd.io/name": "storage",
                },
                "annotations": {
                    "note": "keep",
                    "rook.io/mode": "plan",
                    "kubectl.kubernetes.io/last-applied-configuration": "{}",
                    "argocd.argoproj.io/tracking-id": "storage:ceph.rook.io/Cluster:ns/c",
                    "meta.helm.sh/release-name": "storage",
                },
            }
        },
        Cluster,
    )

    assert to_v1(old)["metadata"] == {
        "name": "c",
        "namespace": "ns",
        "labels": {"team": "storage"},
        "annotations": {"note": "keep", "rook.io/mode": "plan", MADE_FROM: "v1beta1"},
    }


def test_the_talks_manifest_is_valid() -> None:
    assert violations(yaml.safe_load(TALK.read_text(encoding="utf-8")), schema_of(Cluster)) == []
