"""Releases: the cluster of 2018, its upgrade from Ceph 18.2 to 20.2 under a database and with a file system, and a new
one on 20.2.
"""

import uuid
from collections.abc import Iterator

import pytest

from e2e import environment as env
from e2e import filesystems, pods, postgres
from e2e.api import Manifest, condition, load
from e2e.environment import Environment
from e2e.eventually import NotYetError, eventually

NEWEST = "ceph-20"
UPGRADE_SECONDS = 240.0
DAEMONS = 3 + 1 + 3 + 2
"""Mons, mgr, OSDs and MDS daemons of the cluster that is upgraded."""


@pytest.fixture
def nothing(environment: Environment) -> Iterator[None]:
    """No Ceph cluster, before and after."""
    env.wipe(environment)
    yield
    env.wipe(environment)


@pytest.mark.timeout(1800, func_only=True)
def test_the_cluster_of_2018_and_its_upgrade_under_a_database(environment: Environment, nothing: None) -> None:
    apply_the_talks(environment, environment.images["ceph"])
    env.wait_for_cluster(environment)
    env.create_pool(environment)
    namespace = f"e2e-{uuid.uuid4().hex[:8]}"
    try:
        postgres.deploy(environment, namespace)
        postgres.write_rows(environment, namespace)
        written = write_a_file(environment, namespace)
        plan_shows_every_restart(environment)
        with postgres.commits_meanwhile(environment, namespace):
            apply_the_talks(environment, environment.images[NEWEST])
            eventually("all daemons on 20.2", lambda: all_run(environment, "20.2."), deadline=UPGRADE_SECONDS)
            env.wait_for_cluster(environment)
        env.wait_for_phase(environment, "CephFilesystem", filesystems.NAME)
        assert env.ceph(environment, "versions")["mds"].keys() == env.ceph(environment, "versions")["mon"].keys()
        assert read_the_file(environment, namespace) == written

        daemons = restarts(environment)
        environment.api.delete("Cluster", env.CLUSTER, env.NAMESPACE)
        env.gone(environment, "Cluster", env.CLUSTER, env.NAMESPACE)
        environment.api.patch("CephCluster", env.CLUSTER, env.NAMESPACE, {"spec": {"mgr": {"count": 2}}})
        env.wait_for_cluster(environment, mgrs=2)
        assert restarts(environment).items() >= daemons.items(), "a daemon was restarted, though nothing asked for it"

        make_and_remove_a_pool(environment)
        postgres.move(environment, namespace)
        postgres.write_rows(environment, namespace)
    finally:
        postgres.remove(environment, namespace)
        filesystems.remove(environment)


def test_a_new_cluster_of_the_newest_release(environment: Environment, nothing: None) -> None:
    env.apply_ceph_cluster(environment, image=NEWEST)
    env.wait_for_cluster(environment)
    assert environment.api.get("CephCluster", env.CLUSTER, env.NAMESPACE)["status"]["ceph"]["health"] != "HEALTH_ERR"
    env.create_pool(environment)
    namespace = f"e2e-{uuid.uuid4().hex[:8]}"
    try:
        postgres.deploy(environment, namespace)
        postgres.write_rows(environment, namespace)
        before = postgres.rows(environment, namespace)
        postgres.move(environment, namespace)
        assert postgres.rows(environment, namespace) == before
    finally:
        postgres.remove(environment, namespace)


FILES = "files"
FILE = f"{pods.PATH}/file"


def write_a_file(environment: Environment, namespace: str) -> str:
    """Make a file system and a pod that has a volume in it, and write a file; return its digest."""
    filesystems.make(environment, group=False)
    (storage_class,) = load(env.EXAMPLES / "filesystem-storageclass.yaml")
    environment.api.apply(storage_class)
    name = storage_class["metadata"]["name"]
    pods.claim(environment, namespace, FILES, storage_class=name, size="64Mi", access="ReadWriteMany")
    pods.pod(environment, namespace, FILES, FILES)
    pods.wait(environment, namespace, FILES)
    return pods.shell(environment, namespace, FILES, f"head -c 4M /dev/urandom | tee {FILE} | md5sum; sync {FILE}")


def read_the_file(environment: Environment, namespace: str) -> str:
    """The digest of the file, read on another node; the client that was there all along can still write."""
    pods.shell(environment, namespace, FILES, f"touch {FILE}-after; sync {FILE}-after")
    node = environment.api.get("Pod", FILES, namespace)["spec"]["nodeName"]
    other = next(name for name in environment.workers if name != node)
    pods.pod(environment, namespace, "reader", FILES, node=other)
    pods.wait(environment, namespace, "reader")
    found = pods.shell(environment, namespace, "reader", f"ls {FILE}-after >/dev/null; md5sum < {FILE}")
    for pod in ("reader", FILES):
        pods.delete(environment, namespace, pod)
    return found


