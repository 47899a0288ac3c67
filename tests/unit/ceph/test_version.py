"""Finding out which release an image holds."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from controller.ceph.daemon import Release
from controller.ceph.releases import CephVersion
from controller.ceph.version import analyze, detection_job, intended
from controller.runtime.kube import Pod
from tests.unit.ceph.cases import RELEASE, a_cluster, live_objects, told
from tests.unit.ceph.snapshot import assert_matches_snapshot

KNOWN = {"version": {"image": RELEASE.image, "version": "18.2.7-0"}}


def a_job_pod(message: str | None = None, waiting: str = "") -> Pod:
    state: dict[str, Any] = {"waiting": {"reason": waiting}} if waiting else {"running": {}}
    if message is not None:
        state = {"terminated": {"exitCode": 0, "message": message}}
    return msgspec.convert(
        {"metadata": {"name": "p"}, "status": {"containerStatuses": [{"name": "detect-version", "state": state}]}}, Pod
    )


def test_a_new_image_is_looked_into_by_a_job() -> None:
    assert told(analyze(a_cluster(), {}, ()).steps) == ["Ceph version: Apply"]


def test_a_known_image_needs_no_job() -> None:
    found = analyze(a_cluster(status=KNOWN), {}, ())
    assert (found.version, found.steps) == (CephVersion(18, 2, 7), ())


def test_the_job_goes_once_the_version_is_in_the_status() -> None:
    live = live_objects(detection_job(a_cluster()))
    assert told(analyze(a_cluster(status=KNOWN), live, ()).steps) == ["Ceph version: Delete"]


def test_the_jobs_answer_is_used_before_it_is_in_the_status() -> None:
    live = live_objects(detection_job(a_cluster()))
    found = analyze(a_cluster(), live, [a_job_pod("ceph version 18.2.7 (abc) reef (stable)")])
    assert (found.version, found.refusal, found.steps) == (CephVersion(18, 2, 7), "", ())


def test_a_job_for_another_image_is_replaced() -> None:
    live = live_objects(detection_job(a_cluster({"cephVersion": {"image": "ceph:old"}})))
    assert told(analyze(a_cluster(), live, [a_job_pod("ceph version 17.2.1 (abc)")]).steps) == ["Ceph version: Delete"]


@pytest.mark.parametrize(
    ("pods", "why"),
    [
        ([], "Job rook-ceph-detect-version to look into the image"),
        ([a_job_pod(waiting="ImagePullBackOff")], "pod p: container detect-version: ImagePullBackOff: "),
    ],
)
def test_the_wait_says_what_for(pods: list[Pod], why: str) -> None:
    (step,) = analyze(a_cluster(), live_objects(detection_job(a_cluster())), pods).steps
    assert step.waits_for == why


def test_no_image_is_a_problem_of_the_spec() -> None:
    (step,) = analyze(a_cluster({"cephVersion": {}}), {}, ()).steps
    assert step.waits_for == "spec.cephVersion.image to be set"


def test_an_upgrade_goes_on_with_what_runs_until_the_new_release_is_known_and_accepted() -> None:
    running = Release("ceph:v17", CephVersion(17, 2, 9))
    cluster = a_cluster(status={"version": {"image": "ceph:v17", "version": "17.2.9-0"}})
    unknown = analyze(cluster, {}, ())
    assert intended(cluster, unknown, running) == running
    live = live_objects(detection_job(cluster))
    accepted = analyze(cluster, live, [a_job_pod("ceph version 18.2.7 (abc)")])
    assert intended(cluster, accepted, running) == RELEASE
    refused = analyze(cluster, live, [a_job_pod("ceph version 20.2.0 (abc)")])
    assert refused.refusal.startswith("Ceph 20.2.0-0 is more than two releases after 17.2.9-0")
    assert intended(cluster, refused, running) == running


def test_detection_job() -> None:
    assert_matches_snapshot(detection_job(a_cluster()), "detect-version-job")
