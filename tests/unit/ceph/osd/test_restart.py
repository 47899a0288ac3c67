"""Restarts of OSDs: in which order, how many at once, and who is waited for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.ceph.osd.act import DeployOsd
from controller.ceph.osd.objects import Osd
from controller.ceph.osd.observation import OsdObservation
from controller.ceph.osd.restart import RETURN_SECONDS, next_batch
from controller.ceph.osd.spec import OsdSpec
from tests.unit.ceph.osd.cases import (
    NEXT_RELEASE,
    NOW,
    RELEASE,
    THREE,
    FakeCeph,
    a_context,
    an_osd,
    analyze,
    assessed,
    cluster,
    look,
    observation,
    running,
    state,
)


class TestRestarts:
    def seen(self, *osds: Osd, down: tuple[int, ...] = (), **fields: Any) -> OsdObservation:
        states = {one.osd_id: state(one.osd_id, up=one.osd_id not in down) for one in osds}
        deployed = [running(cluster(), one) for one in osds]
        return observation(*deployed, nodes=("a", "b", "c"), states=states, **fields)

    def waits(self, seen: OsdObservation, *, hold: str = "", **spec: Any) -> dict[str, str]:
        return {
            s.subject: s.waits_for
            for s in analyze(cluster(**spec), a_context(cluster(**spec), NEXT_RELEASE), seen, hold=hold)
        }

    def test_one_node_at_a_time(self) -> None:
        seen = self.seen(*THREE, stoppable=frozenset({0, 1}))
        assert self.waits(seen) == {"osd.0": "", "osd.1": "", "osd.2": "osd.0, osd.1 to be restarted"}

    def test_the_cluster_cannot_do_without(self) -> None:
        seen = self.seen(*THREE, unstoppable="12 PGs would be offline")
        assert self.waits(seen)["osd.0"] == "osd.0 to be dispensable: 12 PGs would be offline"

    def test_held(self) -> None:
        seen = self.seen(*THREE, stoppable=frozenset({0, 1}))
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
        deployed = [running(cluster(), one) for one in THREE]
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
        others = [running(cluster(), one) for one in THREE[1:]]
        seen = observation(first, *others, nodes=("a", "b"), states=states)
        assert next_batch(OsdSpec.of(cluster()), assessed(cluster(), NEXT_RELEASE, seen)) == (() if waits else (1,))

    def test_one_that_is_down_needs_no_permission(self) -> None:
        seen = self.seen(*THREE, down=(2,), unstoppable="no")
        waits = self.waits(seen)
        assert waits["osd.2"] == ""
        assert waits["osd.0"] != ""

    @pytest.mark.parametrize(("limit", "expected"), [(20, (0, 1)), (1, (0,))])
    def test_next_batch(self, limit: int, expected: tuple[int, ...]) -> None:
        spec = cluster(storage={"osdMaxUpdatesInParallel": limit})
        assert next_batch(OsdSpec.of(spec), assessed(spec, NEXT_RELEASE, self.seen(*THREE))) == expected
        assert next_batch(OsdSpec.of(spec), assessed(spec, RELEASE, self.seen(*THREE))) == ()

    def test_none_is_asked_about_while_one_is_about_to_stop(self) -> None:
        """Its Deployment was changed a moment ago, and the cluster's map still has it up."""
        deployed = [
            running(cluster(), an_osd(0, "a"), NEXT_RELEASE, rolled_out=False),
            *(running(cluster(), one) for one in THREE[1:]),
        ]
        seen = observation(*deployed, nodes=("a", "b"), states={n: state(n) for n in range(3)})
        assert next_batch(OsdSpec.of(cluster()), assessed(cluster(), NEXT_RELEASE, seen)) == ()
        assert self.waits(seen) == {"osd.1": "osd.0 to be restarted", "osd.2": "osd.0 to be restarted"}
