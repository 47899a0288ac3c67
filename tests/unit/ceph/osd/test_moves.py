"""OSDs stay where they are in CRUSH until somebody agrees that they move."""

from __future__ import annotations

from typing import ClassVar

import msgspec
import pytest

from controller.apis.ceph import CephCluster
from controller.ceph.osd.act import DeployOsd
from controller.ceph.osd.objects import osd_deployment, read_osd
from controller.ceph.osd.observation import OsdObservation
from controller.ceph.osd.prepare_job import (
    Prepared,
)
from controller.runtime.kube import Deployment, Node
from tests.unit.ceph.osd.cases import (
    IMAGE,
    NEXT_RELEASE,
    UUIDS,
    a_context,
    an_osd,
    analyze,
    cluster,
    node,
    observation,
    osd_disk,
    running,
    state,
)
from tests.unit.framework.applied import as_applied


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
