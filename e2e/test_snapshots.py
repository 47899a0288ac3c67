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


def left(environment: Environment) -> set[str]:
    """The images of the pool, those in the trash included."""
    images = env.in_toolbox(environment, "rbd", "ls", "--pool", env.POOL).split()
    trash = env.in_toolbox(environment, "rbd", "trash", "ls", "--all", "--pool", env.POOL).splitlines()
    return {*images, *(f"{line} in the trash" for line in trash)}


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
