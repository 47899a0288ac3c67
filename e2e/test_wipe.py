"""Deleting the Ceph cluster: what uses it blocks that; without consent its data stays, and with consent none is left.

The last scenario, since files are taken in the order of their names: after it there is no Ceph cluster.
"""

from e2e import environment as env
from e2e import host
from e2e.api import condition
from e2e.environment import Environment
from e2e.eventually import NotYetError, eventually

GONE_SECONDS = 120.0


def test_deletion(environment: Environment) -> None:
    before = (env.ceph(environment, "fsid"), osds(environment))

    environment.api.delete("CephCluster", env.CLUSTER, env.NAMESPACE)
    eventually("the pool to block the deletion", lambda: blocked_by(environment, env.POOL), deadline=60)
    assert len(env.ready_daemons(environment, "osd")) == 3

    environment.api.delete("CephBlockPool", env.POOL, env.NAMESPACE)
    env.gone(environment, "CephCluster", env.CLUSTER, env.NAMESPACE, deadline=GONE_SECONDS)
    eventually("the daemons to end", lambda: no_daemons(environment), deadline=GONE_SECONDS)
    assert all(signatures(node, devices[0]) for node, devices in environment.devices.items())

    env.apply_ceph_cluster(environment)
    env.wait_for_cluster(environment)
    assert (env.ceph(environment, "fsid"), osds(environment)) == before

    consent = {"spec": {"cleanupPolicy": {"confirmation": "yes-really-destroy-data"}}}
    environment.api.patch("CephCluster", env.CLUSTER, env.NAMESPACE, consent)
    environment.api.delete("CephCluster", env.CLUSTER, env.NAMESPACE)
    env.gone(environment, "CephCluster", env.CLUSTER, env.NAMESPACE, deadline=GONE_SECONDS)
    assert not any(signatures(node, devices[0]) for node, devices in environment.devices.items())
    assert environment.api.find("Secret", "rook-ceph-mon", env.NAMESPACE) is None
    for node in environment.devices:
        assert not run_on(node, "sh", "-c", "ls -d /var/lib/rook/mon-*")


def osds(environment: Environment) -> dict[int, str]:
    """The uuid of each OSD by its number."""
    return {osd["osd"]: osd["uuid"] for osd in env.ceph(environment, "osd", "dump")["osds"]}


def blocked_by(environment: Environment, name: str) -> None:
    """Raises `NotYetError` until the CephCluster says that its deletion is blocked by the object of that name."""
    found = environment.api.get("CephCluster", env.CLUSTER, env.NAMESPACE)
    state = condition(found, "DeletionIsBlocked")
    if state.get("status") != "True" or name not in state.get("message", ""):
        raise NotYetError(env.progress(found))


def no_daemons(environment: Environment) -> None:
    """Raises `NotYetError` while a Ceph daemon's pod is there."""
    pods = [p["metadata"]["name"] for p in environment.api.list("Pod", env.NAMESPACE, labels="ceph_daemon_id")]
    if pods:
        raise NotYetError(f"{', '.join(sorted(pods))} to go")


def signatures(node: str, device: str) -> str:
    """What `blkid` finds on a device."""
    return run_on(node, "blkid", "--probe", device)


def run_on(node: str, *command: str) -> str:
    """What a command on a node wrote to stdout."""
    return host.engine().run("exec", node, *command, check=False).stdout
