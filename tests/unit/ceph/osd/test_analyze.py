"""OSDs: plans by table, from devices to daemons."""

from __future__ import annotations

from collections import Counter
from typing import Any, ClassVar

import msgspec
import pytest

from controller.apis.ceph import CephCluster
from controller.ceph.osd.act import DeployOsd, RequireRelease, SetDeviceClass, handlers
from controller.ceph.osd.objects import read_osd
from controller.ceph.osd.observation import OsdObservation
from controller.ceph.osd.prepare_job import (
    Prepared,
)
from controller.ceph.osd.status import device_status
from controller.runtime.kube import Deployment, PodStatus
from tests.unit.ceph.answers import FakeCeph as Answers
from tests.unit.ceph.osd.cases import (
    NEXT_RELEASE,
    OPERATOR,
    RELEASE,
    UNUSED,
    UUIDS,
    a_context,
    an_osd,
    analyze,
    assessed,
    cluster,
    disk,
    lost,
    observation,
    osd_disk,
    prepare_pod,
    running,
    shown,
    state,
)


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