def apply_the_talks(environment: Environment, image: str) -> None:
    """The manifest of 2018 with an image that exists, each worker's first disk, and a test machine's settings."""
    (talk,) = load(env.EXAMPLES / "talk-cluster.yaml")
    talk["metadata"]["namespace"] = env.NAMESPACE
    talk["spec"]["cephVersion"]["image"] = image
    talk["spec"]["storage"] |= {
        "useAllNodes": False,
        "deviceFilter": "",
        "nodes": [
            {"name": node, "devices": [{"name": devices[0]}]} for node, devices in sorted(environment.devices.items())
        ],
    }
    for manifest in load(env.EXAMPLES / "cluster-test.yaml"):
        if manifest["kind"] == "ConfigMap":
            environment.api.apply(manifest)
    environment.api.apply(talk)

    def look() -> Manifest:
        found = environment.api.find("CephCluster", env.CLUSTER, env.NAMESPACE)
        if found is None or found["spec"]["cephVersion"]["image"] != image:
            raise NotYetError("the CephCluster to follow")
        return found

    eventually("the CephCluster of the Cluster", look, deadline=60)
    # What the old manifest has no field for is the CephCluster's own.
    config = {"mon": {"mon_data_avail_warn": "5"}, "osd": {"osd_mclock_skip_benchmark": "true"}}
    spec = {"cephConfig": config, "mgr": {"modules": [{"name": "restful", "enabled": False}]}}
    environment.api.patch("CephCluster", env.CLUSTER, env.NAMESPACE, {"spec": spec})


def plan_shows_every_restart(environment: Environment) -> None:
    """In plan mode a new image shows which daemons it would restart, and restarts none."""
    before = restarts(environment)
    image = environment.images[NEWEST]
    edit = {"metadata": {"annotations": {"rook.io/mode": "plan"}}, "spec": {"cephVersion": {"image": image}}}
    environment.api.patch("Cluster", env.CLUSTER, env.NAMESPACE, edit)

    def look() -> None:
        found = environment.api.get("CephCluster", env.CLUSTER, env.NAMESPACE)
        shown = " ".join(f"{s['subject']} {s['action']}" for s in found["status"].get("plan", {}).get("steps", []))
        missing = [kind for kind in ("mon", "mgr", "osd") if kind not in shown.lower()]
        if missing or found["status"]["plan"].get("mode") != "plan":
            raise NotYetError(f"{', '.join(missing)} in the plan: {shown or 'empty'}")

    eventually("the plan of the upgrade", look, deadline=120)
    assert restarts(environment) == before
    old = {"spec": {"cephVersion": {"image": environment.images["ceph"]}}}
    undo = {"metadata": {"annotations": {"rook.io/mode": None}}, **old}
    environment.api.patch("Cluster", env.CLUSTER, env.NAMESPACE, undo)
    eventually("the CephCluster to follow", lambda: plan_mode_is_over(environment), deadline=60)
    env.wait_for_cluster(environment)


def plan_mode_is_over(environment: Environment) -> None:
    """Raises `NotYetError` until the CephCluster has the annotation no more, as the Cluster."""
    found = environment.api.get("CephCluster", env.CLUSTER, env.NAMESPACE)
    if "rook.io/mode" in found["metadata"].get("annotations", {}):
        raise NotYetError("annotation rook.io/mode to go")


def restarts(environment: Environment) -> dict[str, int]:
    """The generation of each Ceph daemon's Deployment."""
    found = environment.api.list("Deployment", env.NAMESPACE)
    daemons = ("rook-ceph-mon", "rook-ceph-mgr", "rook-ceph-osd")
    return {
        d["metadata"]["name"]: d["metadata"]["generation"]
        for d in found
        if d["metadata"]["labels"].get("app") in daemons
    }


def all_run(environment: Environment, release: str) -> None:
    """Raises `NotYetError` until every daemon runs a version that begins so, by what Ceph says."""
    versions = env.ceph(environment, "versions")["overall"]
    old = {version: count for version, count in versions.items() if f"version {release}" not in version}
    if old or sum(versions.values()) < DAEMONS:
        found = environment.api.get("CephCluster", env.CLUSTER, env.NAMESPACE)
        raise NotYetError(f"{sum(old.values())} of {sum(versions.values())} left; {env.progress(found)}")


def make_and_remove_a_pool(environment: Environment) -> None:
    """A pool can be made and removed, whatever warnings the old keys give."""
    pool = {
        "apiVersion": "ceph.rook.io/v1",
        "kind": "CephBlockPool",
        "metadata": {"name": "after-upgrade", "namespace": env.NAMESPACE},
        "spec": {"failureDomain": "host", "replicated": {"size": 2}},
    }
    environment.api.apply(pool)
    env.wait_for_pool(environment, "after-upgrade")
    environment.api.delete("CephBlockPool", "after-upgrade", env.NAMESPACE)
    env.gone(environment, "CephBlockPool", "after-upgrade", env.NAMESPACE)
    found = environment.api.get("CephCluster", env.CLUSTER, env.NAMESPACE)
    if found["status"]["ceph"]["health"] == "HEALTH_ERR":
        assert "HEALTH_ERR" in condition(found, "Ready").get("message", "")
