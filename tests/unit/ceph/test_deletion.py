"""Deletion: nothing goes while it is in use, and no data without consent."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from controller.ceph.daemon import Daemon
from controller.ceph.deletion import DestroyData, DestroyIdentity, analyze, cleanup_job, job_name, nodes_with_data
from controller.ceph.keys import Identity
from controller.ceph.observation import Observation
from controller.runtime.kube import Job
from tests.unit.ceph.cases import FSID, RELEASE, a_cluster, a_pod, live_objects, nodes, running_mons, told
from tests.unit.ceph.snapshot import assert_matches_snapshot

if TYPE_CHECKING:
    from controller.apis.ceph import CephCluster

CONSENT = {"cleanupPolicy": {"confirmation": "yes-really-destroy-data"}}


def seen(cluster: CephCluster, **changes: Any) -> Observation:
    mons = replace(running_mons(cluster, "ab"), nodes=nodes("n1", "n2"))
    found: dict[str, Any] = {
        "live": mons.live,
        "identity": Identity(FSID, "m", "a"),
        "release": RELEASE,
        "mons": mons,
    }
    return Observation(**{**found, **changes})


def without_daemons(observation: Observation, **changes: Any) -> Observation:
    live = {key: obj for key, obj in observation.live.items() if key[0] != "Deployment"}
    return replace(observation, live=live, **changes)


def finished(cluster: CephCluster, node: str) -> Job:
    job = cleanup_job(cluster, RELEASE, FSID, node, node)
    return msgspec.convert({**job, "status": {"conditions": [{"type": "Complete", "status": "True"}]}}, Job)


def plan(cluster: CephCluster, observation: Observation) -> list[str]:
    return told(analyze(cluster, observation).steps)


def test_a_cluster_in_use_stays() -> None:
    cluster = a_cluster(CONSENT)
    assert plan(cluster, seen(cluster, dependents=("CephBlockPool p", "PersistentVolume v"))) == [
        "CephCluster: Wait <- these to be deleted: CephBlockPool p, PersistentVolume v"
    ]


@pytest.mark.parametrize("confirmation", ["", "yes", "yes-really-destroy-data "])
def test_without_consent_it_is_let_go_and_nothing_else(confirmation: str) -> None:
    cluster = a_cluster({"cleanupPolicy": {"confirmation": confirmation}})
    assert plan(cluster, seen(cluster)) == ["CephCluster: LetGo"]


def test_with_consent_daemons_go_first_and_data_waits_for_the_last_pod() -> None:
    cluster = a_cluster(CONSENT)
    steps = plan(cluster, seen(cluster, pods=(a_pod(Daemon(type="mon", id="a")),)))
    assert steps == [
        "rook-ceph-mon-a: Delete",
        "rook-ceph-mon-b: Delete",
        "data on node n1: DestroyData <- these pods to end: rook-ceph-mon-a-x",
        "data on node n2: DestroyData <- these pods to end: rook-ceph-mon-a-x",
    ]


def test_a_pod_that_ends_is_waited_for_though_no_node_is_known_to_hold_data() -> None:
    cluster = a_cluster(CONSENT)
    found = without_daemons(seen(cluster), pods=(a_pod(Daemon(type="osd", id="0")),))
    found = replace(found, mons=replace(found.mons, nodes={}))
    assert plan(cluster, found) == ["CephCluster: Wait <- these pods to end: rook-ceph-osd-0-x"]


def test_data_goes_from_every_node_that_holds_some() -> None:
    cluster = a_cluster(CONSENT)
    assert plan(cluster, without_daemons(seen(cluster))) == [
        "data on node n1: DestroyData",
        "data on node n2: DestroyData",
    ]


def test_the_keys_stay_until_the_data_is_gone() -> None:
    cluster = a_cluster(CONSENT)
    one = finished(cluster, "n1")
    found = without_daemons(seen(cluster), jobs={one.metadata.name: one})
    assert plan(cluster, found) == ["data on node n2: DestroyData"]


def test_the_identity_goes_last() -> None:
    cluster = a_cluster(CONSENT)
    done = [finished(cluster, node) for node in ("n1", "n2")]
    found = without_daemons(seen(cluster), jobs={job.metadata.name: job for job in done})
    identity = live_objects({"kind": "Secret", "metadata": {"name": "rook-ceph-mon", "namespace": "rook-ceph"}})
    found = replace(found, live={**found.live, **identity})
    steps = analyze(cluster, found).steps
    gone = {(s.action.resource.kind, s.action.name) for s in steps if isinstance(s.action, DestroyIdentity)}
    assert len(gone) == len(steps)
    assert gone == {
        ("Secret", "rook-ceph-mon"),
        ("Secret", "rook-ceph-config"),
        ("ConfigMap", "rook-ceph-mon-endpoints"),
        ("Service", "rook-ceph-mon-a"),
        ("Service", "rook-ceph-mon-b"),
    }
    assert plan(cluster, replace(found, live={})) == ["CephCluster: LetGo"]


def test_a_node_that_is_gone_holds_nothing_up() -> None:
    cluster = a_cluster(CONSENT)
    found = without_daemons(seen(cluster))
    found = replace(found, mons=replace(found.mons, nodes=nodes("n2")))
    assert plan(cluster, found) == ["data on node n2: DestroyData"]


def test_nodes_with_devices_that_are_or_were_to_be_osds_hold_data() -> None:
    devices = [
        {"node": "n3", "device": "sdb", "verdict": "InUse"},
        {"node": "n4", "device": "sdb", "verdict": "Accepted"},
        {"node": "n4", "device": "sdb", "verdict": "Rejected"},
    ]
    cluster = a_cluster(CONSENT, status={"devices": devices})
    assert nodes_with_data(cluster, seen(cluster)) == ("n1", "n2", "n3", "n4")


def test_the_job_is_bound_to_the_nodes_host_name() -> None:
    cluster = a_cluster(CONSENT)
    (first, _) = analyze(cluster, without_daemons(seen(cluster))).steps
    assert isinstance(first.action, DestroyData)
    pod = first.action.job["spec"]["template"]["spec"]
    assert pod["nodeSelector"] == {"kubernetes.io/hostname": "n1.example"}


def test_long_node_names_make_short_job_names() -> None:
    long = "node-" + "x" * 80
    assert len(job_name(long)) == 63
    assert job_name(long) != job_name(long + "y")
    assert job_name("worker") == "cluster-cleanup-job-worker"


def test_cleanup_job() -> None:
    policy = {"cleanupPolicy": {"sanitizeDisks": {"method": "complete", "dataSource": "random", "iteration": 2}}}
    assert_matches_snapshot(cleanup_job(a_cluster(policy), RELEASE, FSID, "n1", "n1.example"), "cleanup-job")
