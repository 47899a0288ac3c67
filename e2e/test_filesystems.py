"""File systems: made by a manifest, served while MDS daemons die and ranks come and go, and never lost unasked."""

import hashlib
from collections.abc import Iterator

import pytest

from e2e import environment as env
from e2e import filesystems, host, leftovers, pods, snapshots
from e2e.api import Manifest, load
from e2e.environment import Environment
from e2e.eventually import NotYetError, eventually
from e2e.filesystems import GROUP, NAME

MDS = f"app=rook-ceph-mds,rook_file_system={NAME}"
CLIENT = "rook-ceph-files"
# Each row is in the file system before the next begins; the pod's own file has the last one that was.
WRITER = """
import os, pathlib
number, rows = 0, os.open("/files/rows", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
while True:
    number += 1
    os.write(rows, b"%d\\n" % number)
    os.fsync(rows)
    pathlib.Path("/etc/ceph/written").write_text(str(number))
"""


@pytest.fixture(scope="module")
def filesystem(environment: Environment) -> Iterator[str]:
    """The example's file system."""
    filesystems.make(environment)
    yield NAME
    filesystems.remove(environment)  # a scenario has failed


@pytest.fixture(scope="module")
def client(environment: Environment, filesystem: str) -> Iterator[str]:
    """A pod that has the file system at /files, and writes rows into it."""
    (toolbox,) = load(env.EXAMPLES / "toolbox.yaml")
    template = toolbox["spec"]["template"]
    for labels in (
        toolbox["metadata"]["labels"],
        toolbox["spec"]["selector"]["matchLabels"],
        template["metadata"]["labels"],
    ):
        labels["app"] = CLIENT
    toolbox["metadata"].update(name=CLIENT, namespace=env.NAMESPACE)
    (container,) = template["spec"]["containers"]
    container.update(name="client", image=environment.images["ceph"], securityContext={"privileged": True})
    environment.api.apply(toolbox)

    def look() -> str:
        pods = env.running(environment.api.list("Pod", env.NAMESPACE, labels=f"app={CLIENT}"))
        if not pods:
            raise NotYetError("its pod to be ready")
        return str(pods[0]["metadata"]["name"])

    pod = eventually("the client", look, deadline=60)
    mount = f'mkdir /files && ceph-fuse --id "${{CEPH_USER#client.}}" --client_fs {filesystem} /files'
    shell(environment, pod, mount)
    environment.execute(
        pod, "sh", "-c", 'nohup python3 -c "$0" >/dev/null 2>&1 &', WRITER, namespace=env.NAMESPACE, container="client"
    )
    yield pod
    environment.api.delete("Deployment", CLIENT, env.NAMESPACE)


def shell(environment: Environment, pod: str, script: str) -> str:
    return environment.execute(pod, "bash", "-c", script, namespace=env.NAMESPACE, container="client")


def written(environment: Environment, pod: str) -> int:
    """The last row that the file system has taken."""
    return int(shell(environment, pod, "cat /etc/ceph/written 2>/dev/null || echo 0") or 0)


def wait_for_rows(environment: Environment, pod: str, more: int = 20) -> None:
    """Wait until so many more rows are in the file system."""
    wanted = written(environment, pod) + more

    def look() -> None:
        if (number := written(environment, pod)) < wanted:
            raise NotYetError(f"{number} of {wanted} rows")

    eventually("rows", look, deadline=120)


def states(environment: Environment) -> dict[str, str]:
    """The state of each MDS daemon of the file system, as Ceph says."""
    (found,) = (fs for fs in env.ceph(environment, "fs", "dump")["filesystems"] if fs["mdsmap"]["fs_name"] == NAME)
    return {info["name"]: info["state"] for info in found["mdsmap"]["info"].values()}


def named(environment: Environment, state: str) -> list[str]:
    return sorted(name for name, present in states(environment).items() if present == state)


def test_a_file_system_is_as_its_spec_says(environment: Environment, filesystem: str) -> None:
    def look() -> None:
        if sorted(states(environment).values()) != ["up:active", "up:standby-replay"]:
            raise NotYetError(str(states(environment)))

    eventually("one daemon that serves and one that follows", look, deadline=60)
    (found,) = (fs for fs in env.ceph(environment, "fs", "ls") if fs["name"] == filesystem)
    assert (found["metadata_pool"], found["data_pools"]) == ("myfs-metadata", ["myfs-replicated"])
    group = env.ceph(environment, "fs", "subvolumegroup", "info", filesystem, GROUP)
    assert group["bytes_quota"] == 100 << 30
    assert {group["name"] for group in env.ceph(environment, "fs", "subvolumegroup", "ls", filesystem)} == {
        GROUP,
        "csi",
    }


