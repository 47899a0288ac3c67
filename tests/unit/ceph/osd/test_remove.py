"""OSDs that leave: when, with which consent, and what stays."""

from __future__ import annotations

import msgspec
import pytest

from controller.ceph.osd.act import DeployOsd, RemoveOsd, handlers
from controller.ceph.osd.assess import judged
from controller.ceph.osd.objects import read_osd
from controller.ceph.osd.observation import OsdState
from controller.ceph.osd.prepare_job import (
    PrepareDevices,
)
from controller.ceph.pods import pod_settings
from controller.framework.children import Delete
from controller.framework.consent import NoConsentError
from controller.runtime.kube import Deployment
from tests.unit.ceph.answers import FakeCeph as Answers
from tests.unit.ceph.osd.cases import (
    FSID,
    OPERATOR,
    UNUSED,
    UUIDS,
    OnTheServer,
    a_context,
    an_osd,
    analyze,
    cluster,
    disk,
    observation,
    osd_disk,
    running,
    state,
)


class TestRemovals:
    def test_purged_from_the_cluster(self) -> None:
        steps = analyze(cluster(), a_context(cluster()), observation(running(cluster(), an_osd(0)), states={}))
        assert [(s.subject, type(s.action)) for s in steps] == [("osd.0", Delete)]

    def test_a_deployment_that_goes_already_is_left_alone(self) -> None:
        going = running(cluster(), an_osd(0))
        going["metadata"]["deletionTimestamp"] = "2027-01-15T08:00:00Z"
        assert analyze(cluster(), a_context(cluster()), observation(going, states={})) == ()

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
        assert not any(
            "wipe" in verdict.reason for verdict in judged(spec.spec.storage, pod_settings(spec), FSID, seen)
        )

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
