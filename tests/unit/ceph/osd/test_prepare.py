"""Devices that become OSDs: which a Job tries when, and what is read of its result."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.ceph.mgr.act import CreateKeyring
from controller.ceph.osd.prepare import MAX_DEVICES
from controller.ceph.osd.prepare_job import (
    Prepared,
    PrepareDevices,
    Refusal,
    Target,
    prepare_job,
    read_results,
    tried_by,
)
from controller.framework.jobs import Attempt, Phase, Run
from controller.runtime.kube import Job
from tests.unit.ceph.osd.cases import (
    GIB,
    IMAGE,
    NOW,
    UUIDS,
    a_context,
    analyze,
    cluster,
    disk,
    job,
    node,
    observation,
    osd_disk,
    prepare_pod,
    preparing,
    shown,
    state,
    target,
)

if TYPE_CHECKING:
    from collections.abc import Sequence


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
            for one in action.targets:
                if one.path == f"/dev/{bad}":
                    break
                left.remove(one.path.removeprefix("/dev/"))
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
