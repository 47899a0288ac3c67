"""OSDs: plans by table, from devices to daemons; what a restart may do; what is read back."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import anyio
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.apis.ceph import CephCluster
from controller.apis.ceph.storage import StorageScopeSpec
from controller.apis.rook.node_report import BlockDevice
from controller.ceph.access.rados import CephError
from controller.ceph.mgr.act import CreateKeyring
from controller.ceph.osd import analyze as osd
from controller.ceph.osd import assess as osd_assess
from controller.ceph.osd import observe as osd_observe
from controller.ceph.osd import script_image
from controller.ceph.osd.act import DeployOsd, RemoveOsd, RequireRelease, SetDeviceClass, handlers
from controller.ceph.osd.analyze import OLD_SCRIPTS
from controller.ceph.osd.assess import assess, judged
from controller.ceph.osd.devices import DeviceVerdict, Verdict
from controller.ceph.osd.memory import Comparisons
from controller.ceph.osd.objects import Osd, osd_deployment, read_osd
from controller.ceph.osd.observation import Assessment, OsdObservation, OsdState
from controller.ceph.osd.observe import observe
from controller.ceph.osd.prepare import MAX_DEVICES
from controller.ceph.osd.prepare_job import APP as PREPARE_APP
from controller.ceph.osd.prepare_job import (
    BOOTSTRAP_SECRET,
    DEVICES_VARIABLE,
    Prepared,
    PrepareDevices,
    Refusal,
    Target,
    job_name,
    prepare_job,
    read_results,
    tried_by,
)
from controller.ceph.osd.restart import RETURN_SECONDS, next_batch
from controller.ceph.osd.status import MAX_DEVICE_ROWS, device_status, storage_status
from controller.ceph.pods import Context, Release, context_of
from controller.ceph.releases import CephVersion
from controller.framework.children import Delete
from controller.framework.consent import NoConsentError
from controller.framework.jobs import Attempt, Phase, Run, read
from controller.framework.plan import Step
from controller.framework.reservations import Reservations, ReservedError
from controller.runtime.kube import Deployment, Job, Node, Pod, PodStatus
from informers import Client
from tests.unit.ceph.answers import FakeCeph as Answers
from tests.unit.ceph.snapshot import assert_matches_snapshot
from tests.unit.framework.applied import as_applied

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

FSID = "a7beedc0-36a7-4be2-afe3-22094a6770aa"
UUIDS = tuple(f"354e9e31-3991-4647-ad71-9e21444f95c{n}" for n in range(10))
RELEASE = Release("ceph:18.2", CephVersion(18, 2, 7))
NEXT_RELEASE = Release("ceph:19.2", CephVersion(19, 2, 2))
NOW = 1_800_000_000.0
UNUSED: Any = None
GIB = 1024**3


def cluster(**spec: Any) -> CephCluster:
    spec.setdefault("storage", {"useAllNodes": True, "useAllDevices": True})
    meta = {"name": "my-cluster", "namespace": "rook-ceph", "uid": "c1"}
    return msgspec.convert({"metadata": meta, "spec": spec}, CephCluster)


def node(name: str, **labels: str) -> Node:
    labels = {"kubernetes.io/hostname": name, **labels}
    return msgspec.convert(
        {"metadata": {"name": name, "labels": labels}, "status": {"nodeInfo": {"bootID": f"boot-{name}"}}}, Node
    )


def disk(name: str = "sdb", **fields: Any) -> BlockDevice:
    return BlockDevice(**{"name": name, "path": f"/dev/{name}", "type": "disk", "size": 10 * GIB, **fields})


def target(name: str, device_class: str = "") -> Target:
    """What is asked of a Job for `disk(name)`."""
    return Target(f"/dev/{name}", device_class, size=10 * GIB)


def osd_disk(number: int, name: str = "sdb") -> BlockDevice:
    label = {"ceph_fsid": FSID, "osd_id": number, "osd_uuid": UUIDS[number], "signatures": ("ceph_bluestore",)}
    return disk(name, **label)


def an_osd(number: int, node_name: str = "a", **fields: Any) -> Osd:
    return Osd(**{"osd_id": number, "uuid": UUIDS[number], "node": node_name, "path": "/dev/sdb", **fields})


def state(number: int, *, up: bool = True, is_in: bool = True, new: bool = False, **fields: Any) -> OsdState:
    return OsdState(osd_id=number, uuid=UUIDS[number], up=up, is_in=is_in, new=new, **fields)


def running(
    spec: CephCluster,
    one: Osd,
    release: Release = RELEASE,
    *,
    rolled_out: bool = True,
    progress: str = "",
    since: float = NOW,
) -> dict[str, Any]:
    """An OSD's Deployment as the API server has it.

    Args:
        spec: The cluster.
        one: The OSD.
        release: What it is to run.
        rolled_out: Whether its pod is there.
        progress: The reason of its condition Progressing, written `since` then.
        since: Seconds since the epoch.
    """
    found = as_applied(osd_deployment(spec.spec.storage, a_context(spec, release), one, node(one.node), {}, IMAGE))
    found["metadata"] |= {"uid": f"d{one.osd_id}", "generation": 2}
    replicas = {"replicas": 1, "updatedReplicas": 1, "availableReplicas": 1}
    found["status"] = {"observedGeneration": 2, **(replicas if rolled_out else {})}
    if progress:
        updated = datetime.fromtimestamp(since, UTC).isoformat()
        found["status"]["conditions"] = [
            {"type": "Progressing", "status": "True", "reason": progress, "lastUpdateTime": updated}
        ]
    return found


IMAGE = "rook/operator:v1"
OPERATOR: dict[str, Any] = {"script_image": IMAGE, "reservations": Reservations(lambda: NOW)}
SHARED: dict[tuple[str, str], dict[str, Any]] = {
    ("Secret", BOOTSTRAP_SECRET): {},
}


def observation(*deployments: dict[str, Any], **fields: Any) -> OsdObservation:
    """What is seen of a cluster whose shared objects are there."""
    typed = [msgspec.convert(d, Deployment) for d in deployments]
    numbered = {one.osd_id: d for d in typed if (one := read_osd(d)) is not None}
    live = {**SHARED, **{("Deployment", d["metadata"]["name"]): d for d in deployments}}
    names = fields.pop("nodes", ("a",))
    fields = {"now": NOW, "script_image": IMAGE, "live": live, "deployments": numbered, "states": {}, **fields}
    return OsdObservation(nodes=tuple(node(n) if isinstance(n, str) else n for n in names), **fields)


def job(spec: CephCluster, *paths: str, ended: str = "", kind: str = "Complete") -> Job:
    action = PrepareDevices(node="a", hostname="a", targets=tuple(Target(path) for path in paths))
    manifest = prepare_job(spec.spec.storage, a_context(spec), action, UUIDS[: len(paths)], IMAGE)
    manifest["metadata"]["uid"] = "j1"
    if ended:
        manifest["status"] = {"conditions": [{"type": kind, "status": "True", "lastTransitionTime": ended}]}
    return msgspec.convert(manifest, Job)


def preparing(found: Job, now: float = NOW) -> dict[str, Run]:
    return {found.metadata.name: read(found, (), {}, now)}


def prepare_pod(name: str, message: str, *, created: str = "2027-01-15T08:00:00Z", node_name: str = "a") -> Pod:
    ended = {"name": "provision", "state": {"terminated": {"exitCode": 0, "message": message}}}
    return msgspec.convert(
        {
            "metadata": {"name": name, "creationTimestamp": created, "labels": {"app": PREPARE_APP}},
            "spec": {"nodeName": node_name},
            "status": {"containerStatuses": [ended]},
        },
        Pod,
    )


def assessed(spec: CephCluster, release: Release, seen: OsdObservation) -> OsdObservation:
    return replace(seen, assessed=assess(spec, a_context(spec, release), seen, Comparisons()))


def a_context(spec: CephCluster, release: Release = RELEASE) -> Context:
    return context_of(spec, FSID, release)


def analyze(spec: CephCluster, context: Context, seen: OsdObservation, *, hold: str = "") -> tuple[Step, ...]:
    """The plan for what is seen."""
    return osd.analyze(spec, context, assessed(spec, context.release, seen), hold=hold)


def lost(seen: OsdObservation) -> dict[int, str]:
    return osd.lost(assessed(cluster(), RELEASE, seen))


def shown(steps: tuple[Step, ...]) -> list[tuple[str, str, str]]:
    return [(step.subject, step.title, step.waits_for) for step in steps]


class TestPreparation:
    def test_waits_for_a_mon(self) -> None:
        steps = analyze(cluster(), a_context(cluster()), observation(states=None, reports={"a": (disk(),)}))
        assert shown(steps) == [("osds", "Wait", "a mon to be in quorum")]

    def test_nothing_selected_needs_nothing(self) -> None:
        seen = observation(live={}, reports={"a": (disk(filesystem="ext4"),)})
        assert analyze(cluster(), a_context(cluster()), seen) == ()

    def test_shared_objects_come_first(self) -> None:
        steps = analyze(cluster(), a_context(cluster()), observation(live={}, reports={"a": (disk(),)}))
        assert [(s.title, s.lane) for s in steps[:1]] == [("CreateKeyring", "osd keyring")]
        keyring = steps[0].action
        assert isinstance(keyring, CreateKeyring)
        assert (keyring.entity, keyring.caps) == ("client.bootstrap-osd", {"mon": "allow profile bootstrap-osd"})
        assert steps[1].waits_for == "Secret rook-ceph-osd-bootstrap-keyring"

    def test_every_node_in_a_lane_of_its_own(self) -> None:
        spec = cluster(storage={"useAllNodes": True, "useAllDevices": True, "config": {"deviceClass": "ssd"}})
        seen = observation(nodes=("a", "b"), reports={"a": (disk("sdb"), disk("sdc")), "b": (disk("sdb"),)})
        steps = analyze(spec, a_context(spec), seen)
        assert [step.action for step in steps] == [
            PrepareDevices(node="a", hostname="a", targets=(target("sdb", "ssd"), target("sdc", "ssd"))),
            PrepareDevices(node="b", hostname="b", targets=(target("sdb", "ssd"),)),
        ]
        assert len({step.lane or step.subject for step in steps}) == 2
        assert steps[0].reason == "/dev/sdb, /dev/sdc selected and empty"

    def test_a_device_is_asked_for_by_all_that_it_is_known_by(self) -> None:
        links = ("/dev/disk/by-id/wwn-1", "/dev/disk/by-path/pci-1")
        (step, *_) = analyze(cluster(), a_context(cluster()), observation(reports={"a": (disk(dev_links=links),)}))
        assert isinstance(step.action, PrepareDevices)
        assert step.action.targets == (Target("/dev/sdb", links=links, size=10 * GIB),)

    def test_many_devices_are_prepared_in_turns(self) -> None:
        seen = observation(reports={"a": tuple(disk(f"sd{letter}") for letter in "abcdefghijklmnopqrst")})
        (step,) = analyze(cluster(), a_context(cluster()), seen)
        assert isinstance(step.action, PrepareDevices)
        assert len(step.action.targets) == MAX_DEVICES

    def test_job_under_way(self) -> None:
        found = job(cluster(), "/dev/sdb")
        seen = observation(preparing=preparing(found), reports={"a": (disk(),)})
        steps = analyze(cluster(), a_context(cluster()), seen)
        assert shown(steps) == [("devices of node a", "Wait", "Job rook-ceph-osd-prepare-a to end")]

    @pytest.mark.parametrize("kind", ["Complete", "Failed"])
    def test_device_that_was_refused_is_tried_again_later(self, kind: str) -> None:
        found = job(cluster(), "/dev/sdb", ended="2027-01-15T07:58:00Z", kind=kind)
        refused = Refusal("a", "/dev/sdb", "/dev/sdb has signatures: ext4")
        seen = observation(preparing=preparing(found), refused=(refused,), reports={"a": (disk(),)})
        (step,) = analyze(cluster(), a_context(cluster()), seen)
        assert step.reason == "/dev/sdb: /dev/sdb has signatures: ext4"
        assert step.waits_for == "the next try, at 08:03:00Z"

    def test_next_try(self) -> None:
        found = job(cluster(), "/dev/sdb", ended="2027-01-15T07:55:00Z", kind="Failed")
        seen = observation(preparing=preparing(found), reports={"a": (disk(),)})
        (step,) = analyze(cluster(), a_context(cluster()), seen)
        wanted = PrepareDevices(
            node="a", hostname="a", targets=(target("sdb"),), attempt=Attempt("j1", 2), tried=("/dev/sdb",)
        )
        assert step.action == wanted

    def test_new_device_does_not_wait_for_the_next_try(self) -> None:
        found = job(cluster(), "/dev/sdb", ended="2027-01-15T07:59:59Z")
        seen = observation(preparing=preparing(found), reports={"a": (osd_disk(0), disk("sdc"))})
        seen = replace(seen, states={0: state(0)}, prepared=(Prepared("a", "/dev/sdb", 0, UUIDS[0]),))
        steps = analyze(cluster(), a_context(cluster()), seen)
        assert PrepareDevices(node="a", hostname="a", targets=(target("sdc"),), attempt=Attempt("j1")) in [
            s.action for s in steps
        ]

    def test_closed_node_is_left_alone(self) -> None:
        cordoned = msgspec.structs.replace(
            node("a"), spec=msgspec.convert({"unschedulable": True}, type(node("a").spec))
        )
        assert analyze(cluster(), a_context(cluster()), observation(nodes=(cordoned,), reports={"a": (disk(),)})) == ()


class TestDaemons:
    """Whatever tells of an OSD, it gets its Deployment."""

    @pytest.mark.parametrize(
        "fields",
        [
            {"prepared": (Prepared("a", "/dev/sdb", 0, UUIDS[0]),), "reports": {}},
            {"prepared": (Prepared("a", "/dev/sdb", 0, UUIDS[0]),), "reports": {"a": (disk(),)}},
            {"reports": {"a": (osd_disk(0),)}},
        ],
        ids=["job", "job and old report", "device label"],
    )
    def test_missing_deployment(self, fields: dict[str, Any]) -> None:
        (step,) = analyze(cluster(), a_context(cluster()), observation(states={0: state(0, up=False)}, **fields))
        assert (step.subject, step.reason) == ("osd.0", "Deployment rook-ceph-osd-0 does not exist")
        assert isinstance(step.action, DeployOsd)
        assert read_osd(msgspec.convert(step.action.obj, Deployment)) == an_osd(0, place={"host": "a"})

    def test_settled(self) -> None:
        seen = observation(running(cluster(), an_osd(0)), states={0: state(0)}, reports={"a": (osd_disk(0),)})
        assert analyze(cluster(), a_context(cluster()), seen) == ()

    def test_settled_without_reports(self) -> None:
        seen = observation(running(cluster(), an_osd(0)), states={0: state(0)})
        assert analyze(cluster(), a_context(cluster()), seen) == ()

    @pytest.mark.parametrize(("new", "progress"), [(True, ""), (False, "ReplicaSetUpdated")])
    def test_not_up_yet(self, new: bool, progress: str) -> None:
        deployed = running(cluster(), an_osd(0), progress=progress)
        seen = observation(deployed, states={0: state(0, up=False, new=new)})
        steps = analyze(cluster(), a_context(cluster()), seen)
        assert shown(steps) == [("osd.0", "Wait", "the OSD to report to the mons")]
        assert lost(seen) == {}

    def test_one_that_went_down_is_nothing_to_wait_for(self) -> None:
        """Its disk may be dead for weeks: the cluster is degraded, and has nothing to do."""
        pod = prepare_pod("p", "")
        waiting = {"name": "osd", "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "no device"}}}
        pod = msgspec.structs.replace(pod, status=msgspec.convert({"containerStatuses": [waiting]}, PodStatus))
        deployed = running(cluster(), an_osd(0), rolled_out=False, progress="NewReplicaSetAvailable")
        seen = observation(deployed, states={0: state(0, up=False)}, pods={0: (pod,)})
        assert analyze(cluster(), a_context(cluster()), seen) == ()
        ((number, why),) = lost(seen).items()
        assert number == 0
        assert "no device" in why

    def test_device_under_another_name_restarts_nothing(self) -> None:
        seen = observation(running(cluster(), an_osd(0)), states={0: state(0)}, reports={"a": (osd_disk(0, "sdq"),)})
        assert analyze(cluster(), a_context(cluster()), seen) == ()

    def test_device_that_the_spec_no_longer_selects_keeps_its_settings(self) -> None:
        fast = cluster(storage={"useAllNodes": True, "useAllDevices": True, "config": {"crushRoot": "fast"}})
        deployed = running(fast, an_osd(0, settings={"crushRoot": "fast"}))
        seen = observation(deployed, states={0: state(0)}, reports={"a": (osd_disk(0),)})
        assert analyze(cluster(storage={}), a_context(cluster(storage={})), seen) == ()
        (step,) = analyze(cluster(), a_context(cluster()), seen)
        assert isinstance(step.action, DeployOsd)

    def test_disk_carried_to_another_node(self) -> None:
        seen = observation(
            running(cluster(), an_osd(0)),
            nodes=("a", "b"),
            states={0: state(0, up=False)},
            reports={"a": (), "b": (osd_disk(0, "sdx"),)},
        )
        (step,) = analyze(cluster(), a_context(cluster()), seen)
        assert isinstance(step.action, DeployOsd)
        assert step.action.obj["spec"]["template"]["spec"]["nodeSelector"] == {"kubernetes.io/hostname": "b"}

    def test_disk_that_several_nodes_see_stays_where_it_is(self) -> None:
        seen = observation(
            running(cluster(), an_osd(0, "b")),
            nodes=("a", "b"),
            states={0: state(0)},
            reports={"a": (osd_disk(0),), "b": (osd_disk(0),)},
        )
        assert analyze(cluster(), a_context(cluster()), seen) == ()

    def test_disk_that_several_nodes_see_goes_to_the_one_that_the_spec_means(self) -> None:
        spec = cluster(storage={"nodes": [{"name": "b", "devices": [{"name": "sdb"}]}]})
        reports = {"a": (osd_disk(0),), "b": (osd_disk(0),)}
        (step,) = analyze(spec, a_context(spec), observation(nodes=("a", "b"), states={0: state(0)}, reports=reports))
        assert isinstance(step.action, DeployOsd)
        assert step.action.obj["spec"]["template"]["spec"]["nodeSelector"] == {"kubernetes.io/hostname": "b"}

    def test_node_is_gone(self) -> None:
        seen = observation(running(cluster(), an_osd(0)), nodes=(), states={0: state(0, up=False)})
        assert analyze(cluster(), a_context(cluster()), seen) == ()
        assert list(lost(seen)) == [0]

    def test_left_alone_by_label(self) -> None:
        deployed = running(cluster(), an_osd(0))
        deployed["metadata"]["labels"]["ceph.rook.io/do-not-reconcile"] = "true"
        assert analyze(cluster(), a_context(cluster(), NEXT_RELEASE), observation(deployed, states={0: state(0)})) == ()

    def test_own_requests_of_a_node(self) -> None:
        requests = {"requests": {"memory": "2Gi"}}
        spec = cluster(storage={"nodes": [{"name": "a", "useAllDevices": True, "resources": requests}]})
        (step,) = analyze(spec, a_context(spec), observation(states={0: state(0)}, reports={"a": (osd_disk(0),)}))
        assert isinstance(step.action, DeployOsd)
        assert step.action.obj["spec"]["template"]["spec"]["containers"][0]["resources"] == requests


class TestRestarts:
    def seen(self, *osds: Osd, down: tuple[int, ...] = (), **fields: Any) -> OsdObservation:
        states = {one.osd_id: state(one.osd_id, up=one.osd_id not in down) for one in osds}
        deployed = [running(cluster(), one) for one in osds]
        return observation(*deployed, nodes=("a", "b", "c"), states=states, **fields)

    three = (an_osd(0, "a"), an_osd(1, "a"), an_osd(2, "b"))

    def waits(self, seen: OsdObservation, *, hold: str = "", **spec: Any) -> dict[str, str]:
        return {
            s.subject: s.waits_for
            for s in analyze(cluster(**spec), a_context(cluster(**spec), NEXT_RELEASE), seen, hold=hold)
        }

    def test_one_node_at_a_time(self) -> None:
        seen = self.seen(*self.three, stoppable=frozenset({0, 1}))
        assert self.waits(seen) == {"osd.0": "", "osd.1": "", "osd.2": "osd.0, osd.1 to be restarted"}

    def test_the_cluster_cannot_do_without(self) -> None:
        seen = self.seen(*self.three, unstoppable="12 PGs would be offline")
        assert self.waits(seen)["osd.0"] == "osd.0 to be dispensable: 12 PGs would be offline"

    def test_held(self) -> None:
        seen = self.seen(*self.three, stoppable=frozenset({0, 1}))
        assert set(self.waits(seen, hold="the mons to be updated").values()) == {"the mons to be updated"}

    @given(
        nodes=st.lists(st.sampled_from("abc"), min_size=1, max_size=9),
        limit=st.integers(1, 4),
        skip=st.booleans(),
        answers=st.lists(st.booleans(), max_size=40),
        broken=st.integers(-1, 8),
    )
    async def test_every_upgrade_goes_node_by_node_and_ends_whatever_the_flags(
        self, nodes: list[str], limit: int, skip: bool, answers: list[bool], broken: int
    ) -> None:
        """Ceph refuses as often as `answers` says. The pod of one OSD does not come back after its restart."""
        spec = cluster(
            skipUpgradeChecks=skip,
            storage={"useAllNodes": True, "useAllDevices": True, "osdMaxUpdatesInParallel": limit},
        )
        ones = [an_osd(number, name) for number, name in enumerate(nodes)]
        ceph = FakeCeph(*(state(one.osd_id) for one in ones))
        ceph.answers = iter(answers)
        deployed = {one.osd_id: running(spec, one) for one in ones}
        now = NOW
        for _ in range(len(ones) * 3 + len(answers)):
            seen = await look(spec, NEXT_RELEASE, ceph, list(deployed.values()), now=now)
            steps = [s for s in analyze(spec, a_context(spec, NEXT_RELEASE), seen) if isinstance(s.action, DeployOsd)]
            if not steps:
                break
            up = {s.osd_id for s in ceph.states if s.up}
            now_down = [int(s.subject.removeprefix("osd.")) for s in steps if not s.waits_for]
            stopped = [number for number in now_down if number in up]
            assert len({nodes[number] for number in stopped}) <= 1
            assert len(stopped) <= limit
            assert not stopped or up | {broken} >= set(deployed), (
                "those before are up again, but one that never will be"
            )
            # Before they are back, nobody else stops.
            for number in now_down:
                deployed[number] = running(
                    spec, ones[number], NEXT_RELEASE, rolled_out=False, progress="ReplicaSetUpdated"
                )
            between = await look(spec, NEXT_RELEASE, ceph, list(deployed.values()), now=now)
            assert not stopped or between.stoppable == frozenset()
            now += RETURN_SECONDS
            for number in now_down:
                lost = number == broken
                reason = "ProgressDeadlineExceeded" if lost else "NewReplicaSetAvailable"
                deployed[number] = running(spec, ones[number], NEXT_RELEASE, rolled_out=not lost, progress=reason)
                ceph.states = tuple(replace(s, up=not lost) if s.osd_id == number else s for s in ceph.states)
        else:
            pytest.fail("the upgrade does not end")

    async def test_skipped_checks_skip_the_question_alone(self) -> None:
        deployed = [running(cluster(), one) for one in self.three]
        ceph = FakeCeph(*(state(n) for n in range(3)))
        seen = await look(cluster(skipUpgradeChecks=True), NEXT_RELEASE, ceph, deployed)
        assert self.waits(seen, skipUpgradeChecks=True) == {
            "osd.0": "",
            "osd.1": "",
            "osd.2": "osd.0, osd.1 to be restarted",
        }
        assert ceph.asked == []

    async def test_too_few_to_ask_are_restarted_in_order(self) -> None:
        deployed = [running(cluster(), an_osd(0, "a")), running(cluster(), an_osd(1, "b"))]
        ceph = FakeCeph(state(0), state(1))
        seen = await look(cluster(), NEXT_RELEASE, ceph, deployed)
        assert self.waits(seen) == {"osd.0": "", "osd.1": "osd.0 to be restarted"}
        assert ceph.asked == []

    @pytest.mark.parametrize(
        ("rolled_out", "progress", "seconds_ago", "waits"),
        [
            pytest.param(True, "NewReplicaSetAvailable", 5, True, id="its pod is there, the mons have not heard of it"),
            pytest.param(True, "NewReplicaSetAvailable", 601, False, id="it does not come back"),
            pytest.param(False, "ReplicaSetUpdated", 5, True, id="its pod is being made"),
            pytest.param(False, "ProgressDeadlineExceeded", 5, False, id="its pod does not start"),
            pytest.param(False, "NewReplicaSetAvailable", 5, False, id="it went down by itself"),
        ],
    )
    def test_who_is_waited_for(self, rolled_out: bool, progress: str, seconds_ago: float, waits: bool) -> None:
        first = running(
            cluster(), an_osd(0, "a"), NEXT_RELEASE, rolled_out=rolled_out, progress=progress, since=NOW - seconds_ago
        )
        states = {0: state(0, up=False), 1: state(1), 2: state(2)}
        others = [running(cluster(), one) for one in self.three[1:]]
        seen = observation(first, *others, nodes=("a", "b"), states=states)
        assert next_batch(cluster(), assessed(cluster(), NEXT_RELEASE, seen)) == (() if waits else (1,))

    def test_one_that_is_down_needs_no_permission(self) -> None:
        seen = self.seen(*self.three, down=(2,), unstoppable="no")
        waits = self.waits(seen)
        assert waits["osd.2"] == ""
        assert waits["osd.0"] != ""

    @pytest.mark.parametrize(("limit", "expected"), [(20, (0, 1)), (1, (0,))])
    def test_next_batch(self, limit: int, expected: tuple[int, ...]) -> None:
        spec = cluster(storage={"osdMaxUpdatesInParallel": limit})
        assert next_batch(spec, assessed(spec, NEXT_RELEASE, self.seen(*self.three))) == expected
        assert next_batch(spec, assessed(spec, RELEASE, self.seen(*self.three))) == ()

    def test_none_is_asked_about_while_one_is_about_to_stop(self) -> None:
        """Its Deployment was changed a moment ago, and the cluster's map still has it up."""
        deployed = [
            running(cluster(), an_osd(0, "a"), NEXT_RELEASE, rolled_out=False),
            *(running(cluster(), one) for one in self.three[1:]),
        ]
        seen = observation(*deployed, nodes=("a", "b"), states={n: state(n) for n in range(3)})
        assert next_batch(cluster(), assessed(cluster(), NEXT_RELEASE, seen)) == ()
        assert self.waits(seen) == {"osd.1": "osd.0 to be restarted", "osd.2": "osd.0 to be restarted"}


