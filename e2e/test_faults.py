"""Faults amid what is done to volumes, each on the real thing: it is finished, and nothing is left that nobody owns."""

from collections.abc import Iterator
from functools import partial

import pytest

from e2e import environment as env
from e2e import host, leftovers, pods, snapshots
from e2e.environment import Environment
from e2e.eventually import NotYetError, eventually

FILE = f"{pods.PATH}/file"


@pytest.fixture(scope="module")
def cluster(environment: Environment) -> Environment:
    """The cluster with snapshots."""
    snapshots.install(environment)
    return environment


@pytest.fixture
def nothing_left(cluster: Environment) -> Iterator[Environment]:
    """The cluster, in which nothing is left of a scenario once its namespace is gone."""
    before = leftovers.found(cluster)
    yield cluster
    leftovers.gone(cluster, before)


def kill(environment: Environment, app: str, node: str = "") -> None:
    """Kills the pods of a part of ours."""
    where = f"spec.nodeName={node}" if node else ""
    for pod in environment.api.list("Pod", env.NAMESPACE, labels=f"app={app}", fields=where):
        environment.api.delete("Pod", pod["metadata"]["name"], env.NAMESPACE, grace_seconds=0)


def test_operators_are_killed_amid_a_snapshot_a_clone_and_their_end(nothing_left: Environment, namespace: str) -> None:
    environment = nothing_left
    here, there = environment.workers[:2]
    pods.claim(environment, namespace, "data")
    pods.pod(environment, namespace, "writer", "data", node=here)
    pods.wait(environment, namespace, "writer")
    written = pods.shell(
        environment, namespace, "writer", f"head -c 8M /dev/urandom | tee {FILE} | md5sum; sync {FILE}"
    )

    snapshots.copy(environment, namespace, "copy", kind="PersistentVolumeClaim", name="data")
    snapshots.ask(environment, namespace, "snap", "data")
    kill(environment, "rook-ceph-operator")
    snapshots.wait(environment, namespace, "snap")
    pods.pod(environment, namespace, "reader", "copy", node=there)
    pods.wait(environment, namespace, "reader")
    assert pods.shell(environment, namespace, "reader", f"md5sum < {FILE}") == written

    for name in ("reader", "writer"):
        pods.delete(environment, namespace, name)
    environment.api.delete("VolumeSnapshot", "snap", namespace)
    for name in ("data", "copy"):
        environment.api.delete("PersistentVolumeClaim", name, namespace)
    kill(environment, "rook-ceph-operator")
    env.gone(environment, "VolumeSnapshot", "snap", namespace, deadline=120)


def test_an_agent_is_killed_amid_a_stage_and_its_node_is_drained(nothing_left: Environment, namespace: str) -> None:
    environment = nothing_left
    node, other = environment.workers[:2]
    names = ("one", "two")
    for name in names:
        pods.claim(environment, namespace, name)
        pods.pod(environment, namespace, name, name, node=node)
    eventually("an image to be mapped", partial(maps, environment, node, namespace), deadline=60)
    kill(environment, "rook-agent", node)
    for name in names:
        pods.wait(environment, namespace, name, deadline=120)
        pods.shell(environment, namespace, name, f"echo {name} > {FILE}; sync {FILE}")

    environment.run("kubectl", "label", "pods", "--all", "--namespace", namespace, "drained=yes")
    try:
        environment.run("kubectl", "drain", node, "--force", "--pod-selector", "drained=yes", "--timeout", "90s")
    finally:
        environment.run("kubectl", "uncordon", node)
    for name in names:
        pods.pod(environment, namespace, name, name, node=other)
    for name in names:
        pods.wait(environment, namespace, name, deadline=120)
        assert pods.shell(environment, namespace, name, f"cat {FILE}") == name
        pods.delete(environment, namespace, name)
    env.wait_for_chart(environment)


def maps(environment: Environment, node: str, namespace: str) -> None:
    """Raises `NotYetError` until a node has begun with an image of the namespace's claims."""
    claims = environment.api.list("PersistentVolumeClaim", namespace)
    images = [f"csi-vol-{claim['metadata']['uid']}" for claim in claims]
    running = host.run_on(node, "sh", "-c", "cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' '")
    if not any(image in running for image in images):
        raise NotYetError("no process has one open")


def test_ceph_is_away_amid_deletions(nothing_left: Environment, namespace: str) -> None:
    environment = nothing_left
    for name in ("one", "two"):
        pods.claim(environment, namespace, name, size="64Mi")
    volumes = [pods.volume_of(environment, namespace, name)["metadata"]["name"] for name in ("one", "two")]
    env.in_toolbox(environment, "ceph", "osd", "pause")
    try:
        for name in ("one", "two"):
            environment.api.delete("PersistentVolumeClaim", name, namespace)
            env.gone(environment, "PersistentVolumeClaim", name, namespace)
        eventually("the reason of a volume", partial(told, environment, volumes), deadline=60)
    finally:
        env.in_toolbox(environment, "ceph", "osd", "unpause")
    for name in volumes:
        env.gone(environment, "PersistentVolume", name, deadline=120)


def told(environment: Environment, volumes: list[str]) -> None:
    """Raises `NotYetError` until an event says why a volume is there still."""
    for name in volumes:
        events = environment.api.list("Event", "default", fields=f"involvedObject.name={name},type=Warning")
        if any(event["reason"] == "VolumeFailedDelete" for event in events):
            return
    raise NotYetError("no event says why it is not destroyed")
