"""Snapshots, restores and clones of volumes: the same bytes elsewhere, whatever becomes of what they were made of."""

from collections.abc import Iterator

import pytest

from e2e import environment as env
from e2e import pods, snapshots
from e2e.environment import Environment
from e2e.eventually import NotYetError, eventually

FILE = f"{pods.PATH}/file"


@pytest.fixture(scope="module")
def cluster(environment: Environment) -> Iterator[Environment]:
    """The cluster with snapshots; there is no image in the pool when they are done."""
    snapshots.install(environment)
    before = left(environment)
    yield environment

    def look() -> None:
        if (found := left(environment)) != before:
            raise NotYetError(f"{', '.join(sorted(found - before))} to go")

    eventually("all images to go", look, deadline=180)
    assert environment.api.list("VolumeSnapshotContent") == []
    assert environment.api.list("VolumeGroupSnapshotContent") == []


def left(environment: Environment) -> set[str]:
    """The images of the pool, those in the trash included, and its groups."""
    images = env.in_toolbox(environment, "rbd", "ls", "--pool", env.POOL).split()
    trash = env.in_toolbox(environment, "rbd", "trash", "ls", "--all", "--pool", env.POOL).splitlines()
    groups = env.in_toolbox(environment, "rbd", "group", "ls", "--pool", env.POOL).split()
    return {*images, *(f"{line} in the trash" for line in trash), *(f"group {name}" for name in groups)}


def digest(environment: Environment, namespace: str, claim: str, node: str, *, after: str = "true") -> str:
    """What the file in a claim's volume has, read by a pod on a node; and a command after that."""
    pods.pod(environment, namespace, claim, claim, node=node)
    pods.wait(environment, namespace, claim)
    found = pods.shell(environment, namespace, claim, f"md5sum < {FILE}; {after}")
    pods.delete(environment, namespace, claim)
    return found


def test_a_snapshot_is_restored_elsewhere_as_it_was(cluster: Environment, namespace: str) -> None:
    here, there, _ = cluster.workers
    pods.claim(cluster, namespace, "source")
    pods.pod(cluster, namespace, "writer", "source", node=here)
    pods.wait(cluster, namespace, "writer")
    first = pods.shell(cluster, namespace, "writer", f"head -c 16M /dev/urandom | tee {FILE} | md5sum; sync {FILE}")

    snapshots.take(cluster, namespace, "monday", "source")
    second = pods.shell(cluster, namespace, "writer", f"head -c 16M /dev/urandom | tee {FILE} | md5sum; sync {FILE}")
    snapshots.copy(
        cluster, namespace, "restored", apiGroup="snapshot.storage.k8s.io", kind="VolumeSnapshot", name="monday"
    )
    assert digest(cluster, namespace, "restored", there) == first != second
    assert pods.shell(cluster, namespace, "writer", f"md5sum < {FILE}") == second

    cluster.api.delete("VolumeSnapshot", "monday", namespace)
    env.gone(cluster, "VolumeSnapshot", "monday", namespace, deadline=120)
    assert digest(cluster, namespace, "restored", here) == first


def test_a_clone_of_a_clone_outlives_its_parents(cluster: Environment, namespace: str) -> None:
    here, there, _ = cluster.workers
    pods.claim(cluster, namespace, "grandparent")
    pods.pod(cluster, namespace, "writer", "grandparent", node=here)
    pods.wait(cluster, namespace, "writer")
    written = pods.shell(cluster, namespace, "writer", f"head -c 16M /dev/urandom | tee {FILE} | md5sum; sync {FILE}")

    snapshots.copy(cluster, namespace, "parent", kind="PersistentVolumeClaim", name="grandparent")
    assert digest(cluster, namespace, "parent", there, after=f"touch {pods.PATH}/own; sync {pods.PATH}/own") == written
    snapshots.copy(cluster, namespace, "child", kind="PersistentVolumeClaim", name="parent")
    assert digest(cluster, namespace, "child", here) == written

    pods.delete(cluster, namespace, "writer")
    for name in ("grandparent", "parent"):
        volume = pods.volume_of(cluster, namespace, name)["metadata"]["name"]
        cluster.api.delete("PersistentVolumeClaim", name, namespace)
        env.gone(cluster, "PersistentVolumeClaim", name, namespace)
        env.gone(cluster, "PersistentVolume", volume, deadline=120)
    assert digest(cluster, namespace, "child", there, after=f"ls {pods.PATH}").startswith(written)


WRITER = f"""
number=0
while true; do
  for claim in one two three; do
    number=$((number + 1))
    echo $number >> {pods.PATH}/$claim/numbers
    sync {pods.PATH}/$claim/numbers
  done
done
"""
"""Writes each number to one of three volumes, and the next one only when that is on it."""


def numbers(environment: Environment, namespace: str, pod: str) -> list[int]:
    """What the volumes of a pod have of the writer's numbers."""
    found = pods.shell(environment, namespace, pod, f"cat {pods.PATH}/*/numbers || true")
    return sorted(map(int, found.split()))


def test_a_group_snapshot_is_of_one_moment(cluster: Environment, namespace: str) -> None:
    here, there, _ = cluster.workers
    claims = ("one", "two", "three")
    for name in claims:
        pods.claim(cluster, namespace, name)
        cluster.api.patch("PersistentVolumeClaim", name, namespace, {"metadata": {"labels": {"group": "database"}}})
    snapshots.pod_of(cluster, namespace, "writer", claims, node=here, script=WRITER)

    def written() -> None:
        if (found := len(numbers(cluster, namespace, "writer"))) < 100:
            raise NotYetError(f"the writer, which is at {found}, to be at 100")

    eventually("writes", written, deadline=60)
    group, members = snapshots.take_group(cluster, namespace)
    last = numbers(cluster, namespace, "writer")[-1]

    for name in claims:
        source = {"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": members[name]}
        snapshots.copy(cluster, namespace, f"restored-{name}", **source)
    restored = [f"restored-{name}" for name in claims]
    snapshots.pod_of(cluster, namespace, "reader", restored, node=there)
    found = numbers(cluster, namespace, "reader")
    assert found == list(range(1, len(found) + 1)), "no later number is there where an earlier one is missing"
    assert 100 <= len(found) < last, "the writer went on while the snapshots were taken"

    images = {name for name in left(cluster) if name.startswith("csi-snap-")}
    alone = members["two"]
    content = cluster.api.get("VolumeSnapshot", alone, namespace)["status"]["boundVolumeSnapshotContentName"]
    cluster.api.delete("VolumeSnapshot", alone, namespace)

    def refused() -> None:
        events = cluster.api.list("Event", namespace, fields=f"involvedObject.name={alone}")
        told = any(event["reason"] == "SnapshotDeletePending" for event in events)
        if not told and cluster.api.find("VolumeSnapshotContent", content) is not None:
            raise NotYetError("somebody to answer")

    eventually("the deletion of a member alone", refused, deadline=60)
    assert images <= left(cluster), "no snapshot goes without its group"

    cluster.api.delete("VolumeGroupSnapshot", group, namespace)
    for kind, name in (("VolumeGroupSnapshot", group), *(("VolumeSnapshot", name) for name in members.values())):
        env.gone(cluster, kind, name, namespace, deadline=120)
    assert numbers(cluster, namespace, "reader") == found