class TestPlaces:
    """Data moves when somebody says so, not when a label comes or goes."""

    zone: ClassVar = {"topology.kubernetes.io/zone": "z1"}

    def seen(self, before: Node, now: Node, *, up: bool = True) -> tuple[CephCluster, OsdObservation]:
        spec = cluster()
        found = as_applied(osd_deployment(spec.spec.storage, a_context(spec), an_osd(0, "a"), before, {}, IMAGE))
        found["metadata"] |= {"uid": "d0", "generation": 2}
        return spec, observation(found, nodes=(now,), states={0: state(0, up=up)})

    @pytest.mark.parametrize("up", [True, False])
    @pytest.mark.parametrize("label", ["appears", "goes"])
    def test_a_changed_label_needs_consent(self, label: str, up: bool) -> None:
        before, now = node("a"), node("a", **self.zone)
        spec, seen = self.seen(*((before, now) if label == "appears" else (now, before)), up=up)
        steps = [s for s in analyze(spec, a_context(spec), seen) if s.consent]
        assert [s.subject for s in steps] == ["OSDs of node a"]
        assert steps[0].consent == 'annotation rook.io/allow-osd-move: "true"'
        assert not any(isinstance(s.action, DeployOsd) for s in analyze(spec, a_context(spec), seen))

    def test_consent(self) -> None:
        spec, seen = self.seen(node("a"), node("a", **self.zone))
        meta = msgspec.structs.replace(spec.metadata, annotations={"rook.io/allow-osd-move": "true"})
        (step,) = analyze(
            msgspec.structs.replace(spec, metadata=meta), a_context(msgspec.structs.replace(spec, metadata=meta)), seen
        )
        assert isinstance(step.action, DeployOsd)
        assert read_osd(msgspec.convert(step.action.obj, Deployment)) == an_osd(0, place={"zone": "z1", "host": "a"})

    def test_other_changes_leave_it_where_it_is(self) -> None:
        spec, seen = self.seen(node("a", **self.zone), node("a"))
        (step,) = [s for s in analyze(spec, a_context(spec, NEXT_RELEASE), seen) if isinstance(s.action, DeployOsd)]
        assert isinstance(step.action, DeployOsd)
        assert read_osd(msgspec.convert(step.action.obj, Deployment)) == an_osd(0, place={"zone": "z1", "host": "a"})

    def test_all_of_a_node_are_one_step(self) -> None:
        spec = cluster()
        deployed = [running(spec, an_osd(n)) for n in range(3)]
        seen = observation(*deployed, nodes=(node("a", **self.zone),), states={n: state(n) for n in range(3)})
        (step,) = analyze(spec, a_context(spec), seen)
        where = "osd.0, osd.1, osd.2 at host=a, and the node's labels say zone=z1 host=a by now: data would move"
        assert step.reason == where

    @pytest.mark.parametrize("known_by", ["job", "label of the device"])
    def test_one_without_a_deployment_goes_where_the_cluster_has_it(self, known_by: str) -> None:
        seen = observation(
            states={0: state(0, up=False, place={"rack": "r1", "host": "a"})},
            prepared=(Prepared("a", "/dev/sdb", 0, UUIDS[0]),) if known_by == "job" else (),
            reports={"a": (osd_disk(0),)} if known_by != "job" else {},
        )
        step, _ = analyze(cluster(), a_context(cluster()), seen)
        assert isinstance(step.action, DeployOsd)
        assert read_osd(msgspec.convert(step.action.obj, Deployment)) == an_osd(0, place={"rack": "r1", "host": "a"})

    def test_a_disk_that_was_carried_elsewhere_goes_there(self) -> None:
        deployed = running(cluster(), an_osd(0))
        seen = observation(
            deployed, nodes=("a", "b"), states={0: state(0)}, reports={"a": (), "b": (osd_disk(0, "sdx"),)}
        )
        (step,) = analyze(cluster(), a_context(cluster()), seen)
        assert isinstance(step.action, DeployOsd)
        assert "--crush-location=root=default host=b" in str(step.action.obj)