def test_rows_are_written_while_the_daemon_that_serves_dies_and_ranks_come_and_go(
    environment: Environment, client: str
) -> None:
    wait_for_rows(environment, client)
    (victim,) = named(environment, "up:active")
    (pod,) = environment.api.list("Pod", env.NAMESPACE, labels=f"{MDS},mds={victim}")
    environment.api.delete("Pod", pod["metadata"]["name"], env.NAMESPACE, grace_seconds=0)

    def taken_over() -> None:
        serving = named(environment, "up:active")
        if not serving or serving == [victim]:
            raise NotYetError(str(states(environment)))

    eventually("another daemon to serve", taken_over, deadline=60)
    wait_for_rows(environment, client)

    for ranks in (2, 1):
        change: Manifest = {"spec": {"metadataServer": {"activeCount": ranks}}}
        environment.api.patch("CephFilesystem", NAME, env.NAMESPACE, change)
        env.wait_for_phase(environment, "CephFilesystem", NAME, deadline=240)
        assert len(named(environment, "up:active")) == ranks
        assert len(environment.api.list("Deployment", env.NAMESPACE, labels=MDS)) == 2 * ranks
        wait_for_rows(environment, client)

    last = written(environment, client)
    rows = shell(environment, client, f"head -n {last} /files/rows | md5sum; seq {last} | md5sum").split()
    assert rows[0] == rows[2], f"the first {last} rows are not those that were written"


@pytest.fixture
def shared(environment: Environment, filesystem: str, namespace: str) -> Iterator[str]:
    """A claim for many nodes; nothing is left of it afterwards."""
    name = filesystems.make_class(environment)
    pods.claim(environment, namespace, "shared", storage_class=name, size="256Mi", access="ReadWriteMany")
    yield "shared"
    volume = pods.volume_of(environment, namespace, "shared")["metadata"]["name"]
    environment.api.delete("PersistentVolumeClaim", "shared", namespace)
    env.gone(environment, "PersistentVolumeClaim", "shared", namespace)
    env.gone(environment, "PersistentVolume", volume, deadline=120)
    assert filesystems.subvolumes(environment) == []
    environment.api.delete("StorageClass", name)


def test_pods_on_all_nodes_write_one_volume_while_it_grows_and_the_agent_dies(
    environment: Environment, shared: str, namespace: str
) -> None:
    for node in environment.workers:
        pods.pod(environment, namespace, node, shared, node=node)
    for node in environment.workers:
        pods.wait(environment, namespace, node)
    volume = pods.volume_of(environment, namespace, shared)
    assert filesystems.subvolumes(environment) == [volume["spec"]["csi"]["volumeAttributes"]["subvolumeName"]]
    written = {
        node: pods.shell(
            environment, namespace, node, f"head -c 4M /dev/urandom | tee {pods.PATH}/{node} | md5sum; sync"
        )
        for node in environment.workers
    }
    for node in environment.workers:
        for other, digest in written.items():
            assert pods.shell(environment, namespace, node, f"md5sum < {pods.PATH}/{other}") == digest

    for pod in environment.api.list("Pod", env.NAMESPACE, labels="app=rook-agent"):
        environment.api.delete("Pod", pod["metadata"]["name"], env.NAMESPACE, grace_seconds=0)
    larger = {"spec": {"resources": {"requests": {"storage": "512Mi"}}}}
    environment.api.patch("PersistentVolumeClaim", shared, namespace, larger)
    for node in environment.workers:
        pods.shell(environment, namespace, node, f"echo more >> {pods.PATH}/all; sync {pods.PATH}/all")

    def grown() -> None:
        found = environment.api.get("PersistentVolumeClaim", shared, namespace)["status"]["capacity"]["storage"]
        if found != "512Mi":
            raise NotYetError(found)

    eventually("the volume to grow", grown, deadline=60)
    assert pods.shell(environment, namespace, environment.workers[0], f"wc -l < {pods.PATH}/all") == "3"
    env.wait_for_chart(environment)
    for node in environment.workers:
        pods.delete(environment, namespace, node)


