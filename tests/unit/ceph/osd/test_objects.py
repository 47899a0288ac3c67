"""The Deployments of OSDs and the Jobs that make them."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from importlib.resources import files
from pathlib import Path
from typing import Any, ClassVar

import pytest

from controller.ceph.osd import script_image
from controller.ceph.osd.act import DeployOsd
from controller.ceph.osd.analyze import OLD_SCRIPTS
from controller.ceph.osd.objects import osd_deployment
from controller.ceph.osd.observation import OsdObservation
from controller.ceph.osd.prepare_job import (
    PrepareDevices,
    Target,
    job_name,
    prepare_job,
)
from controller.framework.children import Delete
from controller.framework.install import DIRECTORY
from tests.unit.ceph.osd.cases import (
    GIB,
    IMAGE,
    NEXT_RELEASE,
    SHARED,
    UUIDS,
    a_context,
    an_osd,
    analyze,
    cluster,
    copies,
    disk,
    node,
    observation,
    running,
    state,
)
from tests.unit.ceph.snapshot import assert_matches_snapshot
from tests.unit.framework.applied import as_applied


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
        command = [part.replace(DIRECTORY, str(tmp_path)) for part in copy["command"]]
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