class TestRemovals:
    def test_purged_from_the_cluster(self) -> None:
        steps = analyze(cluster(), a_context(cluster()), observation(running(cluster(), an_osd(0)), states={}))
        assert [(s.subject, type(s.action)) for s in steps] == [("osd.0", Delete)]

    @pytest.mark.parametrize("known_by", ["Deployment rook-ceph-osd-0", "osd.0 on /dev/sdb of node a"])
    def test_mons_that_know_of_no_osd_do_not_decide_that_there_is_none(self, known_by: str) -> None:
        """Their stores were made anew, by the keys that there are. Nobody is told to wipe a device."""
        spec = cluster()
        seen = (
            observation(running(spec, an_osd(0)), ever=False)
            if known_by.startswith("Deployment")
            else observation(reports={"a": (osd_disk(0), disk("sdc"))}, ever=False)
        )
        (step,) = analyze(spec, a_context(spec), seen)
        assert step.action is None
        assert step.reason.endswith(f"there are {known_by}")
        assert not any("wipe" in verdict.reason for verdict in judged(spec, FSID, seen))

    def test_a_new_cluster_never_had_an_osd(self) -> None:
        seen = observation(reports={"a": (disk(), disk("sdc", ceph_fsid="another", osd_id=1))}, ever=False)
        assert any(isinstance(s.action, PrepareDevices) for s in analyze(cluster(), a_context(cluster()), seen))

    def test_number_used_again(self) -> None:
        """osd.0 was purged, and a new disk got its number: the Deployment of the old one becomes that of the new."""
        label = {"ceph_fsid": FSID, "osd_id": 0, "osd_uuid": UUIDS[5]}
        seen = observation(
            running(cluster(), an_osd(0)),
            states={0: OsdState(osd_id=0, uuid=UUIDS[5], up=False, is_in=True)},
            reports={"a": (disk("sdc", **label),)},
        )
        (step,) = analyze(cluster(), a_context(cluster()), seen)
        assert isinstance(step.action, DeployOsd)
        assert read_osd(msgspec.convert(step.action.obj, Deployment)) == an_osd(
            0, uuid=UUIDS[5], path="/dev/sdc", place={"host": "a"}
        )

    @pytest.mark.parametrize(("allowed", "expected"), [(True, [RemoveOsd(0)]), (False, [])])
    def test_out_and_safe(self, allowed: bool, expected: list[RemoveOsd]) -> None:
        seen = observation(
            running(cluster(), an_osd(0)), states={0: state(0, up=False, is_in=False)}, removable=frozenset({0})
        )
        steps = analyze(
            cluster(removeOSDsIfOutAndSafeToRemove=allowed),
            a_context(cluster(removeOSDsIfOutAndSafeToRemove=allowed)),
            seen,
        )
        assert [s.action for s in steps if isinstance(s.action, RemoveOsd)] == expected

    async def test_the_mgr_is_not_told_to_purge_come_what_may(self) -> None:
        """It takes each of these two for a user's word that the data may be lost."""
        ceph = Answers()
        ways = handlers(cluster(), a_context(cluster()), OnTheServer(True), UNUSED, ceph, **OPERATOR)
        await ways[RemoveOsd](RemoveOsd(3))
        ((command, arguments),) = ceph.asked
        assert command == "osd purge"
        assert not {"force", "yes_i_really_mean_it"} & set(arguments)

    @pytest.mark.parametrize(
        ("server", "why"), [((False, "c1"), "is not true any more"), ((True, "another"), "it is another")]
    )
    async def test_consent_is_asked_for_at_the_moment_of_the_act(self, server: tuple[bool, str], why: str) -> None:
        ceph = Answers()
        spec = cluster(removeOSDsIfOutAndSafeToRemove=True)
        ways = handlers(spec, a_context(spec), OnTheServer(*server), UNUSED, ceph, **OPERATOR)
        with pytest.raises(NoConsentError, match=why):
            await ways[RemoveOsd](RemoveOsd(3))
        assert ceph.asked == []