def test_a_directory_that_was_made_by_hand_is_used_and_kept(
    environment: Environment, client: str, namespace: str
) -> None:
    shell(environment, client, "mkdir -m 777 /files/by-hand && echo kept > /files/by-hand/file")
    name = f"by-hand-{namespace}"
    attributes = {"clusterID": env.NAMESPACE, "fsName": NAME, "staticVolume": "true", "rootPath": "/by-hand"}
    csi = {
        "driver": "rook-ceph.cephfs.csi.ceph.com",
        "volumeHandle": name,
        "volumeAttributes": attributes,
        "nodeStageSecretRef": {"name": "rook-csi-cephfs-node", "namespace": env.NAMESPACE},
    }
    volume: Manifest = {
        "capacity": {"storage": "1Gi"},
        "accessModes": ["ReadWriteMany"],
        "persistentVolumeReclaimPolicy": "Delete",
        "csi": csi,
        "claimRef": {"namespace": namespace, "name": "by-hand"},
    }
    environment.api.apply({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name}, "spec": volume})
    pods.claim(environment, namespace, "by-hand", storage_class="", size="1Gi", access="ReadWriteMany")
    pods.pod(environment, namespace, "reader", "by-hand")
    pods.wait(environment, namespace, "reader")
    added = f"cat {pods.PATH}/file; echo more > {pods.PATH}/more; sync {pods.PATH}/more"
    assert pods.shell(environment, namespace, "reader", added) == "kept"
    pods.delete(environment, namespace, "reader")
    environment.api.delete("PersistentVolumeClaim", "by-hand", namespace)
    env.gone(environment, "PersistentVolumeClaim", "by-hand", namespace)
    environment.api.delete("PersistentVolume", name)
    env.gone(environment, "PersistentVolume", name)
    assert shell(environment, client, "cat /files/by-hand/*; rm -r /files/by-hand").split() == ["kept", "more"]


@pytest.fixture
def nothing_left(environment: Environment, filesystem: str) -> Iterator[None]:
    """Of what a scenario makes of volumes, nothing is left once its namespace is gone."""
    before = leftovers.found(environment)
    yield
    leftovers.gone(environment, before)


def test_the_client_of_a_node_that_is_out_of_service_is_evicted(
    environment: Environment, nothing_left: None, namespace: str
) -> None:
    """It does not answer any more, but may again: by then another node has the volume."""
    first, second = environment.workers[:2]
    pods.claim(environment, namespace, "one", storage_class=filesystems.make_class(environment), size="256Mi")
    pods.pod(environment, namespace, "holder", "one", node=first)
    pods.wait(environment, namespace, "holder")
    pods.shell(environment, namespace, "holder", f"echo kept > {pods.PATH}/file; sync {pods.PATH}/file")
    volume = pods.volume_of(environment, namespace, "one")
    csi = volume["spec"]["csi"]
    root = csi["volumeAttributes"]["subvolumePath"]
    (client,) = filesystems.clients_at(environment, root)
    report = environment.api.get("NodeReport", first, env.NAMESPACE)
    assert client in [c.get("address") for c in report["clients"] if c["volumeHandle"] == csi["volumeHandle"]]

    process = f"ceph-fuse.*{hashlib.sha256(csi['volumeHandle'].encode()).hexdigest()}"  # where the kubelet stages it
    host.run_on(first, "pkill", "-STOP", "-f", process)
    taint = {"key": "node.kubernetes.io/out-of-service", "value": "nodeshutdown", "effect": "NoSchedule"}
    environment.api.patch("Node", first, "", {"spec": {"taints": [taint]}})
    try:
        environment.api.delete("Pod", "holder", namespace, grace_seconds=0)
        pods.pod(environment, namespace, "next", "one", node=second)
        pods.wait(environment, namespace, "next", deadline=120)
        assert pods.shell(environment, namespace, "next", f"cat {pods.PATH}/file") == "kept"
        assert client in env.ceph(environment, "osd", "dump")["blocklist"]
        assert client not in filesystems.clients_at(environment, root)
    finally:
        environment.api.patch("Node", first, "", {"spec": {"taints": None}})
        host.run_on(first, "pkill", "-CONT", "-f", process)
    pods.delete(environment, namespace, "next")


@pytest.fixture
def classes(environment: Environment, filesystem: str) -> Iterator[str]:
    """The examples' classes for volumes of the file system and for their snapshots, of one name; nothing is left."""
    snapshots.install(environment)
    found = [
        *load(env.EXAMPLES / "filesystem-storageclass.yaml"),
        *load(env.EXAMPLES / "filesystem-snapshotclass.yaml"),
    ]
    for manifest in found:
        environment.api.apply(manifest)
    (name,) = {manifest["metadata"]["name"] for manifest in found}
    yield name

    def look() -> None:
        if left := filesystems.subvolumes(environment):
            raise NotYetError(f"{', '.join(left)} to go")

    eventually("all subvolumes to go", look, deadline=60)
    for manifest in found:
        environment.api.delete(manifest["kind"], name)


