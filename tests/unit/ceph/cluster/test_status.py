"""Status of a CephCluster: conditions that tools can wait for, and nothing that moves by itself."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from controller.apis.ceph.status import CephHealthMessage
from controller.ceph.access.health import Health
from controller.ceph.cluster.served import unserved
from controller.ceph.mon.observe import timers
from controller.ceph.osd.observation import OsdObservation, OsdState
from controller.framework.plan import Outcome, Step, StepResult, StepState
from controller.runtime.altered import Held
from controller.runtime.kube import Deployment
from tests.unit.ceph.cases import a_cluster, running_mons
from tests.unit.ceph.observed import Observation, build

if TYPE_CHECKING:
    from controller.apis.ceph import CephCluster, CephClusterStatus

NOW = "2026-01-01T00:00:00Z"
WAITING = StepResult(
    step=Step(subject="mon b", reason="not in quorum", waits_for="it to join"), state=StepState.WAITING
)
DONE = StepResult(step=Step(subject="mon b", reason="is missing", action=object()), state=StepState.DONE)
FAILED = StepResult(
    step=Step(subject="mon b", reason="is missing", action=object()), state=StepState.FAILED, error="no"
)
OUT = Observation(mons=running_mons(a_cluster(), "abc", quorum="ac"))
WELL = Observation(mons=running_mons(a_cluster(), "abc"))
QUORUM = running_mons(a_cluster(), "abc", quorum="ab")


def shown(
    cluster: CephCluster, *results: StepResult, seen: Observation | None = None, **more: Any
) -> CephClusterStatus:
    at = datetime.fromisoformat(more.pop("now", NOW)).timestamp()
    return build(cluster, seen or Observation(mons=QUORUM), Outcome(results=results), at=at, **more)


def conditions(status: CephClusterStatus) -> dict[str, str]:
    return {c.type: c.status for c in status.conditions}


@pytest.mark.parametrize(
    ("results", "phase", "state", "ready"),
    [
        ([], "Ready", "Created", "True"),
        ([WAITING], "Progressing", "Creating", "False"),
        ([DONE], "Progressing", "Creating", "False"),
        ([FAILED, WAITING], "Failure", "Error", "False"),
    ],
)
def test_ready_means_that_a_look_found_nothing_to_do(
    results: list[StepResult], phase: str, state: str, ready: str
) -> None:
    status = shown(a_cluster(), *results)
    assert (status.phase, status.state, conditions(status)["Ready"]) == (phase, state, ready)
    assert {c.observed_generation for c in status.conditions} == {3}
    assert status.observed_generation == 3


def test_a_cluster_that_was_ready_before_is_updated() -> None:
    assert shown(a_cluster(status={"state": "Created"}), WAITING).state == "Updating"


def test_the_message_says_what_is_waited_for() -> None:
    status = shown(a_cluster(), WAITING, WAITING)
    assert status.message == "mon b: not in quorum; waits for it to join (and 1 more)"


def test_a_dead_disk_makes_a_cluster_degraded_and_leaves_it_ready() -> None:
    """It may be dead for weeks, and tools wait for Ready."""
    ran = {"conditions": [{"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"}]}
    deployment = msgspec.convert({"metadata": {"name": "rook-ceph-osd-3"}, "status": ran}, Deployment)
    states = {
        3: OsdState(osd_id=3, uuid="u3", up=False, is_in=False),
        4: OsdState(osd_id=4, uuid="u4", up=True, is_in=True),
    }
    seen = Observation(mons=QUORUM, osds=OsdObservation(now=0.0, states=states, deployments={3: deployment}))
    status = shown(a_cluster(), seen=seen)
    found = {c.type: c for c in status.conditions}
    assert (found["Ready"].status, found["Degraded"].status, found["Degraded"].reason) == ("True", "True", "OSDsDown")
    assert found["Degraded"].message == "osd.3 is down, waits for the OSD to report to the mons"
    assert "1 OSDs are down" in found["Ready"].message
    well = Observation(mons=QUORUM, osds=OsdObservation(now=0.0, states={}))
    assert conditions(shown(a_cluster(), seen=well))["Degraded"] == "False"


def test_a_failure_is_a_condition_only_while_it_lasts() -> None:
    failed = shown(a_cluster(), FAILED)
    assert conditions(failed)["Failure"] == "True"
    assert "Failure" not in conditions(shown(a_cluster(status=msgspec.to_builtins(failed)), WAITING))


def test_a_look_that_finds_the_same_changes_nothing() -> None:
    first = shown(a_cluster(), WAITING)
    again = shown(a_cluster(status=msgspec.to_builtins(first)), WAITING, now="2026-01-01T09:00:00Z")
    assert again == first


def test_connected_tells_of_the_quorum() -> None:
    status = shown(a_cluster())
    (connected,) = [c for c in status.conditions if c.type == "Connected"]
    assert (connected.status, connected.message) == ("True", "2 of 3 mons are in quorum")
    assert conditions(shown(a_cluster(), WAITING, seen=Observation()))["Connected"] == "False"


def test_a_plan_that_is_only_shown_is_told_apart() -> None:
    pending = StepResult(step=Step(subject="mon a", reason="new", action=object()), state=StepState.PENDING)
    status = shown(a_cluster(), pending, mode="plan")
    assert status.plan.mode == "plan"
    assert [(s.subject, s.state) for s in status.plan.steps] == [("mon a", "Pending")]
    assert status.message == "Only planned, not carried out: mon a: new"


def test_what_blocks_a_deletion_is_named() -> None:
    cluster = a_cluster()
    meta = msgspec.structs.replace(cluster.metadata, deletion_timestamp=NOW)
    deleting = msgspec.structs.replace(cluster, metadata=meta)
    status = shown(deleting, WAITING, seen=Observation(dependents=("CephBlockPool a", "PersistentVolume b")))
    (blocked,) = [c for c in status.conditions if c.type == "DeletionIsBlocked"]
    assert (blocked.status, blocked.reason, blocked.message) == (
        "True",
        "ObjectHasDependents",
        "to be deleted first: CephBlockPool a, PersistentVolume b",
    )
    assert status.phase == "Deleting"


def test_a_namespace_that_is_being_deleted_is_told() -> None:
    cluster = a_cluster()
    deleting = msgspec.structs.replace(
        cluster, metadata=msgspec.structs.replace(cluster.metadata, deletion_timestamp=NOW)
    )
    goes = {"metadata": {"deletionTimestamp": NOW}}
    live = {("Secret", "rook-ceph-mon"): goes, ("ConfigMap", "rook-ceph-mon-endpoints"): goes}
    assert "the namespace is being deleted" in shown(deleting, WAITING, seen=Observation(live=live)).message
    live = {**live, ("ConfigMap", "rook-ceph-mon-endpoints"): {"metadata": {}}}
    assert "the namespace" not in shown(deleting, WAITING, seen=Observation(live=live)).message


def test_for_how_long_a_mon_is_out_outlives_the_operator() -> None:
    status = shown(a_cluster(), seen=OUT)
    later = shown(a_cluster(status=msgspec.to_builtins(status)), WAITING, seen=OUT, now="2026-01-01T00:01:30Z")
    assert later.timers == {"MonOutOfQuorum/b": NOW}, "a plan that says nothing of it stops no clock"
    unknown = shown(a_cluster(status=msgspec.to_builtins(later)), seen=Observation())
    assert unknown.timers == {"MonOutOfQuorum/b": NOW}, "nor do mons that do not answer"
    assert shown(a_cluster(status=msgspec.to_builtins(later)), seen=WELL).timers == {}


def test_a_clock_of_an_operator_that_kept_it_in_the_plan_goes_on() -> None:
    step = {"subject": "mon b", "action": "Wait", "reason": "not in quorum", "state": "Waiting", "since": NOW}
    before = a_cluster(status={"plan": {"steps": [step]}})
    assert timers(before) == {"MonOutOfQuorum/b": NOW}
    assert shown(before, seen=OUT, now="2026-01-01T00:01:30Z").timers == {"MonOutOfQuorum/b": NOW}


def test_fields_that_are_not_served_are_a_condition() -> None:
    status = shown(a_cluster(), unserved=("dashboard.ssl", "external"))
    (honoured,) = [c for c in status.conditions if c.type == "FieldsHonoured"]
    assert honoured.status == "False"
    assert "not served by this operator: dashboard.ssl, external;" in honoured.message


def test_what_upstream_runs_by_default_is_named_unless_it_is_switched_off() -> None:
    def message(spec: dict[str, Any]) -> str:
        (honoured,) = [c for c in shown(a_cluster(spec)).conditions if c.type == "FieldsHonoured"]
        assert (honoured.status, honoured.reason) == ("True", "AllFieldsHonoured")
        return honoured.message

    assert "crash collectors" in message({})
    assert "exporters" in message({})
    assert message({"crashCollector": {"disable": True}, "monitoring": {"metricsDisabled": True}}) == ""


@pytest.mark.parametrize(
    ("spec", "paths"),
    [
        ({"mon": {"count": 3}, "dashboard": {"enabled": False}, "crashCollector": {"disable": True}}, ()),
        ({"dashboard": {"enabled": True, "ssl": False}}, ("dashboard.enabled", "dashboard.ssl")),
        ({"dashboard": {"enabled": False, "ssl": False}}, ()),
        ({"mon": {"stretchCluster": {"zones": [{"name": "a"}]}}}, ("mon.stretchCluster.zones",)),
        ({"mon": {"zones": [{"name": "a"}, {"name": "b", "arbiter": True}]}}, ("mon.zones[1].arbiter",)),
        (
            {"network": {"provider": "multus", "selectors": {"public": "x"}}},
            ("network.provider=multus", "network.selectors"),
        ),
        ({"placement": {"mds": {"tolerations": [{"key": "x"}]}, "osd": {"tolerations": []}}}, ("placement.mds",)),
        ({"mgr": {"hostNetwork": False}, "network": {"provider": "host"}}, ("mgr.hostNetwork",)),
        ({"storage": {"config": {"osdsPerDevice": "1", "encryptedDevice": "false", "storeType": "bluestore"}}}, ()),
        ({"storage": {"config": {"osdsPerDevice": "2"}}}, ("storage.config.osdsPerDevice=2",)),
        ({"storage": {"store": {"type": "bluestore-rdr"}}}, ("storage.store.type=bluestore-rdr",)),
        ({"resources": {"osd-ssd": {"limits": {"memory": "4Gi"}}}}, ()),
        ({"security": {"cephx": {"csi": {"keyType": "aes"}}}, "waitTimeoutForHealthyOSDInMinutes": 10}, ()),
        ({"storage": {"flappingRestartIntervalHours": 0, "fullRatio": 0}}, ("storage.fullRatio",)),
    ],
)
def test_which_fields_are_not_served(spec: dict[str, Any], paths: tuple[str, ...]) -> None:
    assert unserved(spec) == paths


def test_ready_beside_an_error_says_so() -> None:
    error = CephHealthMessage(severity="HEALTH_ERR", message="why")
    health = Health("f", "HEALTH_ERR", {"AUTH_INSECURE_SERVICE_KEY_TYPE": error})
    status = shown(a_cluster(), seen=Observation(mons=QUORUM, health=health))
    (ready,) = [c for c in status.conditions if c.type == "Ready"]
    assert (ready.status, ready.message) == (
        "True",
        "Cluster created successfully; Ceph reports HEALTH_ERR (AUTH_INSECURE_SERVICE_KEY_TYPE)",
    )


@pytest.mark.parametrize("results", [(), (WAITING,), (FAILED,)])
def test_what_does_not_become_as_it_is_applied_is_told_beside_whatever_else_there_is(
    results: tuple[StepResult, ...],
) -> None:
    held = Held({"metadata": {}}, "digest", None, "spec.image is 'mirror/a', wanted 'a'")
    status = shown(a_cluster(), *results, seen=Observation(mons=QUORUM, live={("Deployment", "rook-ceph-mgr-a"): held}))
    (ready,) = [c for c in status.conditions if c.type == "Ready"]
    assert ready.message.endswith(
        "something changes what is applied, such as an admission webhook: Deployment rook-ceph-mgr-a: "
        "spec.image is 'mirror/a', wanted 'a'"
    )