class OnTheServer(Client):
    """An API server that has the CephCluster."""

    def __init__(self, allowed: bool, uid: str = "c1") -> None:
        self.cluster = {"metadata": {"uid": uid}, "spec": {"removeOSDsIfOutAndSafeToRemove": allowed}}

    async def get(self, *_: Any, **__: Any) -> Any:
        return self.cluster


class TestUpgradeEnd:
    @pytest.mark.parametrize(
        ("required", "releases", "up", "expected"),
        [
            pytest.param("quincy", ("reef", "reef"), (True, True), [RequireRelease("reef")], id="all run it"),
            pytest.param("octopus", ("reef",), (True,), [RequireRelease("reef")], id="from one not known any more"),
            pytest.param("quincy", ("reef", ""), (True, False), [RequireRelease("reef")], id="a new one"),
            pytest.param("quincy", ("reef", "quincy"), (True, True), [], id="one is to come"),
            pytest.param("quincy", ("reef", "quincy"), (True, False), [], id="one that is down would be locked out"),
            pytest.param("quincy", ("reef",), (False,), [], id="none is up"),
            pytest.param("quincy", (), (), [], id="there is none"),
            pytest.param("reef", ("reef",), (True,), [], id="done"),
            pytest.param("squid", ("reef",), (True,), [], id="never lowered"),
            pytest.param("", ("reef",), (True,), [], id="not known"),
        ],
    )
    def test_the_release_is_required_in_the_end(
        self, required: str, releases: tuple[str, ...], up: tuple[bool, ...], expected: list[RequireRelease]
    ) -> None:
        states = {n: state(n, up=up[n]) for n in range(len(releases))}
        seen = observation(states=states, required=required, releases=Counter(r for r in releases if r))
        steps = analyze(cluster(), a_context(cluster()), seen)
        assert [s.action for s in steps if isinstance(s.action, RequireRelease)] == expected

    async def test_it_is_asked_of_the_mons(self) -> None:
        ceph = Answers()
        ways = handlers(cluster(), a_context(cluster()), UNUSED, UNUSED, ceph, **OPERATOR)
        await ways[RequireRelease](RequireRelease("reef"))
        assert ceph.asked == [("osd require-osd-release", {"release": "reef"})]


