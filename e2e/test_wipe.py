"""Deleting the Ceph cluster: what uses it blocks that; without consent its data stays, and with consent none is left.

After each there is no Ceph cluster; see `LAST` in conftest.py.
"""

from collections.abc import Iterator

import pytest

from e2e import environment as env
from e2e import host
from e2e.environment import Environment
from e2e.eventually import NotYetError, eventually


def test_deletion(environment: Environment) -> None:
    before = (env.ceph(environment, "fsid"), osds(environment))

    environment.api.delete("CephCluster", env.CLUSTER, env.NAMESPACE)
    env.wait_until_blocked(environment, "CephCluster", env.CLUSTER, by=env.POOL)
    assert len(env.ready_daemons(environment, "osd")) == 3

    environment.api.delete("CephBlockPool", env.POOL, env.NAMESPACE)
    env.gone(environment, "CephCluster", env.CLUSTER, env.NAMESPACE, deadline=env.GONE_SECONDS)
    eventually("the daemons to end", lambda: no_daemons(environment), deadline=env.GONE_SECONDS)
    assert all("ceph_bluestore" in signatures(node, devices[0]) for node, devices in environment.devices.items())

    env.apply_ceph_cluster(environment)
    env.wait_for_cluster(environment)
    assert (env.ceph(environment, "fsid"), osds(environment)) == before

    env.wipe(environment)
    assert not any(signatures(node, devices[0]) for node, devices in environment.devices.items())
    assert environment.api.find("Secret", "rook-ceph-mon", env.NAMESPACE) is None
    for node in environment.devices:
        assert not host.run_on(node, "sh", "-c", "ls -d /var/lib/rook/mon-* || true")


@pytest.fixture
def mon_class(environment: Environment) -> Iterator[str]:
    """A StorageClass with a volume on each worker."""
    name = "mon-data"
    storage_class = {"provisioner": "kubernetes.io/no-provisioner", "volumeBindingMode": "WaitForFirstConsumer"}
    environment.api.apply(
        {"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": name}, **storage_class}
    )
    for node in environment.workers:
        here = {"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}
        spec = {
            "storageClassName": name,
            "capacity": {"storage": "1Gi"},
            "accessModes": ["ReadWriteOnce"],
            "persistentVolumeReclaimPolicy": "Retain",
            "hostPath": {"path": "/var/lib/mon-data", "type": "DirectoryOrCreate"},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [here]}]}},
        }
        environment.api.apply(
            {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": f"{name}-{node}"}, "spec": spec}
        )
    yield name
    for node in environment.workers:
        environment.api.delete("PersistentVolume", f"{name}-{node}")
        host.run_on(node, "rm", "-rf", "/var/lib/mon-data")
    environment.api.delete("StorageClass", name)


def test_mons_with_their_data_on_claims(environment: Environment, mon_class: str) -> None:
    env.wipe(environment)
    template = {"spec": {"storageClassName": mon_class, "resources": {"requests": {"storage": "1Gi"}}}}

    env.apply_ceph_cluster(environment, mon={"volumeClaimTemplate": template})
    env.wait_for_cluster(environment)

    claims = environment.api.list("PersistentVolumeClaim", env.NAMESPACE, labels="app=rook-ceph-mon")
    assert [claim["status"]["phase"] for claim in claims] == ["Bound"] * 3
    fsid = env.ceph(environment, "fsid")
    for pod in environment.api.list("Pod", env.NAMESPACE, labels="app=rook-ceph-mon"):
        environment.api.delete("Pod", pod["metadata"]["name"], env.NAMESPACE)
        env.gone(environment, "Pod", pod["metadata"]["name"], env.NAMESPACE)
    env.wait_for_cluster(environment)
    assert env.ceph(environment, "fsid") == fsid

    env.wipe(environment)
    assert environment.api.list("PersistentVolumeClaim", env.NAMESPACE, labels="app=rook-ceph-mon") == []


def osds(environment: Environment) -> dict[int, str]:
    """The uuid of each OSD by its number."""
    return {osd["osd"]: osd["uuid"] for osd in env.ceph(environment, "osd", "dump")["osds"]}


def no_daemons(environment: Environment) -> None:
    """Raises `NotYetError` while a Ceph daemon's pod is there."""
    pods = [p["metadata"]["name"] for p in environment.api.list("Pod", env.NAMESPACE, labels="ceph_daemon_id")]
    if pods:
        raise NotYetError(f"{', '.join(sorted(pods))} to go")


def signatures(node: str, device: str) -> list[str]:
    """The types of what a device holds. What a volume holds may look like a second one."""
    return host.run_on(node, "wipefs", "--noheadings", "--output", "TYPE", device).split()
