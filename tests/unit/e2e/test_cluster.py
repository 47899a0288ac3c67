"""The cluster: its plan, its state file and what kind is told."""

import json
from pathlib import Path

import pytest

from e2e import cluster


@pytest.fixture(autouse=True)
def _root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROOK_CACHE", str(tmp_path))


def test_nodes_have_the_names_that_kind_gives_them() -> None:
    planned = cluster.planned("rook", "node:1", workers=3, disks_per_worker=1)
    assert planned.nodes == ("rook-control-plane", "rook-worker", "rook-worker2", "rook-worker3")


def test_every_disk_belongs_to_one_worker_and_has_a_file_of_its_own(tmp_path: Path) -> None:
    planned = cluster.planned("rook", "node:1", workers=2, disks_per_worker=2)
    assert [disk.node for disk in planned.disks] == ["rook-worker"] * 2 + ["rook-worker2"] * 2
    backings = [disk.backing for disk in planned.disks]
    assert len(set(backings)) == len(backings)
    assert all(Path(backing).is_relative_to(tmp_path / "clusters" / "rook") for backing in backings)


def test_a_worker_has_the_devices_that_are_its_own() -> None:
    disks = (cluster.Disk("a", "/1", "/dev/loop1"), cluster.Disk("b", "/2", "/dev/loop2"))
    state = cluster.Cluster("rook", "node:1", "c", ("a", "b"), disks)
    assert state.devices("b") == ("/dev/loop2",)
    assert state.devices("c") == ()


def test_the_state_file_gives_back_what_was_written() -> None:
    assert cluster.read("rook") is None
    planned = cluster.planned("rook", "node:1", workers=3, disks_per_worker=2)
    cluster.write(planned)
    assert cluster.read("rook") == planned
    assert cluster.read("other") is None


def test_kind_is_told_of_all_nodes_and_what_they_mount() -> None:
    planned = cluster.planned("rook", "node:1", workers=3, disks_per_worker=1)
    config = cluster.kind_config(planned, artifacts=Path("/cache/artifacts"), cgroup_v1=False)
    nodes = config["nodes"]
    assert isinstance(nodes, list)
    assert [node["role"] for node in nodes] == ["control-plane", "worker", "worker", "worker"]
    for node in nodes:
        mounts = {mount["hostPath"]: mount for mount in node["extraMounts"]}
        assert mounts["/dev"]["containerPath"] == "/dev"
        assert mounts["/cache/artifacts"]["readOnly"] is True
    assert "kubeadmConfigPatches" not in config


def test_the_kubelet_is_told_to_bear_with_cgroup_v1_only_where_there_is_one() -> None:
    planned = cluster.planned("rook", "node:1", workers=1, disks_per_worker=1)
    config = cluster.kind_config(planned, artifacts=Path("/cache"), cgroup_v1=True)
    patches = config["kubeadmConfigPatches"]
    assert isinstance(patches, list)
    assert json.loads(patches[0])["failCgroupV1"] is False


@pytest.mark.parametrize("cgroup_v1", [True, False])
def test_the_kubelet_of_a_quick_cluster_looks_more_often_and_the_state_says_so(cgroup_v1: bool) -> None:
    planned = cluster.planned("rook", "node:1", workers=1, disks_per_worker=1, quick=True)
    patches = cluster.kind_config(planned, artifacts=Path("/cache"), cgroup_v1=cgroup_v1)["kubeadmConfigPatches"]
    assert isinstance(patches, list)
    kubelet = json.loads(patches[0])
    assert kubelet["nodeStatusUpdateFrequency"] == "1s"
    assert ("failCgroupV1" in kubelet) is cgroup_v1
    cluster.write(planned)
    found = cluster.read("rook")
    assert found is not None
    assert found.quick


def test_only_nodes_whose_condition_says_so_are_ready() -> None:
    listed = {
        "items": [
            {"metadata": {"name": "a"}, "status": {"conditions": [{"type": "Ready", "status": "True"}]}},
            {"metadata": {"name": "b"}, "status": {"conditions": [{"type": "Ready", "status": "Unknown"}]}},
            {"metadata": {"name": "c"}, "status": {"conditions": [{"type": "DiskPressure", "status": "True"}]}},
            {"metadata": {"name": "d"}, "status": {}},
        ]
    }
    assert cluster.ready_nodes(listed) == {"a"}