class FakeCeph:
    """Answers as a cluster whose OSDs are given, and refuses what it is told to refuse."""

    def __init__(self, *states: OsdState, refuses: dict[tuple[str, tuple[str, ...]], str] | None = None) -> None:
        self.states = states
        self.refuses = refuses or {}
        self.asked: list[tuple[str, tuple[str, ...]]] = []
        self.outputs: dict[str, Any] = {}
        self.answers: Iterator[bool] = iter(())
        self.silent = False
        self.max_osd: int | None = None

    async def mon(self, prefix: str, /, **args: Any) -> Any:
        if self.silent:
            raise CephError(110, "no answer")
        if prefix == "osd count-metadata":
            value = {"osd_objectstore": "bluestore", "ceph_release": "reef"}[args["property"]]
            return {value: len(self.states), "unknown": 1}
        assert not args
        if prefix == "osd dump":
            return {
                "osds": [
                    {
                        "osd": s.osd_id,
                        "uuid": s.uuid,
                        "up": int(s.up),
                        "in": int(s.is_in),
                        "state": ["exists", *(["new"] if s.new else [])],
                    }
                    for s in self.states
                ],
                "require_osd_release": "quincy",
                **({} if self.max_osd is None else {"max_osd": self.max_osd}),
            }
        if prefix == "osd tree":
            return {"nodes": [{"id": -1}, *({"id": s.osd_id, "device_class": "ssd"} for s in self.states)], "stray": []}
        assert prefix == "osd crush rule dump"
        return []

    async def mon_input(self, prefix: str, data: bytes, /, **args: Any) -> Any:
        raise AssertionError(prefix)

    async def mgr(self, prefix: str, /, **args: Any) -> Any:
        question = (prefix, tuple(args["ids"]))
        self.asked.append(question)
        refusal = self.refuses.get(question) or ("" if next(self.answers, True) else "not now")
        if refusal:
            raise CephError(16, refusal, self.outputs.get(prefix))
        return self.outputs.get(prefix, {})


async def look(
    spec: CephCluster,
    release: Release,
    ceph: Any,
    deployed: Sequence[dict[str, Any]],
    *,
    now: float = NOW,
    mgr: bool = True,
    memory: Comparisons | None = None,
) -> OsdObservation:
    """What is observed of a cluster on nodes a, b and c with these Deployments."""
    return await observe(
        spec,
        a_context(spec, release),
        now=now,
        nodes=[node(n) for n in "abc"],
        reports={},
        live={**SHARED, **{("Deployment", d["metadata"]["name"]): d for d in deployed}},
        deployments=[msgspec.convert(d, Deployment) for d in deployed],
        all_jobs=[],
        pods=[],
        ceph=ceph,
        mgr=mgr,
        memory=memory,
        script_image=IMAGE,
    )


class TestObservation:
    async def look(
        self, ceph: Any, release: Release = NEXT_RELEASE, *, mgr: bool = True, **spec: Any
    ) -> OsdObservation:
        return await look(
            cluster(**spec), release, ceph, [running(cluster(), one) for one in TestRestarts.three], mgr=mgr
        )

    async def test_asks_for_a_node_and_then_for_one(self) -> None:
        ceph = FakeCeph(*(state(n) for n in range(3)), refuses={("osd ok-to-stop", ("0", "1")): "4 PGs"})
        seen = await self.look(ceph)
        assert ceph.asked == [("osd ok-to-stop", ("0", "1")), ("osd ok-to-stop", ("0",))]
        assert (seen.stoppable, seen.unstoppable) == (frozenset({0}), "")

    async def test_refused(self) -> None:
        batches: tuple[tuple[str, ...], ...] = (("0", "1"), ("0",))
        refuses = {("osd ok-to-stop", ids): "4 PGs" for ids in batches}
        seen = await self.look(FakeCeph(*(state(n) for n in range(3)), refuses=refuses))
        assert (seen.stoppable, seen.unstoppable) == (frozenset(), "4 PGs")

    async def test_asks_nothing_where_nothing_is_to_be_done(self) -> None:
        ceph = FakeCeph(*(state(n) for n in range(3)))
        seen = await self.look(ceph, RELEASE)
        assert ceph.asked == []
        assert seen.states == {n: state(n, device_class="ssd") for n in range(3)}
        assert (seen.stores, seen.releases) == ({"bluestore": 3}, {"reef": 3})
        assert seen.required == "quincy"

    @pytest.mark.parametrize(("max_osd", "ever"), [(0, False), (1, True), (None, True)])
    async def test_whether_the_cluster_ever_had_an_osd(self, max_osd: int | None, ever: bool) -> None:
        ceph = FakeCeph()
        ceph.max_osd = max_osd
        assert (await self.look(ceph)).ever is ever

    async def test_mons_that_stop_answering(self) -> None:
        ceph = FakeCeph()
        ceph.silent = True
        assert (await self.look(ceph)).states is None

    async def test_asks_once_what_may_be_removed(self) -> None:
        """Refused for one of them, the answer still says which are safe."""
        gone = [state(n, up=False, is_in=False) for n in range(7)]
        question = ("osd safe-to-destroy", tuple("0123456"))
        ceph = FakeCeph(*gone, refuses={question: "OSD(s) 1 have 4 pgs currently mapped to them."})
        ceph.outputs["osd safe-to-destroy"] = {"safe_to_destroy": [0, 2], "active": [1], "missing_stats": []}
        seen = await self.look(ceph, RELEASE, removeOSDsIfOutAndSafeToRemove=True)
        assert seen.removable == frozenset({0, 2})
        assert ceph.asked == [question]

    async def test_what_is_not_said_to_be_safe_stays(self) -> None:
        ceph = FakeCeph(*(state(n, up=False, is_in=False) for n in range(3)))
        assert (await self.look(ceph, RELEASE, removeOSDsIfOutAndSafeToRemove=True)).removable == frozenset()

    async def test_nothing_is_asked_of_a_mgr_that_is_away(self) -> None:
        ceph = FakeCeph(state(0, up=False, is_in=False), *(state(n) for n in range(1, 3)))
        seen = await self.look(ceph, removeOSDsIfOutAndSafeToRemove=True, mgr=False)
        assert ceph.asked == []
        assert (seen.removable, seen.stoppable, seen.unstoppable) == (frozenset(), frozenset(), "no mgr answers")
        assert seen.states is not None

    async def test_a_mgr_that_does_not_answer_holds_nothing_up_for_long(self, monkeypatch: pytest.MonkeyPatch) -> None:
        class Hung(FakeCeph):
            async def mgr(self, prefix: str, /, **args: Any) -> Any:
                self.asked.append((prefix, tuple(args["ids"])))
                await anyio.sleep_forever()

        monkeypatch.setattr(osd_observe, "MGR_SECONDS", 0.01)
        ceph = Hung(state(0, up=False, is_in=False), *(state(n) for n in range(1, 3)))
        seen = await self.look(ceph, removeOSDsIfOutAndSafeToRemove=True)
        assert sorted(question for question, _ in ceph.asked) == ["osd ok-to-stop", "osd safe-to-destroy"]
        assert (seen.removable, seen.stoppable, seen.unstoppable) == (frozenset(), frozenset(), "no mgr answers")

    async def test_one_that_was_just_made_is_not_removed(self) -> None:
        """It is down and out until it starts, and no placement group is on it."""
        ceph = FakeCeph(state(0, up=False, is_in=False, new=True), state(1))
        seen = await self.look(ceph, RELEASE, removeOSDsIfOutAndSafeToRemove=True)
        assert seen.removable == frozenset()
        assert ceph.asked == []

    async def test_storage_status(self) -> None:
        status = storage_status(await self.look(FakeCeph(*(state(n) for n in range(3))), RELEASE))
        assert msgspec.to_builtins(status) == {
            "deviceClasses": ({"name": "ssd"},),
            "osd": {"storeType": {"bluestore": 3}},
        }


