"""Deletion: nothing goes while it is in use, and no data without consent."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

import anyio
import msgspec
import pytest

from controller.apis.ceph import CephCluster
from controller.apis.rook.node_report import BlockDevice
from controller.ceph.access.identity import PROTECTION, Identity
from controller.ceph.access.volumes import ClusterVolumes
from controller.ceph.cluster.cleanup import QUICK, REMOVE_DATA, SLOWEST, cleanup_job, deadline
from controller.ceph.cluster.deletion import DestroyData, DestroyIdentity, nodes_with_data
from controller.ceph.cluster.dependents import volumes
from controller.ceph.osd.observation import OsdObservation
from controller.ceph.pods import Daemon
from controller.ceph.pool import kind as pool
from controller.ceph.pool.act import POOLS
from controller.ceph.releases import Upgrade
from controller.framework.deletion import Dependents
from controller.framework.jobs import Attempt
from controller.runtime.kube import PV, Job, Pod
from controller.testkit import ApiServer, virtual_time
from informers import InformerFactory
from tests.unit.ceph.cases import FSID, RELEASE, a_cluster, a_context, a_pod, live_objects, nodes, running_mons, told
from tests.unit.ceph.observed import Observation
from tests.unit.ceph.observed import analyze_deletion as analyze
from tests.unit.ceph.snapshot import assert_matches_snapshot

if TYPE_CHECKING:
    from pathlib import Path

CONSENT = {"cleanupPolicy": {"confirmation": "yes-really-destroy-data"}}


def seen(cluster: CephCluster, **changes: Any) -> Observation:
    mons = replace(running_mons(cluster, "ab"), nodes=nodes("n1", "n2"))
    found: dict[str, Any] = {
        "live": mons.live,
        "identity": Identity(FSID, "m", "a"),
        "upgrade": Upgrade(target=RELEASE),
        "mons": mons,
    }
    return Observation(**{**found, **changes})


def without_daemons(observation: Observation, **changes: Any) -> Observation:
    live = {key: obj for key, obj in observation.live.items() if key[0] != "Deployment"}
    return replace(observation, live=live, **changes)


def finished(cluster: CephCluster, node: str) -> Job:
    job = cleanup_job(cluster, a_context(cluster), node, node, 60)
    return msgspec.convert({**job, "status": {"conditions": [{"type": "Complete", "status": "True"}]}}, Job)


def plan(cluster: CephCluster, observation: Observation) -> list[str]:
    return told(analyze(cluster, observation).steps)


def test_a_cluster_in_use_stays() -> None:
    cluster = a_cluster(CONSENT)
    assert plan(cluster, seen(cluster, dependents=("CephBlockPool p", "PersistentVolume v"))) == [
        "CephCluster: Wait <- these to be deleted: CephBlockPool p, PersistentVolume v"
    ]


def test_a_blocked_deletion_says_that_kubernetes_deletes_the_rest_with_the_namespace() -> None:
    cluster = a_cluster()
    meta = {"name": "rook-ceph-mon-a", "deletionTimestamp": "2027-01-15T08:00:00Z"}
    claim = {"kind": "PersistentVolumeClaim", "metadata": {**meta, "finalizers": [PROTECTION]}}
    found = seen(cluster, dependents=("CephBlockPool p",), live=live_objects(claim))
    (step,) = analyze(cluster, found).steps
    assert "as with their namespace: what opens its data is kept" in step.reason
    (step,) = analyze(cluster, seen(cluster, dependents=("CephBlockPool p",))).steps
    assert step.reason == "deletion is blocked by what uses the cluster"


@virtual_time
async def test_what_uses_a_cluster_is_found_by_its_namespace_also_where_a_volume_cannot_be_read() -> None:
    server = ApiServer(namespaces=("rook", "rook-ceph", "other"))
    server.serve(POOLS)

    def volume(name: str, namespace: object) -> dict[str, Any]:
        return {"metadata": {"name": name}, "spec": {"csi": {"volumeAttributes": {"clusterID": namespace}}}}

    for found in (volume("pv-1", "rook-ceph"), volume("pv-2", "other"), {"metadata": {"name": "nfs"}, "spec": {}}):
        server.create(PV, found)
    server.create(POOLS, {"metadata": {"name": "p", "namespace": "rook-ceph"}, "spec": {}})
    server.create(POOLS, {"metadata": {"name": "p", "namespace": "other"}, "spec": {}})
    factory = InformerFactory(server.client())
    dependents = Dependents[CephCluster]((pool.dependents(factory), volumes(ClusterVolumes(factory))))
    leaving = {"name": "c", "namespace": "rook-ceph", "deletionTimestamp": "2027-01-15T08:00:00Z"}
    deleted = a_cluster(CONSENT, metadata=leaving)
    kept = a_cluster({"cleanupPolicy": {"allowUninstallWithVolumes": True}}, metadata=leaving)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(factory.run)
        await factory.wait_synced()
        assert dependents.known(a_cluster(CONSENT)) == ()
        assert dependents.known(deleted) == ("CephBlockPool p", "PersistentVolume pv-1")
        server.create(PV, volume("odd", ["a", "list"]))
        await anyio.sleep(1)
        used, unread = dependents.known(deleted)
        assert used == "CephBlockPool p"
        assert "does not know where odd belong" in unread
        assert dependents.known(kept) == ("CephBlockPool p",)
        tasks.cancel_scope.cancel()


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


def on_nodes(cluster: CephCluster, *names: str, **osds: Any) -> Observation:
    """What is seen of a cluster on these nodes, without mons."""
    found = without_daemons(seen(cluster))
    known = nodes(*names)
    return replace(
        found,
        mons=replace(found.mons, endpoints=None, nodes=known),
        osds=OsdObservation(now=0.0, nodes=tuple(known.values()), **osds),
    )


def disk(name: str, **fields: Any) -> BlockDevice:
    return BlockDevice(name=name, path=f"/dev/{name}", size=1 << 40, type="disk", **fields)


def osd(number: int, **fields: Any) -> BlockDevice:
    return disk(f"sd{number}", signatures=("ceph_bluestore",), osd_id=number, osd_uuid=f"u{number}", **fields)


def deployment_of(number: int, node: str, *, replicas: int = 1) -> dict[str, Any]:
    record = json.dumps({"uuid": f"u{number}", "node": node, "path": "/dev/sdb"})
    labels = {"app": "rook-ceph-osd", "ceph-osd-id": str(number)}
    owner = {"apiVersion": "ceph.rook.io/v1", "kind": "CephCluster", "name": "my-cluster", "uid": "u1"}
    meta = {
        "name": f"rook-ceph-osd-{number}",
        "namespace": "rook-ceph",
        "uid": f"d{number}",
        "labels": labels,
        "ownerReferences": [owner],
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {**meta, "annotations": {"rook.io/osd": record}},
        "spec": {"replicas": replicas, "template": {}},
    }


def test_every_node_that_may_hold_data_is_known_by_what_is_there() -> None:
    cluster = a_cluster({**CONSENT, "storage": {"useAllNodes": True, "useAllDevices": True}})
    reports = {
        "labelled": (osd(1, ceph_fsid=FSID),),
        "accepted": (disk("sdb"),),
        "another": (osd(2, ceph_fsid="b" * 36),),
        "empty": (),
    }
    found = on_nodes(cluster, *reports, "unseen", "deployed", reports={**reports, "deployed": ()})
    found = replace(found, live={**found.live, **live_objects(deployment_of(3, "deployed"))})
    assert nodes_with_data(found.of(cluster)) == ("accepted", "deployed", "labelled", "unseen")


def test_nodes_are_found_whatever_their_number() -> None:
    """The status shows 500 devices; here are 2,000, and the status of before is cut."""
    cluster = a_cluster(CONSENT, status={"devices": [{"node": "n0", "device": "sd0", "verdict": "InUse"}]})
    reports = {f"n{n}": tuple(osd(n * 20 + d, ceph_fsid=FSID) for d in range(20)) for n in range(100)}
    assert set(nodes_with_data(on_nodes(cluster, *reports, reports=reports).of(cluster))) == set(reports)


def test_the_deployments_of_osds_tell_where_data_is_until_it_is_gone() -> None:
    """Where an agent cannot report, nothing else does."""
    cluster = a_cluster(CONSENT)
    deployed = [deployment_of(0, "n1"), deployment_of(1, "n2")]
    found = on_nodes(cluster, "n1", "n2")
    found = replace(found, live=live_objects(*deployed))
    assert plan(cluster, found) == [
        "rook-ceph-osd-0: Stop",
        "rook-ceph-osd-1: Stop",
        "data on node n1: DestroyData",
        "data on node n2: DestroyData",
    ]
    found = replace(found, live=live_objects(*(deployment_of(n, f"n{n + 1}", replicas=0) for n in range(2))))
    one = finished(cluster, "n1")
    assert plan(cluster, replace(found, jobs={one.metadata.name: one})) == ["data on node n2: DestroyData"]
    both = {job.metadata.name: job for job in (one, finished(cluster, "n2"))}
    assert plan(cluster, replace(found, jobs=both)) == ["rook-ceph-osd-0: Delete", "rook-ceph-osd-1: Delete"]


def test_what_another_kind_runs_in_the_cluster_is_its_own_to_end_and_is_waited_for() -> None:
    cluster = a_cluster(CONSENT)
    server = deployment_of(7, "n1")
    server["metadata"] |= {"name": "rook-ceph-mds-fs-a", "labels": {"app": "rook-ceph-mds"}}
    server["metadata"]["ownerReferences"][0] |= {"kind": "CephFilesystem", "name": "fs", "uid": "f1"}
    found = replace(on_nodes(cluster), live=live_objects(server), pods=(a_pod(Daemon(type="mds", id="fs-a")),))
    assert plan(cluster, found) == ["CephCluster: Wait <- these pods to end: rook-ceph-mds-fs-a-x"]


def test_the_keys_go_when_all_else_is_gone() -> None:
    cluster = a_cluster(CONSENT)
    done = {job.metadata.name: job for job in (finished(cluster, node) for node in ("n1", "n2"))}
    found = without_daemons(seen(cluster), jobs=done)
    keys = live_objects({"kind": "Secret", "metadata": {"name": "rook-ceph-mon", "namespace": "rook-ceph"}})
    steps = analyze(cluster, replace(found, live={**found.live, **keys})).steps
    assert steps
    assert not any(isinstance(s.action, DestroyIdentity) and s.action.name == "rook-ceph-mon" for s in steps)
    assert plan(cluster, replace(found, live=keys)) == ["Secret rook-ceph-mon: DestroyIdentity"]


def test_a_cleanup_that_failed_is_named_and_made_anew() -> None:
    cluster = a_cluster(CONSENT)
    job = cleanup_job(cluster, a_context(cluster), "n1", "n1", 60)
    job["metadata"]["uid"] = "j1"
    ended = {"type": "Failed", "status": "True", "lastTransitionTime": "2027-01-15T08:00:00Z"}
    failed = msgspec.convert({**job, "status": {"conditions": [ended]}}, Job)
    pod = {
        "metadata": {
            "name": "p",
            "labels": {"app": "rook-ceph-cleanup"},
            "ownerReferences": [{"kind": "Job", "uid": "j1"}],
        },
        "status": {
            "containerStatuses": [
                {"name": "cleanup", "state": {"terminated": {"exitCode": 1, "message": "a\ncontent is on /dev/sdb\n"}}}
            ]
        },
    }
    now = datetime.fromisoformat("2027-01-15T08:00:00Z").timestamp()
    found = on_nodes(cluster, "n1", reports={"n1": (osd(0, ceph_fsid=FSID),)})
    found = replace(found, jobs={job["metadata"]["name"]: failed}, pods=(msgspec.convert(pod, Pod),))
    (step,) = analyze(cluster, replace(found, osds=replace(found.osds, now=now))).steps
    assert step.action is None
    assert step.waits_for.startswith("the next try, at 08:05:00Z, or spec.cleanupPolicy.confirmation to be taken away")
    assert step.waits_for.endswith("failed: pod p: container cleanup ended with code 1: content is on /dev/sdb")
    (step,) = analyze(cluster, replace(found, osds=replace(found.osds, now=now + 300))).steps
    assert isinstance(step.action, DestroyData)
    assert (step.action.attempt, step.waits_for) == (Attempt("j1", 2), "")


def test_a_cleanup_that_hangs_is_named_and_holds_no_other_node() -> None:
    cluster = a_cluster(CONSENT)
    job = cleanup_job(cluster, a_context(cluster), "n1", "n1", QUICK)
    assert job["spec"]["activeDeadlineSeconds"] == QUICK
    meta = {**job["metadata"], "creationTimestamp": "2027-01-15T08:00:00Z"}
    made = datetime.fromisoformat("2027-01-15T08:00:00Z").timestamp()
    found = on_nodes(cluster, "n1", "n2", reports=dict.fromkeys(("n1", "n2"), (osd(0, ceph_fsid=FSID),)))

    def waits(after: float, *conditions: dict[str, str]) -> str:
        running = msgspec.convert({**job, "metadata": meta, "status": {"conditions": list(conditions)}}, Job)
        then = replace(found, jobs={meta["name"]: running}, osds=replace(found.osds, now=made + after))
        first, second = analyze(cluster, then).steps
        assert isinstance(second.action, DestroyData)
        assert not second.waits_for
        return first.waits_for

    assert waits(QUICK) == f"Job {meta['name']} to end"
    assert waits(QUICK + 300).endswith("it did not end within 1 h: a device of the node may hang")
    cut_off = {
        "type": "Failed",
        "status": "True",
        "reason": "DeadlineExceeded",
        "lastTransitionTime": "2027-01-15T09:00:00Z",
    }
    assert waits(QUICK + 60, cut_off).endswith(f"Job {meta['name']} failed: it did not end within 1 h")


def test_a_cleanup_may_take_as_long_as_its_devices_are_large() -> None:
    sanitize: dict[str, Any] = {"method": "complete", "iteration": 3}
    whole = a_cluster({"cleanupPolicy": {"sanitizeDisks": sanitize}})
    disks = (disk("sda"), disk("sda1", parent="sda"), disk("sdb"))
    assert deadline(a_cluster(CONSENT), disks) == QUICK
    assert deadline(whole, disks) == QUICK + 3 * 2 * (1 << 40) / SLOWEST
    assert deadline(whole, None) > deadline(whole, disks)


def test_what_the_spec_says_of_cleanup_pods() -> None:
    rich = {
        "annotations": {"all": {"a": "1"}, "cleanup": {"b": "2"}},
        "labels": {"cleanup": {"team": "storage"}},
        "priorityClassNames": {"cleanup": "high"},
    }
    job = cleanup_job(a_cluster(rich), a_context(a_cluster(rich)), "n1", "n1", 60)
    template = job["spec"]["template"]
    assert template["metadata"]["annotations"] == {"a": "1", "b": "2"}
    assert template["metadata"]["labels"]["team"] == "storage"
    assert template["spec"]["priorityClassName"] == "high"
    assert template["spec"]["tolerations"] == [{"operator": "Exists"}]


@pytest.mark.parametrize("source", ["zero", "random"])
def test_devices_are_overwritten_as_often_as_asked_and_one_that_fails_leaves_no_other(
    tmp_path: Path, source: str
) -> None:
    """The script itself, in a shell, with programs that note what they are called for."""
    tools, notes = tmp_path / "bin", tmp_path / "notes"
    tools.mkdir()
    (tmp_path / "sys").mkdir()
    for name in ("sda", "sdb", "sdc"):
        (tmp_path / "sys" / name).touch()
    label = '\'"ceph_fsid": "F"\''
    programs = {
        "ceph-bluestore-tool": f'[ "$3" != /dev/sdc ] && ! grep -q "wiped $3" {notes} && echo {label}',
        "shred": f'echo "shred $@" >> {notes}; case "$@" in */sda) exit 1;; esac',
        "wipefs": f'echo "wiped $2" >> {notes}',
    }
    for name, text in programs.items():
        (tools / name).write_text(f"#!/bin/sh\n{text}\n")
        (tools / name).chmod(0o755)
    notes.touch()
    script = REMOVE_DATA.replace("/sys/class/block", str(tmp_path / "sys")).replace("[ ! -b ", "[ ! -n ")
    env = {"PATH": f"{tools}:{os.environ['PATH']}", "FSID": "F", "METHOD": "complete", "SOURCE": source}
    done = subprocess.run(
        ["sh", "-c", script], env={**env, "ITERATIONS": "2"}, capture_output=True, text=True, check=False
    )
    how = "-n 1" if source == "random" else "-n 0 -z"
    assert notes.read_text().splitlines() == [
        f"shred {how} /dev/sda",
        f"shred {how} /dev/sdb",
        f"shred {how} /dev/sdb",
        "wiped /dev/sdb",
    ]
    assert (done.returncode, done.stderr.strip()) == (1, "content that cannot be removed is on /dev/sda")


def test_the_job_is_bound_to_the_nodes_host_name() -> None:
    cluster = a_cluster(CONSENT)
    (first, _) = analyze(cluster, without_daemons(seen(cluster))).steps
    assert isinstance(first.action, DestroyData)
    pod = first.action.job["spec"]["template"]["spec"]
    assert pod["nodeSelector"] == {"kubernetes.io/hostname": "n1.example"}


def test_cleanup_job() -> None:
    policy = {"cleanupPolicy": {"sanitizeDisks": {"method": "complete", "dataSource": "random", "iteration": 2}}}
    assert_matches_snapshot(
        cleanup_job(a_cluster(policy), a_context(a_cluster(policy)), "n1", "n1.example", 60), "cleanup-job"
    )