def restore(environment: Environment, namespace: str, claim: str, snapshot: str, storage_class: str, mode: str) -> None:
    """Ask for a volume of a snapshot."""
    spec = {
        "storageClassName": storage_class,
        "accessModes": [mode],
        "resources": {"requests": {"storage": "256Mi"}},
        "dataSource": {"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": snapshot},
    }
    meta = {"name": claim, "namespace": namespace}
    environment.api.apply({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": meta, "spec": spec})


def forget(environment: Environment, namespace: str, claim: str) -> None:
    """Delete a claim, and wait until its volume is gone."""
    volume = pods.volume_of(environment, namespace, claim)["metadata"]["name"]
    environment.api.delete("PersistentVolumeClaim", claim, namespace)
    env.gone(environment, "PersistentVolumeClaim", claim, namespace)
    env.gone(environment, "PersistentVolume", volume, deadline=120)


def test_a_snapshot_is_restored_and_shown_whatever_becomes_of_its_source(
    environment: Environment, classes: str, namespace: str
) -> None:
    here, there, _ = environment.workers
    file = f"{pods.PATH}/file"
    pods.claim(environment, namespace, "source", storage_class=classes, size="256Mi", access="ReadWriteMany")
    pods.pod(environment, namespace, "writer", "source", node=here)
    pods.wait(environment, namespace, "writer")
    write = f"head -c 16M /dev/urandom | tee {file} | md5sum; sync {file}"
    first = pods.shell(environment, namespace, "writer", write)
    snapshots.take(environment, namespace, "monday", "source", snapshot_class=classes)
    second = pods.shell(environment, namespace, "writer", write)

    # A copy, and the snapshot itself for readers on two nodes, while the source has other data.
    restore(environment, namespace, "restored", "monday", classes, "ReadWriteMany")
    restore(environment, namespace, "shown", "monday", classes, "ReadOnlyMany")
    pods.pod(environment, namespace, "restored", "restored", node=there)
    for name, node in (("reader-a", here), ("reader-b", there)):
        pods.pod(environment, namespace, name, "shown", node=node, read_only=True)
    for name in ("restored", "reader-a", "reader-b"):
        pods.wait(environment, namespace, name)
        assert pods.shell(environment, namespace, name, f"md5sum < {file}") == first != second
    assert pods.shell(environment, namespace, "writer", f"md5sum < {file}") == second
    assert pods.shell(environment, namespace, "reader-a", f"touch {pods.PATH}/own 2>/dev/null || echo no") == "no"
    assert len(filesystems.subvolumes(environment)) == 2, "what shows the snapshot has no subvolume"

    # The source goes before its snapshot, which is kept while somebody shows it.
    pods.delete(environment, namespace, "writer")
    forget(environment, namespace, "source")
    for name in ("restored", "reader-b"):
        assert pods.shell(environment, namespace, name, f"md5sum < {file}") == first
    environment.api.delete("VolumeSnapshot", "monday", namespace)

    def refused() -> None:
        fields = "involvedObject.kind=VolumeSnapshotContent,type=Warning"
        events = environment.api.list("Event", "default", fields=fields)
        if not any("shows the snapshot" in event["message"] for event in events):
            raise NotYetError("an event that names who shows it")

    eventually("the snapshot to be kept", refused, deadline=60)
    assert pods.shell(environment, namespace, "reader-a", f"md5sum < {file}") == first
    for name in ("reader-a", "reader-b"):
        pods.delete(environment, namespace, name)
    forget(environment, namespace, "shown")
    env.gone(environment, "VolumeSnapshot", "monday", namespace, deadline=120)
    assert len(filesystems.subvolumes(environment)) == 1
    assert pods.shell(environment, namespace, "restored", f"md5sum < {file}") == first
    pods.delete(environment, namespace, "restored")
    forget(environment, namespace, "restored")
    assert environment.api.list("VolumeSnapshotContent") == []


def test_a_file_system_goes_only_when_nothing_is_in_it(environment: Environment, client: str) -> None:
    environment.api.delete("CephFilesystem", NAME, env.NAMESPACE)
    env.wait_until_blocked(environment, "CephFilesystem", NAME, by=GROUP)
    environment.api.delete("CephFilesystemSubVolumeGroup", GROUP, env.NAMESPACE)
    env.gone(environment, "CephFilesystemSubVolumeGroup", GROUP, env.NAMESPACE)
    env.wait_until_blocked(environment, "CephFilesystem", NAME, by="files that are in no subvolume")
    assert named(environment, "up:active")

    shell(environment, client, "pkill python3; while pgrep python3; do sleep 0.1; done; rm /files/rows; umount /files")
    env.gone(environment, "CephFilesystem", NAME, env.NAMESPACE, deadline=120)
    assert env.ceph(environment, "fs", "ls") == []
    assert not [name for name in env.ceph(environment, "osd", "pool", "ls") if name.startswith(NAME)]
    assert environment.api.list("Deployment", env.NAMESPACE, labels=MDS) == []