class TestMemory:
    """At rest nothing is built or compared; what changed is, and whatever it depends on counts."""

    @pytest.fixture
    def built(self, monkeypatch: pytest.MonkeyPatch) -> list[int]:
        """The OSDs whose Deployments were built."""
        found: list[int] = []

        def count(spec: StorageScopeSpec, context: Context, one: Osd, *more: Any) -> dict[str, Any]:
            found.append(one.osd_id)
            return osd_deployment(spec, context, one, *more)

        monkeypatch.setattr(osd_assess, "osd_deployment", count)
        return found

    def deployed(self, spec: CephCluster, *, version: str = "1") -> list[dict[str, Any]]:
        found = [running(spec, one) for one in TestRestarts.three]
        for deployment in found:
            deployment["metadata"]["resourceVersion"] = version
        return found

    async def test_what_did_not_change_is_not_compared_again(self, built: list[int]) -> None:
        spec, ceph, memory = cluster(), FakeCeph(*(state(n) for n in range(3))), Comparisons()
        deployed = self.deployed(spec)
        for _ in range(3):
            seen = await look(spec, RELEASE, ceph, deployed, memory=memory)
            assert seen.assessed.changes == {}
        assert built == [0, 1, 2]
        deployed[1]["metadata"]["resourceVersion"] = "2"
        deployed[1]["spec"]["replicas"] = 0
        seen = await look(spec, RELEASE, ceph, deployed, memory=memory)
        assert list(seen.assessed.changes) == [1]
        assert built == [0, 1, 2, 1]

    async def test_a_plan_of_thousands_builds_none_until_it_is_carried_out(self, built: list[int]) -> None:
        spec, ceph, memory = cluster(), FakeCeph(*(state(n) for n in range(3))), Comparisons()
        deployed = self.deployed(spec)
        await look(spec, NEXT_RELEASE, ceph, deployed, memory=memory)
        built.clear()
        seen = await look(spec, NEXT_RELEASE, ceph, deployed, memory=memory)
        steps = osd.analyze(spec, a_context(spec, NEXT_RELEASE), seen)
        assert (len(steps), built) == (3, [])
        assert isinstance(steps[0].action, DeployOsd)
        assert steps[0].action.obj["metadata"]["labels"]["ceph-version"] == "19.2.2-0"
        assert built == [0]

    @pytest.mark.parametrize("what", ["release", "generation", "script image", "labels of the node", "resources"])
    async def test_all_that_it_depends_on_counts(self, what: str) -> None:
        """As if there were no memory."""
        spec, memory = cluster(storage={"nodes": [{"name": "a"}, {"name": "b"}]}), Comparisons()
        deployments = [msgspec.convert(d, Deployment) for d in self.deployed(spec)]
        live = {("Deployment", d["metadata"]["name"]): d for d in self.deployed(spec)}
        numbered = dict(enumerate(deployments))
        seen = OsdObservation(
            now=NOW,
            nodes=(node("a"), node("b")),
            live=live,
            deployments=numbered,
            states={n: state(n) for n in range(3)},
            script_image=IMAGE,
        )
        assert assess(spec, a_context(spec), seen, memory).changes == {}
        release = RELEASE
        if what == "release":
            release = NEXT_RELEASE
        elif what == "generation":
            spec = msgspec.structs.replace(
                cluster(network={"ipFamily": "IPv6"}),
                metadata=msgspec.structs.replace(spec.metadata, generation=9),
            )
        elif what == "script image":
            seen = replace(seen, script_image="another:v9")
        elif what == "labels of the node":
            seen = replace(seen, nodes=(node("a", **{"kubernetes.io/hostname": "a2"}), node("b")))
        else:
            limits = {"limits": {"cpu": "3"}}
            spec = msgspec.structs.replace(
                cluster(storage={"nodes": [{"name": "a", "resources": limits}, {"name": "b"}]}),
                metadata=msgspec.structs.replace(spec.metadata, generation=9),
            )
        remembered = assess(spec, a_context(spec, release), seen, memory).changes
        assert remembered == assess(spec, a_context(spec, release), seen, Comparisons()).changes
        assert remembered or what == "script image"

    async def test_those_that_are_gone_are_forgotten(self) -> None:
        memory = Comparisons()
        memory.begin("x", [1, 2])
        assert memory.difference(1, "own", lambda: "differs") == "differs"
        assert memory.difference(1, "own", lambda: "not asked") == "differs"
        assert memory.difference(1, None, lambda: "asked") == "asked"
        memory.begin("x", [2])
        memory.begin("x", [1, 2])
        assert memory.difference(1, "own", lambda: "again") == "again"


class TestResults:
    def test_what_pods_report(self) -> None:
        message = json.dumps(
            [
                {"device": "/dev/sdb", "id": 0, "uuid": UUIDS[0], "deviceClass": "ssd"},
                {"device": "/dev/sdc", "error": "/dev/sdc is mounted or in use"},
            ]
        )
        assert read_results([prepare_pod("p", message)]) == (
            (Prepared("a", "/dev/sdb", 0, UUIDS[0], "ssd"),),
            (Refusal("a", "/dev/sdc", "/dev/sdc is mounted or in use"),),
        )

    def test_the_last_word_counts(self) -> None:
        pods = [
            prepare_pod(
                "2", json.dumps([{"device": "/dev/sdb", "id": 0, "uuid": UUIDS[0]}]), created="2027-01-15T08:01:00Z"
            ),
            prepare_pod("1", json.dumps([{"device": "/dev/sdb", "error": "no answer"}])),
        ]
        assert read_results(pods) == ((Prepared("a", "/dev/sdb", 0, UUIDS[0]),), ())

    @pytest.mark.parametrize("message", ["", "Killed", "{"])
    def test_no_report(self, message: str) -> None:
        assert read_results([prepare_pod("p", message)]) == ((), ())


class TestStatus:
    def test_rows(self) -> None:
        verdicts = [
            DeviceVerdict(node="b", device="sdb", verdict=Verdict.ACCEPTED, reason="empty", report=disk()),
            DeviceVerdict(node="a", device="sdb", verdict=Verdict.REJECTED, reason="is read-only", report=disk()),
        ]
        refused = (Refusal("b", "/dev/sdb", "no room"), Refusal("a", "/dev/sdb", "old"))
        rows = device_status(observation(refused=refused, assessed=Assessment(verdicts=tuple(verdicts))))
        assert [(r.node, r.verdict, r.reason) for r in rows] == [
            ("a", "Rejected", "is read-only"),
            ("b", "Accepted", "empty; the last try failed: no room"),
        ]

    def test_bounded(self) -> None:
        long = "x" * 10_000
        many = [DeviceVerdict(node="a", device=f"d{n:04}", verdict=Verdict.REJECTED, reason=long) for n in range(600)]
        used = DeviceVerdict(node="z", device="sdb", verdict=Verdict.IN_USE, reason="osd.0 of this cluster")
        rows = device_status(observation(assessed=Assessment(verdicts=(*many, used))))
        assert len(rows) == MAX_DEVICE_ROWS + 1
        assert rows[-2].verdict == "InUse"
        assert rows[-1].reason == "101 more rejected devices are not shown"
        assert len(msgspec.json.encode(rows)) < 256 << 10


class TestDeviceClass:
    """An OSD keeps the class that it was made with, unless the spec allows to change it."""

    storage: ClassVar = {"useAllNodes": True, "useAllDevices": True, "config": {"deviceClass": "ssd"}}

    def seen(self, spec: CephCluster, device_class: str, *, up: bool = True) -> OsdObservation:
        deployed = running(spec, an_osd(0, settings={"deviceClass": "ssd"}))
        states = {0: state(0, device_class=device_class, up=up)}
        return observation(deployed, states=states, reports={"a": (osd_disk(0),)})

    def test_allowed(self) -> None:
        spec = cluster(storage={**self.storage, "allowDeviceClassUpdate": True})
        (step,) = analyze(spec, a_context(spec), self.seen(spec, "hdd"))
        assert step.action == SetDeviceClass(0, "ssd")
        assert analyze(spec, a_context(spec), self.seen(spec, "ssd")) == ()

    @pytest.mark.parametrize(("up", "expected"), [(True, [SetDeviceClass(0, "ssd")]), (False, [])])
    def test_one_that_has_none(self, up: bool, expected: list[SetDeviceClass]) -> None:
        """The operator died after it took the one before away; or the OSD never started."""
        spec = cluster(storage={**self.storage, "allowDeviceClassUpdate": True})
        steps = analyze(spec, a_context(spec), self.seen(spec, "", up=up))
        assert [s.action for s in steps if s.action is not None] == expected

    def test_not_allowed_is_told(self) -> None:
        spec = cluster(storage=self.storage)
        seen = self.seen(spec, "hdd")
        assert analyze(spec, a_context(spec), seen) == ()
        (row,) = device_status(assessed(spec, RELEASE, seen))
        assert row.reason == "osd.0 of this cluster; its device class stays hdd unless allowDeviceClassUpdate is set"


def copies(deployment: dict[str, Any]) -> list[str]:
    """The images from which the pods of a Deployment get files."""
    return [c["image"] for c in deployment["spec"]["template"]["spec"]["initContainers"]]


