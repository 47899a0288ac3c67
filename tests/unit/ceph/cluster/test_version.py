"""Finding out which release an image holds."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from controller.ceph.cluster import version
from controller.ceph.cluster.version import detection_job, look
from controller.ceph.mgr.objects import mgr_deployment
from controller.ceph.mon.objects import mon_deployment
from controller.ceph.pods import Daemon, Release, declared
from controller.ceph.releases import CephVersion, Running, Upgrade
from controller.framework.jobs import Attempt, RunJob
from controller.runtime.kube import Deployment, Pod
from tests.unit.ceph.cases import RELEASE, a_cluster, a_context, deployment_view, live_objects, member, told
from tests.unit.ceph.snapshot import assert_matches_snapshot

if TYPE_CHECKING:
    from collections.abc import Iterable

    from controller.apis.ceph import CephCluster
    from controller.framework.children import Live
    from controller.framework.plan import Step

KNOWN = {"version": {"image": RELEASE.image, "version": "18.2.7-0"}}


def steps_of(cluster: CephCluster, live: Live, pods: Iterable[Pod], now: float = 0.0) -> tuple[Step, ...]:
    return look(cluster, live, pods, now=now).steps


def upgrade_of(
    cluster: CephCluster, live: Live, pods: Iterable[Pod], runs: Running | None = None, declared: Iterable[Release] = ()
) -> Upgrade:
    found = look(cluster, live, pods, now=0.0)
    return version.upgrade_of(cluster, found, runs or Running(), frozenset(declared))


def a_job_pod(message: str | None = None, waiting: str = "", job: str = "uid-rook-ceph-detect-version") -> Pod:
    state: dict[str, Any] = {"waiting": {"reason": waiting}} if waiting else {"running": {}}
    if message is not None:
        state = {"terminated": {"exitCode": 0, "message": message}}
    return msgspec.convert(
        {
            "metadata": {"name": "p", "ownerReferences": [{"kind": "Job", "uid": job}]},
            "status": {"containerStatuses": [{"name": "detect-version", "state": state}]},
        },
        Pod,
    )


@pytest.mark.parametrize(
    "known",
    [
        pytest.param({}, id="nothing is known"),
        pytest.param({"image": "ceph:v17", "version": "17.2.9-0"}, id="another image is known"),
        pytest.param({"image": RELEASE.image}, id="the image is known, its version is not"),
    ],
)
def test_a_new_image_is_looked_into_by_a_job(known: dict[str, str]) -> None:
    assert told(steps_of(a_cluster(status={"version": known}), {}, ())) == ["Ceph version: RunJob"]


def test_a_known_image_needs_no_job() -> None:
    assert steps_of(a_cluster(status=KNOWN), {}, ()) == ()
    assert upgrade_of(a_cluster(status=KNOWN), {}, ()).target == RELEASE


def test_the_job_goes_once_the_version_is_in_the_status() -> None:
    live = live_objects(detection_job(a_cluster()))
    assert told(steps_of(a_cluster(status=KNOWN), live, ())) == ["Ceph version: Delete"]
    for job in live.values():
        job["metadata"]["deletionTimestamp"] = "2027-01-15T08:00:00Z"
    assert steps_of(a_cluster(status=KNOWN), live, ()) == ()


def test_the_jobs_answer_is_used_before_it_is_in_the_status() -> None:
    live = live_objects(detection_job(a_cluster()))
    pods = [a_job_pod("ceph version 18.2.7 (abc) reef (stable)")]
    found = upgrade_of(a_cluster(), live, pods)
    assert (found.target, found.refusal, steps_of(a_cluster(), live, pods)) == (RELEASE, "", ())


def test_what_an_earlier_job_found_is_not_taken_for_this_ones_answer() -> None:
    live = live_objects(detection_job(a_cluster()))
    pods = [a_job_pod("ceph version 17.2.1 (abc) quincy (stable)", job="earlier")]
    assert upgrade_of(a_cluster(), live, pods).target is None
    assert told(steps_of(a_cluster(), live, pods)) == ["Ceph version: Wait <- Job rook-ceph-detect-version to end"]


def test_a_job_for_another_image_is_replaced() -> None:
    live = live_objects(detection_job(a_cluster({"cephVersion": {"image": "ceph:old"}})))
    (step,) = steps_of(a_cluster(), live, [a_job_pod("ceph version 17.2.1 (abc)")])
    assert step.action == RunJob(detection_job(a_cluster()), Attempt("uid-rook-ceph-detect-version"))


def test_a_job_that_failed_is_made_anew_after_a_pause() -> None:
    job = detection_job(a_cluster())
    ended = {"type": "Failed", "status": "True", "lastTransitionTime": "2027-01-15T08:00:00Z"}
    live = live_objects(job | {"status": {"conditions": [ended]}})
    now = datetime.fromisoformat("2027-01-15T08:01:00Z").timestamp()
    (step,) = steps_of(a_cluster(), live, (), now=now)
    assert step.waits_for == "the next try, at 08:05:00Z"
    (step,) = steps_of(a_cluster(), live, (), now=now + 300)
    assert (step.action, step.waits_for) == (RunJob(job, Attempt("uid-rook-ceph-detect-version", 2)), "")


@pytest.mark.parametrize(
    ("pods", "why"),
    [
        ([], "Job rook-ceph-detect-version to end"),
        ([a_job_pod(waiting="ImagePullBackOff")], "pod p: container detect-version: ImagePullBackOff: "),
    ],
)
def test_the_wait_says_what_for(pods: list[Pod], why: str) -> None:
    (step,) = steps_of(a_cluster(), live_objects(detection_job(a_cluster())), pods)
    assert step.waits_for == why


def test_no_image_is_a_problem_of_the_spec() -> None:
    (step,) = steps_of(a_cluster({"cephVersion": {}}), {}, ())
    assert step.waits_for == "spec.cephVersion.image to be set"


def test_an_upgrade_goes_on_with_what_runs_until_the_new_release_is_known_and_accepted() -> None:
    running = Release("ceph:v17", CephVersion(17, 2, 9))
    runs = Running(running.version, running.version)
    cluster = a_cluster(status={"version": {"image": "ceph:v17", "version": "17.2.9-0"}})
    assert upgrade_of(cluster, {}, (), runs, [running]).target == running
    live = live_objects(detection_job(cluster))
    accepted = upgrade_of(cluster, live, [a_job_pod("ceph version 18.2.7 (abc)")], runs, [running])
    assert (accepted.target, accepted.under_way) == (RELEASE, True)
    refused = upgrade_of(cluster, live, [a_job_pod("ceph version 20.2.0 (abc)")], runs, [running])
    assert refused.refusal.startswith("Ceph 20.2.0-0 is more than two releases after 17.2.9-0")
    assert (refused.target, refused.under_way) == (running, False)


def test_an_upgrade_that_was_under_way_goes_on_and_not_back_while_another_image_is_looked_into() -> None:
    old, new = Release("ceph:v17", CephVersion(17, 2, 9)), Release("ceph:v19", CephVersion(19, 2, 3))
    assert upgrade_of(a_cluster(), {}, (), declared=[old, new]).target == new
    rebuilt = Release("ceph:v19-again", new.version)
    accepted = a_cluster(status={"version": {"image": rebuilt.image, "version": "19.2.3-0"}})
    assert upgrade_of(accepted, {}, (), declared=[new, rebuilt]).target == rebuilt


def test_an_image_is_judged_by_what_runs_and_not_by_the_image_before() -> None:
    """The image before may have been accepted and held: no daemon ran it."""
    cluster = a_cluster({"cephVersion": {"image": "ceph:v20"}}, status=KNOWN)
    live, runs = live_objects(detection_job(cluster)), CephVersion(16, 2, 15)
    found = upgrade_of(cluster, live, [a_job_pod("ceph version 20.2.4 (abc)")], Running(runs, runs))
    assert found.refusal.startswith("Ceph 20.2.4-0 is more than two releases after 16.2.15-0")


@pytest.mark.parametrize(
    ("version", "enabled", "refused"),
    [("20.2.1", True, True), ("20.2.2", True, False), ("20.2.1", False, False)],
)
def test_nodes_that_read_from_the_nearest_osd_keep_a_cluster_from_releases_that_lose_data_then(
    version: str, enabled: bool, refused: bool
) -> None:
    spec = {"cephVersion": {"image": "ceph:v20"}, "csi": {"readAffinity": {"enabled": enabled}}}
    cluster, runs = a_cluster(spec, status=KNOWN), CephVersion(18, 2, 7)
    live = live_objects(detection_job(cluster))
    found = upgrade_of(cluster, live, [a_job_pod(f"ceph version {version} (abc)")], Running(runs, runs))
    expected = (
        f"Ceph {version}-0 may lose data with it; 20.2.2 does not, and spec.csi.readAffinity has nodes read so: choose "
        "a cephVersion.image of 20.2.2-0 or later"
    )
    assert found.refusal == (expected if refused else "")


def test_looking_into_an_image_changes_nothing_so_it_is_done_for_a_plan_that_is_only_shown_too() -> None:
    job = detection_job(a_cluster())
    (begin,) = steps_of(a_cluster(), {}, ())
    (away,) = steps_of(a_cluster(status=KNOWN), live_objects(job), ())
    assert (begin.observes, away.observes) == (True, True)


def test_the_releases_of_all_daemons_count() -> None:
    cluster = a_cluster()
    newer = Release("ceph:v19", CephVersion(19, 2, 3))
    found = declared(
        [
            deployment_view(mon_deployment(cluster.spec.mon, a_context(cluster, newer), member("a"))),
            deployment_view(mgr_deployment(cluster.spec.mgr, a_context(cluster), Daemon(type="mgr", id="a"))),
            msgspec.convert({"metadata": {"name": "rook-ceph-tools"}}, Deployment),
        ]
    )
    assert found == {newer, RELEASE}


def test_detection_job() -> None:
    assert_matches_snapshot(detection_job(a_cluster()), "detect-version-job")


def test_the_job_has_what_the_spec_has_for_all_pods() -> None:
    """Policies of admission that ask for a label ask it of every pod."""
    spec = {
        "labels": {"all": {"team": "a", "app": "x"}, "cmdreporter": {"kind": "job"}, "mon": {"no": "no"}},
        "annotations": {"all": {"note": "b"}},
        "priorityClassNames": {"all": "high"},
    }
    template = detection_job(a_cluster(spec))["spec"]["template"]
    labels = template["metadata"]["labels"]
    assert labels.items() >= {"team": "a", "kind": "job", "app": "rook-ceph-detect-version"}.items()
    assert "no" not in labels
    assert template["metadata"]["annotations"] == {"note": "b"}
    assert template["spec"]["priorityClassName"] == "high"