class TestTurns:
    """One disk, or many, that cannot be used keep no other from becoming an OSD."""

    spec = cluster(storage={"useAllNodes": True, "useAllDevices": True})

    def ended(self, action: PrepareDevices, kind: str = "Failed", reason: str = "") -> Job:
        manifest = prepare_job(
            self.spec.spec.storage, a_context(self.spec), action, tuple("u" for _ in action.targets), IMAGE
        )
        manifest["metadata"] |= {"uid": "j1", "creationTimestamp": "2027-01-15T07:00:00Z"}
        condition = {"type": kind, "status": "True", "reason": reason, "lastTransitionTime": "2027-01-15T07:00:00Z"}
        manifest["status"] = {"conditions": [condition] if kind else []}
        return msgspec.convert(manifest, Job)

    def next(self, disks: Sequence[str], job: Job | None, *, now: float = NOW) -> PrepareDevices | None:
        of_node = {} if job is None else preparing(job, now)
        seen = observation(reports={"a": tuple(disk(name) for name in disks)}, preparing=of_node, now=now)
        (step,) = analyze(self.spec, a_context(self.spec), seen)
        assert step.action is None or isinstance(step.action, PrepareDevices)
        return step.action

    @given(bad=st.integers(min_value=0, max_value=50), at=st.integers(min_value=0, max_value=50))
    def test_every_device_gets_its_turn_however_many_fail(self, bad: int, at: int) -> None:
        disks = [f"sd{n:03}" for n in range(bad)]
        disks.insert(min(at, bad), "sdx")
        job = None
        for _ in range(bad // MAX_DEVICES + 1):
            action = self.next(disks, job)
            assert action is not None
            assert len(action.targets) <= MAX_DEVICES
            if "/dev/sdx" in [t.path for t in action.targets]:
                return
            job = self.ended(action)
        pytest.fail("never tried")

    @given(disks=st.integers(min_value=1, max_value=40), hung=st.integers(min_value=0, max_value=39))
    def test_a_disk_that_hangs_holds_up_no_other_for_ever(self, disks: int, hung: int) -> None:
        """A Job makes one OSD after the other up to the disk that hangs, and is cut off there."""
        left = [f"sd{n:02}" for n in range(disks)]
        bad = left[hung % disks]
        job = None
        for _ in range(disks + 2):
            action = self.next(left, job)
            assert action is not None
            for target in action.targets:
                if target.path == f"/dev/{bad}":
                    break
                left.remove(target.path.removeprefix("/dev/"))
            if left == [bad]:
                return
            job = self.ended(action, reason="DeadlineExceeded")
        pytest.fail(f"never made: {left}")

    @pytest.mark.parametrize(("minutes", "over"), [(5, False), (31, False), (33, True)])
    def test_a_job_that_never_ends_is_waited_for_until_its_deadline_only(self, minutes: int, over: bool) -> None:
        """So it is with a process that hangs in the kernel, and with a pod on a node that is gone."""
        action = PrepareDevices(node="a", hostname="a", targets=(target("sdb"), target("sdc")))
        job = self.ended(action, kind="")
        now = datetime.fromisoformat("2027-01-15T07:00:00Z").timestamp() + 60 * minutes
        found = self.next(["sdb", "sdc"], job, now=now)
        assert (found is not None) is over
        if found is not None:
            assert found.attempt == Attempt("j1", 2)
            assert [t.path for t in found.targets] == ["/dev/sdc", "/dev/sdb"]

    def test_why_its_pod_does_not_run_is_said(self) -> None:
        job = self.ended(PrepareDevices(node="a", hostname="a", targets=(target("sdb"),)), kind="")
        seen = observation(
            reports={"a": (disk("sdb"),)},
            preparing={job.metadata.name: Run(job=job, phase=Phase.RUNNING, trouble="pod p: not scheduled")},
            now=datetime.fromisoformat("2027-01-15T07:00:00Z").timestamp(),
        )
        (step,) = analyze(self.spec, a_context(self.spec), seen)
        assert step.waits_for == "pod p: not scheduled"

    def test_what_was_tried_is_remembered_by_the_job(self) -> None:
        action = PrepareDevices(node="a", hostname="a", targets=(target("sdb"),), tried=("/dev/sdc", "/dev/sdb"))
        assert tried_by(self.ended(action)) == ("/dev/sdc", "/dev/sdb")
        assert self.ended(action).spec.template.spec.containers


def replace_namespace(found: CephCluster, namespace: str) -> CephCluster:
    meta = msgspec.structs.replace(found.metadata, namespace=namespace)
    return msgspec.structs.replace(found, metadata=meta)


class Jobs(Client):
    """An API server that takes Jobs, and has the CephCluster in this generation."""

    def __init__(self, generation: int = 1) -> None:
        self.made: list[str] = []
        self.generation = generation

    async def create(self, resource: Any, obj: Any, **_: Any) -> Any:
        self.made.append(obj["metadata"]["namespace"])
        return obj

    async def get(self, *_: Any, **__: Any) -> Any:
        return {"metadata": {"uid": "c1", "generation": self.generation}, "spec": {}}


class TestReservations:
    async def test_of_two_clusters_one_gets_a_device(self) -> None:
        reservations, client = Reservations(lambda: NOW), Jobs()
        lun = disk("sdb", wwn="0x5000c500a1b2c3d4")

        def wanted(namespace: str, node_name: str) -> tuple[CephCluster, tuple[Step, ...]]:
            found = cluster(storage={"useAllNodes": True, "useAllDevices": True})
            found = replace_namespace(found, namespace)
            seen = observation(
                nodes=(node_name,), reports={node_name: (lun,)}, reserved=reservations.of_others(namespace)
            )
            return found, analyze(found, a_context(found), seen)

        first, (one,) = wanted("first", "a")
        second, (two,) = wanted("second", "b")  # seen at the same moment, from another node
        ways: dict[str, Any] = {"script_image": IMAGE, "reservations": reservations}
        await handlers(first, a_context(first), client, UNUSED, FakeCeph(), **ways)[PrepareDevices](one.action)
        with pytest.raises(ReservedError, match="is being prepared for the cluster in namespace first"):
            await handlers(second, a_context(second), client, UNUSED, FakeCeph(), **ways)[PrepareDevices](two.action)
        assert client.made == ["first"]
        assert wanted("second", "b")[1] == ()
        assert [type(s.action) for s in wanted("first", "a")[1]] == [PrepareDevices]

    async def test_a_reservation_ends(self) -> None:
        now = [0.0]
        reservations = Reservations(lambda: now[0])
        reservations.take("first", ["x"])
        now[0] = 3601
        reservations.take("second", ["x"])
        assert reservations.of_others("first") == {"x": "second"}


class TestUnknownData:
    spec = cluster(storage={"useAllNodes": True, "useAllDevices": True, "config": {"overwriteUnknownData": "true"}})

    def test_consent_is_the_specs(self) -> None:
        (step,) = analyze(self.spec, a_context(self.spec), observation(reports={"a": (disk(),)}))
        assert isinstance(step.action, PrepareDevices)
        assert [t.overwrite for t in step.action.targets] == [True]
        job = prepare_job(self.spec.spec.storage, a_context(self.spec), step.action, UUIDS[:1], IMAGE)
        (devices,) = (
            e["value"] for e in job["spec"]["template"]["spec"]["containers"][0]["env"] if e["name"] == DEVICES_VARIABLE
        )
        assert json.loads(devices)[0]["overwrite"] is True

    @pytest.mark.parametrize(("generation", "made"), [(0, ["ns"]), (1, [])])
    async def test_it_is_asked_for_again_when_the_job_is_made(self, generation: int, made: list[str]) -> None:
        (step,) = analyze(self.spec, a_context(self.spec), observation(reports={"a": (disk(),)}))
        client = Jobs(generation)
        act = handlers(self.spec, a_context(self.spec), client, UNUSED, FakeCeph(), **OPERATOR)[PrepareDevices]
        try:
            await act(step.action)
        except NoConsentError:
            assert not made
        assert len(client.made) == len(made)


class TestScript:
    """What root runs on storage nodes comes from an image."""

    three = (an_osd(0, "a"), an_osd(1, "a"), an_osd(2, "b"))

    def seen(self, **fields: Any) -> OsdObservation:
        deployed = [running(cluster(), one) for one in self.three]
        return observation(*deployed, states={n: state(n) for n in range(3)}, nodes=("a", "b"), **fields)

    def test_no_pod_mounts_a_script_that_others_may_write(self) -> None:
        action = PrepareDevices(node="a", hostname="a", targets=(Target("/dev/sdb"),))
        for manifest in (
            prepare_job(cluster().spec.storage, a_context(cluster()), action, UUIDS[:1], IMAGE),
            running(cluster(), an_osd(0)),
        ):
            pod = manifest["spec"]["template"]["spec"]
            mounts = {m["name"]: m["mountPath"] for m in pod["containers"][0]["volumeMounts"]}
            (volume,) = (v for v in pod["volumes"] if v["name"] == "scripts")
            assert volume == {"name": "scripts", "emptyDir": {}}
            assert pod["containers"][0]["command"][2].startswith(mounts["scripts"])
            (copy,) = pod["initContainers"]
            assert copy["image"] == IMAGE
            assert copy["securityContext"]["runAsNonRoot"] is True
            assert {m["name"] for m in copy["volumeMounts"]} == {"scripts"}

    def test_the_file_is_copied_by_the_command_of_the_container(self, tmp_path: Path) -> None:
        (copy,) = running(cluster(), an_osd(0))["spec"]["template"]["spec"]["initContainers"]
        command = [part.replace(script_image.DIRECTORY, str(tmp_path)) for part in copy["command"]]
        subprocess.run([sys.executable, *command[2:]], check=True)  # "-I" would not see this checkout
        copied = (tmp_path / "osd_script.py").read_bytes()
        assert copied == files("controller.ceph.osd").joinpath("script.py").read_bytes()

    def test_another_image_with_the_same_script_restarts_nothing(self) -> None:
        assert analyze(cluster(), a_context(cluster()), self.seen(script_image="rook/operator:v2")) == ()

    def test_another_script_comes_from_the_new_image(self, monkeypatch: pytest.MonkeyPatch) -> None:
        seen = self.seen(script_image="rook/operator:v2", stoppable=frozenset({0, 1}))
        monkeypatch.setattr(script_image, "digest", lambda: "another")
        steps = analyze(cluster(), a_context(cluster()), seen)
        assert [(s.subject, bool(s.waits_for)) for s in steps] == [("osd.0", False), ("osd.1", False), ("osd.2", True)]
        (first, *_) = (s.action for s in steps)
        assert isinstance(first, DeployOsd)
        assert copies(first.obj) == ["rook/operator:v2"]

    def test_what_changes_anyhow_changes_to_the_new_image(self) -> None:
        steps = analyze(
            cluster(), a_context(cluster(), NEXT_RELEASE), self.seen(script_image="v2", stoppable=frozenset({0, 1, 2}))
        )
        assert [copies(s.action.obj) for s in steps if isinstance(s.action, DeployOsd)] == [["v2"]] * 3

    def test_without_the_operators_image_nothing_is_prepared(self) -> None:
        (step,) = analyze(cluster(), a_context(cluster()), observation(reports={"a": (disk(),)}, script_image=""))
        assert step.waits_for == "the operator to be told its own image: ROOK_OPERATOR_IMAGE"

    @pytest.mark.parametrize("kind", ["Deployment", "Job", "ended Job", "none"])
    def test_the_scripts_of_an_earlier_release_go_when_nothing_mounts_them(self, kind: str) -> None:
        scripts = {"kind": "ConfigMap", "metadata": {"name": OLD_SCRIPTS, "namespace": "ns", "uid": "s1"}}
        volumes = [{"name": "scripts", "configMap": {"name": OLD_SCRIPTS}}]
        user: dict[str, Any] = {"kind": kind.split()[-1], "spec": {"template": {"spec": {"volumes": volumes}}}}
        if kind == "ended Job":
            user["status"] = {"completionTime": "2027-01-15T08:00:00Z"}
        live = {**SHARED, ("ConfigMap", OLD_SCRIPTS): scripts}
        if kind != "none":
            live[user["kind"], "old"] = user
        steps = analyze(cluster(), a_context(cluster()), observation(live=live))
        deleted = [s.action.name for s in steps if isinstance(s.action, Delete)]
        assert deleted == ([OLD_SCRIPTS] if kind in ("ended Job", "none") else [])


class TestManifests:
    rich: ClassVar = {
        "resources": {"osd": {"limits": {"memory": "4Gi"}}, "prepareosd": {"requests": {"cpu": "100m"}}},
        "placement": {"all": {"tolerations": [{"key": "storage", "operator": "Exists"}]}},
    }

    @pytest.fixture(autouse=True)
    def script(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Snapshots stay as they are when the script changes."""
        monkeypatch.setattr(script_image, "digest", lambda: "0123456789abcdef")

    def test_prepare_job(self) -> None:
        chosen = Target("/dev/sdb", "ssd", ("/dev/disk/by-id/wwn-0x5000c500a1b2c3d4",), 10 * GIB)
        action = PrepareDevices(node="n1", hostname="n1.example.org", targets=(chosen,))
        assert_matches_snapshot(
            prepare_job(cluster(**self.rich).spec.storage, a_context(cluster(**self.rich)), action, UUIDS[:1], IMAGE),
            "osd-prepare-job",
        )

    def test_deployment(self) -> None:
        labels = {"topology.kubernetes.io/zone": "z.1", "topology.rook.io/rack": "r1", "kubernetes.io/hostname": "n1.x"}
        one = an_osd(3, "n1", settings={"deviceClass": "ssd", "initialWeight": "0.5"})
        wanted = osd_deployment(
            cluster(**self.rich).spec.storage, a_context(cluster(**self.rich)), one, node("n1", **labels), {}, IMAGE
        )
        assert_matches_snapshot(wanted, "osd-deployment")

    def test_no_secret_in_any_argument(self) -> None:
        action = PrepareDevices(node="a", hostname="a", targets=(Target("/dev/sdb"),))
        for manifest in (
            prepare_job(cluster().spec.storage, a_context(cluster()), action, UUIDS[:1], IMAGE),
            running(cluster(), an_osd(0)),
        ):
            assert re.search("AQ[A-Za-z0-9+/]{36}==", json.dumps(manifest)) is None

    @pytest.mark.parametrize(
        ("limit", "expected"),
        [("4Gi", int(4 * GIB * 0.8)), ("1Gi", 896 * 1024**2), ("512Mi", 896 * 1024**2)],
    )
    def test_memory_target(self, limit: str, expected: int) -> None:
        spec = cluster(resources={"osd": {"limits": {"memory": limit}}})
        args = running(spec, an_osd(0))["spec"]["template"]["spec"]["containers"][0]["args"]
        assert f"--default-osd-memory-target={expected}" in args

    def test_resources_of_a_device_class_go_first(self) -> None:
        spec = cluster(resources={"osd": {"limits": {"cpu": "1"}}, "osd-ssd": {"limits": {"cpu": "2"}}})
        one = an_osd(0, settings={"deviceClass": "ssd"})
        container = running(spec, one)["spec"]["template"]["spec"]["containers"][0]
        assert container["resources"] == {"limits": {"cpu": "2"}}

    def test_only_osd_placement(self) -> None:
        placement = {"all": {"tolerations": [{"key": "x"}]}, "osd": {"tolerations": [{"key": "y"}]}}
        spec = cluster(placement=placement, storage={"onlyApplyOSDPlacement": True})
        assert running(spec, an_osd(0))["spec"]["template"]["spec"]["tolerations"] == [{"key": "y"}]

    def test_only_osd_placement_of_the_job_that_prepares(self) -> None:
        placement = {
            "all": {"tolerations": [{"key": "x"}]},
            "osd": {"tolerations": [{"key": "y"}]},
            "prepareosd": {"tolerations": [{"key": "z"}]},
        }
        action = PrepareDevices(node="a", hostname="a", targets=(Target("/dev/sdb"),))
        for only, expected in ((True, ["y", "z"]), (False, ["x", "y", "z"])):
            spec = cluster(placement=placement, storage={"onlyApplyOSDPlacement": only})
            pod = prepare_job(spec.spec.storage, a_context(spec), action, UUIDS[:1], IMAGE)["spec"]["template"]["spec"]
            assert [t["key"] for t in pod["tolerations"]] == expected

    def test_osds_run_where_all_and_osd_let_them(self) -> None:
        def requires(key: str) -> dict[str, Any]:
            terms = [{"matchExpressions": [{"key": key, "operator": "Exists"}]}]
            return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}}

        spec = cluster(
            placement={"all": requires("storage"), "osd": requires("disks")},
            storage={"useAllNodes": True, "useAllDevices": True},
        )
        nodes = (node("a", disks="x"), node("b", disks="x", storage="x"))
        seen = observation(nodes=nodes, reports={"a": (disk(),), "b": (disk(),)})
        assert [s.subject for s in analyze(spec, a_context(spec), seen)] == ["devices of node b"]

    def test_resources_of_a_device_class_that_ceph_found(self) -> None:
        spec = cluster(
            resources={"osd": {"limits": {"cpu": "1"}}, "osd-ssd": {"limits": {"cpu": "2"}}},
            storage={"useAllNodes": True, "useAllDevices": True},
        )
        seen = observation(running(spec, an_osd(0)), states={0: state(0, device_class="ssd")})
        (step,) = analyze(spec, a_context(spec), seen)
        assert isinstance(step.action, DeployOsd)
        container = step.action.obj["spec"]["template"]["spec"]["containers"][0]
        assert container["resources"] == {"limits": {"cpu": "2"}}
        settled = observation(as_applied(step.action.obj), states={0: state(0, device_class="ssd")})
        assert [s for s in analyze(spec, a_context(spec), settled) if isinstance(s.action, DeployOsd)] == []

    @pytest.mark.parametrize(("family", "expected"), [("IPv6", ["false", "true"]), ("IPv4", [])])
    def test_ip_family(self, family: str, expected: list[str]) -> None:
        args = running(cluster(network={"ipFamily": family}), an_osd(0))["spec"]["template"]["spec"]["containers"][0][
            "args"
        ]
        assert [a.partition("=")[2] for a in args if a.startswith("--ms-bind-ipv")] == expected

    def test_names_of_jobs_are_short_enough_and_distinct(self) -> None:
        names = [job_name(f"{'n' * 70}-{i}.example.org") for i in range(3)]
        assert len(set(names)) == 3
        assert {len(name) for name in names} <= set(range(1, 64))
        assert job_name("worker-1") == "rook-ceph-osd-prepare-worker-1"

    def test_script_runs_on_the_python_of_the_oldest_images(self) -> None:
        ast.parse(files("controller.ceph.osd").joinpath("script.py").read_text(), feature_version=(3, 9))
